"""Commands as people paste them."""

from __future__ import annotations

import pytest

from modelkit.exchange.shell import Command, find_command, split
from modelkit.failure import Failure

SCRIPT = """#!/bin/bash
# the model
export HF_TOKEN=hf_secret
cd /srv && CUDA_VISIBLE_DEVICES=0,1 VLLM_LOGGING_LEVEL=DEBUG \\
  vllm serve org/model \\
    --max-model-len 8k \\
    --override-generation-config '{"temperature": 0.6,
       "top_p": 0.95}' 2>&1 | tee log &
"""


@pytest.mark.parametrize(("text", "commands"), [
    ("a b", [["a", "b"]]), ("a 'b c' \"d $E\"", [["a", "b c", "d $E"]]), ("a\\\n b", [["a", "b"]]),
    ("a # b\nc", [["a"], ["c"]]), ("a#b", [["a#b"]]), ("a; b && c | d & e", [["a"], ["b"], ["c"], ["d"], ["e"]]),
    ("a > out.txt b", [["a", "b"]]), ("a 2>&1 b", [["a", "b"]]), ("a >>x 2>/dev/null", [["a"]]),
    ("a \"b\\\"c\" 'd", [["a", 'b"c', "d"]]), ("a ${B:-c d}e", [["a", "${B:-c d}e"]]), ("a \\;", [["a", ";"]]),
    ("", []), ("  \n#\n", []), ("a --x='1 2'", [["a", "--x=1 2"]]), ("a\r\nb", [["a"], ["b"]]), ("a \"", [["a", ""]]),
])
def test_words(text: str, commands: list[list[str]]) -> None:
    assert list(split(text)) == commands


def test_a_script() -> None:
    found = find_command(SCRIPT, "run.sh")
    assert found.engine == "vllm"
    assert found.words[:3] == ("org/model", "--max-model-len", "8k")
    assert found.words[-1].startswith('{"temperature": 0.6,\n')
    assert found.variables == ("CUDA_VISIBLE_DEVICES=0,1", "VLLM_LOGGING_LEVEL=DEBUG")


@pytest.mark.parametrize(("text", "engine", "words"), [
    ("llama-server -m x.gguf", "llama-server", ("-m", "x.gguf")),
    ("/opt/bin/llama-server-b1234 -m x", "llama-server", ("-m", "x")),
    ("C:\\\\llama\\\\llama-server.exe -m x", "llama-server", ("-m", "x")),
    ("python3 -m vllm.entrypoints.openai.api_server --model x", "vllm", ("--model", "x")),
    ("sudo nohup vllm serve x", "vllm", ("x",)),
    ("env A=1 uv run vllm serve x", "vllm", ("x",)),
    ("docker run --rm -it vllm/vllm-openai:v0.32.0 --model x", "vllm", ("--model", "x")),
    ("docker run x/y vllm serve z", "vllm", ("z",)),
    ("podman run --entrypoint vllm img serve z", "vllm", ("z",)),
    ("docker run ghcr.io/ggml-org/llama.cpp:server -m x", "llama-server", ("-m", "x")),
    ("docker run ghcr.io/ggml-org/llama.cpp:full --server -m x", "llama-server", ("-m", "x")),
])
def test_programs(text: str, engine: str, words: tuple[str, ...]) -> None:
    found = find_command(text, "x")
    assert (found.engine, found.words) == (engine, words)


def test_a_container() -> None:
    text = ("docker run -d --gpus all -v /m:/models:ro --env=A=1 -e HF_TOKEN -p 127.0.0.1:9000:8000 --ipc=host "
            "vllm/vllm-openai@sha256:00 --model /models/x")
    assert find_command(text, "x") == Command(
        "vllm", ("--model", "/models/x"), ("A=1", "HF_TOKEN"), "vllm/vllm-openai@sha256:00", ("/m:/models:ro",),
        ("127.0.0.1:9000:8000",), ("-d", "--gpus all", "--ipc host"))


@pytest.mark.parametrize("text", ["", "ollama serve", "vllm bench latency", "docker run", "docker run --rm",
                                  "docker run redis", "docker ps", "A=1", "llama-cli -m x", "env", "$(vllm)"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(Failure, match="starts neither vLLM nor llama-server") as refused:
        find_command(text, "run.sh")
    assert refused.value.code == "no-engine-command"


def test_an_endless_command_is_refused() -> None:
    with pytest.raises(Failure, match="5000 words"):
        find_command(["vllm"] * 5000, "x")
