"""`modelkit parity` on the real SmolLM2: its own template and tokenizer, llama.cpp's vocabulary, vLLM's renderer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelkit.release.parity import compare, shipped_conversations
from modelkit.release.parity.files import files_side
from modelkit.runtime.environments import find_tool
from tests.live.cli import free_port, modelkit
from tests.live.engines import BASE
from tests.unit.release.parity_stages import TEMPLATES, Stage

pytestmark = pytest.mark.timeout(600)

FILE = f"""NAME bot
FROM {BASE}
{{both}}
PARAMETER num_ctx 1024
STAGE dev {{{{
  ENGINE llama.cpp
  {{dev}}
}}}}
STAGE prod {{{{
  ENGINE {{engine}}
  {{prod}}
}}}}
TEST "capital" {{{{
  USER What is the capital of France?
  EXPECT contains "Paris"
}}}}
TEST "sum" {{{{
  USER What is 2 + 2?
  EXPECT contains "4"
}}}}
"""


def write(folder: Path, *, both: str = "", dev: str = "", prod: str = "", engine: str = "llama.cpp") -> None:
    (folder / "Modelfile").write_text(FILE.format(both=both, dev=dev, prod=prod, engine=engine), "utf-8")


def parity(folder: Path, *words: str, code: int = 0) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(modelkit("parity", *words, "--json", cwd=folder, code=code).stdout)
    return said


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model's own."""
    folder = tmp_path_factory.mktemp("model")
    write(folder)
    modelkit("pull", "-s", "dev", cwd=folder)
    return modelkit("render", "--template", cwd=folder).stdout.removesuffix("\n")


def edited(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text, text
        return text.replace(old, new)

    return edit


FAULTS = {
    "another end of a turn": (edited("<|im_end|>", "<|endoftext|>"), "special-token"),
    "another default system prompt": (edited("You are a helpful AI assistant", "You are a pirate"), "system-prompt"),
    "a trimmed newline": (edited("<|im_start|>assistant\n", "<|im_start|>assistant"), "newline"),
    "no generation prompt": (edited("add_generation_prompt", "false"), "generation-prompt"),
    "trimmed messages": (edited("message['content']", "(message['content'] | trim)"), "trimmed"),
    "two BOS": (lambda text: "{{ bos_token }}{{ bos_token }}" + text, "bos-doubled"),
    "a BOS more": (lambda text: "{{ bos_token }}" + text, "bos-doubled"),  # this model's is <|im_start|>
}


@pytest.mark.live_llamacpp
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_models_own_template(name: str, template: str, tmp_path: Path) -> None:
    edit, kind = FAULTS[name]
    (tmp_path / "bad.jinja").write_text(edit(template))
    write(tmp_path, prod="TEMPLATEFILE bad.jinja")
    said = parity(tmp_path, "--files", code=1)
    assert {one["kind"] for one in said["causes"]} == {kind}


@pytest.mark.live_llamacpp
@pytest.mark.parametrize("pre", ["smollm", "llama-bpe", "qwen2", "tekken", ""])
def test_llama_cpps_own_vocabulary_gives_our_tokenizers_ids(pre: str, tmp_path: Path) -> None:
    llama = find_tool("quantizer")  # that is llama-cpp-python, wherever it is
    assert llama is not None, "modelkit engine install llama.cpp"
    talks = shipped_conversations()
    texts = Stage().texts if pre else {"bos_token": "<s>", "eos_token": "</s>"}
    for number, text in enumerate(TEMPLATES.values()):
        files = Stage(text, pre, texts=texts, form="gguf").files(tmp_path / str(number))
        report = compare(talks, files_side(replace(files, python=llama.python), talks), files_side(files, talks))
        assert report.equal, report.causes


@pytest.mark.live_llamacpp
def test_an_engine_reads_what_its_files_say(tmp_path: Path) -> None:
    write(tmp_path, both="SYSTEM Be brief.")
    modelkit("up", "-d", "--wait", "-s", "dev", "--port", str(free_port()), cwd=tmp_path)
    try:
        said = parity(tmp_path)
    finally:
        modelkit("down", "--drain", "0", cwd=tmp_path)
    assert said["asked"] == {"left": "engine", "right": "files"} and said["equal"] and said["answers"] is None


@pytest.mark.live_llamacpp
def test_two_engines_are_started_compared_and_stopped(tmp_path: Path) -> None:
    write(tmp_path, dev="SYSTEM Be brief.", prod="SYSTEM You are a pirate.")
    said = parity(tmp_path, "--start", code=1)
    assert said["asked"] == {"left": "engine", "right": "engine"}
    assert {one["kind"] for one in said["causes"]} == {"system-prompt"}
    answers = said["answers"]
    assert answers["method"] == "forced" and answers["conversations"] == 2 and answers["positions"] > 4
    assert answers["kl"]["value"] == pytest.approx(0, abs=1e-3)  # one file, and one answer given to both
    running = json.loads(modelkit("ps", "--json", cwd=tmp_path).stdout)
    assert not any(str(tmp_path) in str(one.get("modelfile")) for one in running)


@pytest.mark.live_vllm
def test_vllm_reads_and_answers_what_llama_cpp_does(tmp_path: Path) -> None:
    """The renderer without a GPU, then both engines, with limits that another quantization would break."""
    write(tmp_path, both="SYSTEM Be brief.", engine="vllm >=0.32,<0.33")
    said = parity(tmp_path, "--render")
    assert said["asked"] == {"left": "files", "right": "renderer"} and said["equal"]
    said = parity(tmp_path, "--start", "--max-kl", "0.05", "--min-top1", "0.7")
    assert said["asked"] == {"left": "engine", "right": "engine"} and said["equal"]
    assert said["verdict"] == "pass" and said["answers"]["method"] == "forced"
