"""What is said of the word under the cursor."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit.language.engine_words import ENGINES
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.language.kinds import Kind, Wrong
from modelkit.language.parameters import PARAMETERS
from modelkit.language.quantization import PRECISIONS
from modelkit.language.serve import SERVE_KEYS
from modelkit.lsp.becomes import becomes
from modelkit.lsp.hover import hover
from tests.unit.lsp.texts import SUPPORT, marked


def said(text: str, folder: Path | None = None) -> tuple[str, str]:
    """The word that the hover is about, and what it says; two empty texts where it says nothing."""
    analysis, offset = marked(text, folder)
    found = hover(analysis, offset)
    return (analysis.source.text[found.span.start : found.span.end], found.text) if found is not None else ("", "")


@pytest.mark.parametrize(("text", "word", "says"), [
    ("¦FROM x", "FROM", "The base model"),
    ("from¦ x", "from", "The base model"),
    ("TEMP¦LATE {% %}", "TEMPLATE", "`--chat-template` = `chat_template.jinja` |"),
    ("SYSTEM¦ be kind", "SYSTEM", "| vllm, tensorrt-llm, sglang | `messages` |"),
    ("PARAMETER ¦top_k 3", "top_k", "Default: `40`"),
    ("PARAMETER top_k ¦3", "3", "| llama.cpp, llama-server, vllm, tensorrt-llm, sglang | `top_k` = `3` |"),
    ("PARAMETER mirost¦at 1", "mirostat", "ignored"),
    ("PARAMETER tfs_¦z 1", "tfs_z", "removed it in 2024-12"),
    ("SERVE kv_¦cache fp8", "kv_cache", "`--kv-cache-dtype`"),
    ("SERVE po¦rt 1", "port", "Default: `8484`"),
    ("PARAMETER num_gpu ¦7", "7", "**lost**"),
    ("QUANTIZE q4_k_¦m", "q4_k_m", "4.85 bits a weight"),
    ("QUANTIZE auto >= Q4_¦K_M", "Q4_K_M", "4.85 bits"),
    ("ENGINE vl¦lm >=0.32", "vllm", "vLLM from safetensors"),
    ("PLATFORM kube¦rnetes", "kubernetes", "Plain Kubernetes objects"),
    ("POLICY loc¦ked", "locked", "pinned by digest"),
    ("STAGE prod {\n  EXPECT ttft.¦p95 <= 1s\n}", "ttft.p95", "95th percentile"),
    ('TEST "a" {\n  EXPECT not con¦tains "x"\n}', "contains", "The answer contains this text"),
    ("STAGE prod {\n  ENGINE vllm ==0.32\n  FLAG --max-num-¦seqs 3\n}", "--max-num-seqs", "A flag of vllm 0.32.0"),
    ("UNSET PARAMETER st¦op", "stop", "ends the answer"),
    ("STAGE experiment {\n  TRY QUANTIZE Q8_¦0 F16\n}", "Q8_0", "8.5 bits"),
    ("STAGE experiment {\n  TRY QUANT¦IZE Q8_0\n}", "QUANTIZE", "precision"),
    ("STAGE experiment {\n  TRY PARAMETER top_¦k 1 2\n}", "top_k", "likeliest tokens"),
    ("UNSET ¦SYSTEM", "SYSTEM", "The system prompt"),
    ("UNSET SERVE po¦rt", "port", "Default: `8484`"),
    ("UNSET POLICY lock¦ed", "locked", "pinned by digest"),
    ("UNSET EXPECT ttft.¦p95", "ttft.p95", "95th percentile"),
    ("QUANTIZE au¦to", "auto", "best that fits"),
    ("ARG SIZE 3b\nFROM x:${SI¦ZE}", "SIZE", "Default: `3b`"),
    ("ADAPTER ./a.gguf AS fr¦iendly", "friendly", "chooses this adapter"),
    ("STAGE staging EXTENDS prod {\n  ENGINE sglang\n}\nSTAGE prod {\n}\nSTAGE ¦x EXTENDS staging {\n}", "x",
     "Runs `sglang` on `process`"),
    ("STAGE pr¦od {\n  ENGINE vllm >=0.32\n  PLATFORM ray\n}", "prod", "Runs `vllm` >=0.32 on `ray`"),
    ("# modelkit: ignore[machine-¦path] mine\nFROM /home/me/x", "machine-path", "home folder"),
])
def test_what_is_said(text: str, word: str, says: str) -> None:
    about, page = said(text)
    assert about == word
    assert says in page


@pytest.mark.parametrize("text", [
    "SYSTEM You are ¦kind", 'SYSTEM """a\nFR¦OM x\n"""', "# just pro¦se, and bad-value", "NONSENSE ¦x", "¦",
    "MESSAGE user h¦i", "PARAMETER non¦sense 1", "SERVE non¦sense 1", "FLAG --no-such-¦flag", "ENGINE vllm >=0.¦32",
])
def test_nothing_is_said_of_prose_and_of_what_is_not_known(text: str) -> None:
    assert said(text) == ("", "")


def test_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    (tmp_path / "m.gguf").touch()
    assert "It is there." in said("FROM ./m¦.gguf", tmp_path)[1]
    assert "**It is not there.**" in said("ADAPTER ./n¦.gguf AS x", tmp_path)[1]
    assert "Hugging Face; may mean other bytes" in said("FROM hf.co/a/¦b:Q4_K_M", tmp_path)[1]
    assert "modelkit pull" in said("FROM lla¦ma3.2:3b", tmp_path)[1]
    assert said("FROM http://¦x", tmp_path)[1]


def test_a_table_has_the_files_context() -> None:
    assert "`--ctx-size` = `8192`" in said("PARAMETER num_ctx 2048\nPARAMETER num_¦ctx 2048")[1]


SETTINGS = [*((name, row.kind, row.default) for name, row in PARAMETERS.items()),
            *((f"serve.{name}", row.kind, row.default) for name, row in SERVE_KEYS.items())]
SAMPLES = ("0", "1", "-1", "0.5", "true", "false", "fp8", "q8_0", "ngram", "draft_model", "hermes", "embed", "5m",
           "cpu", "env:KEY", "<|im_end|>", "a`b|c\nd")


@pytest.mark.parametrize(("name", "kind", "default"), SETTINGS, ids=lambda v: v if isinstance(v, str) else "")
def test_every_setting_becomes_something_where_an_engine_has_a_say(name: str, kind: Kind, default: object) -> None:
    values = [read for text in SAMPLES if not isinstance(read := kind.read(text), Wrong)]
    for value in values:
        table = becomes(name, value)
        rows = table.splitlines()[2:]
        assert all(row.count(" | ") == 1 and row.endswith(" |") and row.split(" | ")[1].strip(" |") for row in rows)
        assert {engine for row in rows for engine in row.strip("| ").split(" | ")[0].split(", ")} <= set(ENGINES)
    assert values or default is not None


def test_precisions_become_something() -> None:
    assert all("| engine | becomes |" in becomes("quantize", name) for name in PRECISIONS)


def test_every_instruction_has_a_page() -> None:
    for row in INSTRUCTIONS.values():
        text = row.example if "file" in row.where else f'STAGE experiment {{\n{row.example}\n}}' \
            if "stage" in row.where else f'TEST "a" {{\n{row.example}\n}}'
        before, _, after = text.partition(row.keyword) if "file" in row.where else text.partition(f"\n{row.keyword}")
        word, page = said(f"{before}{'' if 'file' in row.where else chr(10)}¦{row.keyword}{after}")
        assert (word, row.doc in page) == (row.keyword, True)


def test_nothing_is_said_twice_of_the_example() -> None:
    words = {said(f"{SUPPORT[:index]}¦{SUPPORT[index:]}")[0] for index in range(0, len(SUPPORT), 3)}
    assert {"FROM", "temperature", "--enforce-eager", "ttft.p95", "contains", "SIZE", "prod"} <= words
