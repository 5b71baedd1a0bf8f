"""Engines' command lines: what each flag becomes, and that none goes away in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit.engines.flags import Flag, table, versions
from modelkit.failure import Failure
from tests.unit.exchange.imports import body, checked, losses, reason, take

VLLM = [
    ("--max-model-len 8k", ["PARAMETER num_ctx 8000"]), ("--max-model-len 8K", ["PARAMETER num_ctx 8192"]),
    ("--max_model_len=4096", ["PARAMETER num_ctx 4096"]), ("--max-num-seqs 32", ["SERVE max_concurrency 32"]),
    ("-tp 2 -pp 4", ["SERVE tensor_parallel 2", "SERVE pipeline_parallel 4"]), ("-dp 3", ["SERVE replicas 3"]),
    ("--gpu-memory-utilization 0.8", ["SERVE gpu_memory 0.8"]), ("--served-model-name a", ["NAME a"]),
    ("--kv-cache-dtype fp8_e4m3", ["SERVE kv_cache fp8"]),
    ("--no-enable-prefix-caching", ["SERVE prefix_caching false"]),
    ("--tool-call-parser hermes --enable-auto-tool-choice", ["SERVE tool_parser hermes"]),
    ("--reasoning-parser qwen3", ["SERVE reasoning_parser qwen3"]), ("-q fp8", ["QUANTIZE fp8"]),
    ("--quantization awq_marlin", ["QUANTIZE awq"]), ("--port 9000", ["SERVE port 9000"]),
    ("""--override-generation-config '{"temperature": 0.6, "repetition_penalty": 1.1}'""",
     ["PARAMETER temperature 0.6", "PARAMETER repeat_penalty 1.1"]),
    ("""--default-chat-template-kwargs '{"enable_thinking": false}'""", ["SERVE thinking false"]),
    ("""--speculative-config '{"method": "ngram", "num_speculative_tokens": 5}'""",
     ["PARAMETER draft_num_predict 5", "SERVE speculative ngram"]),
    ("--enable-lora --lora-modules a=/x/a b=/x/b", ["ADAPTER /x/a AS a", "ADAPTER /x/b AS b"]),
    ("--enforce-eager", ["FLAG --enforce-eager"]), ("-O3", ["FLAG --optimization-level 3"]),
    ("--max-num-batched-tokens 4096", ["FLAG --max-num-batched-tokens 4096"]),
    ("""--compilation-config '{"mode": 3}'""", ['FLAG --compilation-config {"mode": 3}']),
    ("--host 0.0.0.0 --api-key sk-1", ["SERVE api_key env:MODELKIT_API_KEY", "SERVE host 0.0.0.0"]),
    ("--api-key $KEY", ["SERVE api_key env:KEY"]),
    ("--chat-template '{{ messages }}{% if x %}{% endif %}'",
     ['TEMPLATE """{{ messages }}{% if x %}{% endif %}"""']),
]
LLAMA = [
    ("-c 8192", ["PARAMETER num_ctx 8192"]), ("-c 8192 -np 4", ["PARAMETER num_ctx 2048", "SERVE max_concurrency 4"]),
    ("-c 8192 -np 4 --kv-unified", ["PARAMETER num_ctx 8192", "SERVE max_concurrency 4"]), ("-c 0", []),
    ("-a x", ["NAME x"]), ("-ngl 20", ["PARAMETER num_gpu 20"]), ("-ngl 99", []), ("-t 8", ["PARAMETER num_thread 8"]),
    ("-t -1", []), ("--temp 0.7 --top-k 20", ["PARAMETER temperature 0.7", "PARAMETER top_k 20"]),
    ("--repeat-penalty 1.1 -n 64", ["PARAMETER repeat_penalty 1.1", "PARAMETER num_predict 64"]),
    ("-ctk q8_0 -ctv q8_0", ["SERVE kv_cache q8_0"]),
    ("-r '<|x|>' -r b", ['PARAMETER stop "<|x|>"', 'PARAMETER stop "b"']),
    ("--no-mmap", ["PARAMETER use_mmap false"]), ("--load-mode none", ["PARAMETER use_mmap false"]),
    ("--embedding --pooling last", ["SERVE task embed", "SERVE pooling last"]), ("--rerank", ["SERVE task rerank"]),
    ("--mmproj mmproj-f16.gguf", ["FROM ./mmproj-f16.gguf"]), ("--lora a.gguf", ["ADAPTER ./a.gguf"]),
    ("-md d.gguf --spec-draft-n-max 5", ["DRAFT ./d.gguf", "PARAMETER draft_num_predict 5"]),
    ("--spec-type ngram-simple", ["SERVE speculative ngram"]), ("--reasoning off", ["SERVE thinking false"]),
    ("--chat-template-kwargs '{\"reasoning_effort\": \"high\"}'", ["SERVE thinking high"]),
    ("--api-key-file /k", ["SERVE api_key file:/k"]), ("--no-cache-prompt", ["SERVE prefix_caching false"]),
]


@pytest.mark.parametrize(("flags", "lines"), VLLM, ids=[flags for flags, _ in VLLM])
def test_vllm(flags: str, lines: list[str]) -> None:
    found = take("vllm", f"vllm serve org/model {flags}")
    checked(found)
    assert sorted(body(found)) == sorted(["FROM hf.co/org/model", "STAGE prod {", "ENGINE vllm", "}", *lines])
    assert losses(found) == []


@pytest.mark.parametrize(("flags", "lines"), LLAMA, ids=[flags for flags, _ in LLAMA])
def test_llama_server(flags: str, lines: list[str]) -> None:
    found = take("llama-server", f"llama-server -m /m.gguf {flags}")
    checked(found)
    assert sorted(body(found)) == sorted(["FROM /m.gguf", "STAGE dev {", "ENGINE llama.cpp", "}", *lines])
    assert losses(found) == []


@pytest.mark.parametrize(("command", "base"), [
    ("vllm serve ./x", "./x"), ("vllm serve /x", "/x"), ("vllm serve --model org/m --revision abc", "hf.co/org/m@abc"),
    ("vllm serve hf.co/org/m", "hf.co/org/m"), ("vllm serve gpt2", "./gpt2"),
    ("docker run -v /host:/m vllm/vllm-openai --model /m/x", "/host/x"),
    ("llama-server -hf org/repo:Q8_0", "hf.co/org/repo:Q8_0"),
    ("llama-server --hf-repo org/repo --hf-file a.gguf", "hf.co/org/repo:a.gguf"),
    ("llama-server -mu https://example.org/a.gguf", "https://example.org/a.gguf"),
    ("llama-server -dr smollm2:360M", "oci://docker.io/ai/smollm2:360M"), ("llama-server -m x.gguf", "./x.gguf"),
])
def test_bases(command: str, base: str) -> None:
    found = take("vllm" if "vllm" in command else "llama-server", command)
    assert f"FROM {base}" in body(found)


@pytest.mark.parametrize(("command", "said", "why"), [
    ("vllm serve o/m --max-modl-len 4", "--max-modl-len 4", "did you mean `--max-model-len`?"),
    ("vllm serve o/m --trust-remote-code", "--trust-remote-code", "never run"),
    ("vllm serve o/m --host 0.0.0.0", "--host 0.0.0.0", "must send a key"),
    ("vllm serve o/m --gpu-memory-utilization 2", "--gpu-memory-utilization 2", "would be `2`"),
    ("vllm serve o/m --served-model-name a b", "--served-model-name b", "one name"),
    ("vllm serve o/m --max-model-len auto", "--max-model-len auto", "write `PARAMETER num_ctx`"),
    ("vllm serve o/m --chat-template ./none.jinja", "--chat-template ./none.jinja", "put its text"),
    ("CUDA_VISIBLE_DEVICES=0 vllm serve o/m", "CUDA_VISIBLE_DEVICES=…", "sets no variables"),
    ("vllm serve o/m extra", "extra", "takes one model"),
    ("llama-server -m /m --slot-save-path /x", "--slot-save-path /x", "would open more"),
    ("llama-server -m /m -ctk q8_0", "-ctk q8_0", "alike"),
    ("llama-server -m /m --temp 9", "--temp 9", "from 0 to 2"),
    ("llama-server -m /m --lora a --lora b", "--lora b", "by name"),
])
def test_what_does_not_fit_says_why(command: str, said: str, why: str) -> None:
    found = take("vllm" if "vllm" in command else "llama-server", command)
    assert why in reason(found, said).reason
    assert f"#   lost: {said}: " in (found.modelfile or "")


def test_a_key_is_nowhere() -> None:
    found = take("vllm", "HF_TOKEN=hf_abc vllm serve o/m --api-key sk-secret --hf-token hf_secret")
    said = f"{found.modelfile}{[loss.as_json() for loss in found.losses]}"
    assert "secret" not in said.replace("a secret is never", "") and "hf_abc" not in said


def _sample(flag: Flag) -> str:
    """A word that the flag takes."""
    if flag.choices:
        return str(flag.choices[0])
    return {"int": "2", "float": "0.5", "json": '{"a": 1}', "bool": ""}.get(flag.type, "word")


@pytest.mark.parametrize(("engine", "command"), [("vllm", "vllm serve o/m"), ("llama-server", "llama-server -m /m")])
def test_every_flag_that_an_engine_has_is_answered(engine: str, command: str) -> None:
    """In the Modelfile, or among the losses; alone and negated."""
    known = table(engine, versions(engine)[-1])
    assert known is not None
    silent = []
    for flag in known.flags:
        if flag.flag in ("--model", "--ctx-size", "--parallel", "--threads", "--revision"):
            continue
        for word in (flag.flag, *flag.aliases[:1], *flag.negations[:1]):
            from modelkit.exchange.command_lines import drafted
            from modelkit.exchange.losses import Account
            from modelkit.exchange.shell import find_command

            said = find_command([*command.split(), word, *filter(None, [_sample(flag)])], "x")
            account = Account()
            draft = drafted(said, "a test", account, Path("/nowhere"))
            before = drafted(find_command(command.split(), "x"), "a test", Account(), Path("/nowhere"))
            answered = [loss for loss in account.graded if loss.said.startswith((word, "--override", "--spec"))]
            if draft.instructions() == before.instructions() and not answered:
                silent.append(word)
    assert silent == []


def test_the_other_engine_is_named() -> None:
    with pytest.raises(Failure, match="starts llama-server, not vllm") as refused:
        take("vllm", "llama-server -m x")
    assert refused.value.hint == "`modelkit import llama-server` reads it"


def test_a_model_is_needed() -> None:
    with pytest.raises(Failure, match="names no model"):
        take("vllm", "vllm serve --max-model-len 4")


def test_a_base_that_is_none_is_refused() -> None:
    with pytest.raises(Failure) as refused:
        take("vllm", "vllm serve $MODEL/x")
    assert refused.value.code == "import-refused"


def test_files_beside_the_command_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text("{% if a %}x{% endif %}\n", "utf-8")
    said = "model: org/m\nmax-model-len: 512\nenforce-eager: true\nmax-num-seqs: 3\n"
    (tmp_path / "c.yaml").write_text(said, "utf-8")
    found = take("vllm", "vllm serve --config c.yaml --chat-template t.jinja --max-num-seqs 4", tmp_path)
    lines = body(found)
    assert {"FROM hf.co/org/m", "PARAMETER num_ctx 512", "FLAG --enforce-eager", "SERVE max_concurrency 4"} <= {*lines}
    assert 'TEMPLATE """{% if a %}x{% endif %}' in lines


def test_a_name_is_made_fit() -> None:
    assert "NAME a-b" in body(take("vllm", "vllm serve o/m", called="a b"))
