"""What the files beside a Modelfile show: only what is there is looked at, and nothing is fetched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelkit.language.check import compile_source
from modelkit.language.examples import EXAMPLES
from modelkit.language.rules import FAMILIES
from modelkit.language.source import Source
from modelkit.planning.beside import findings
from tests.unit.models.gguf_files import gguf, pair


def model(architecture: str = "llama", tokens: int = 300, *, chats: bool = True, kind: str = "model") -> bytes:
    pairs = [pair("general.architecture", "string", architecture), pair("general.type", "string", kind),
             pair(f"{architecture}.context_length", "uint32", 2048),
             pair("tokenizer.ggml.tokens", "[string]", [f"t{number}" for number in range(tokens)])]
    return gguf([*pairs, pair("tokenizer.chat_template", "string", "{{ messages }}")] if chats else pairs)


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Path:
    (tmp_path / "llama.gguf").write_bytes(model())
    (tmp_path / "base-model.gguf").write_bytes(model(chats=False))
    (tmp_path / "small.gguf").write_bytes(model())
    (tmp_path / "gemma.gguf").write_bytes(model("gemma3", 900))
    (tmp_path / "tone.gguf").write_bytes(model(kind="adapter"))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\x03")
    (tmp_path / "llama3.2").mkdir()
    return tmp_path


def said(folder: Path, text: str) -> list[tuple[str, int, str]]:
    path = folder / "Modelfile"
    path.write_text(text, "utf-8")
    source = Source.read(path)
    checked, found = compile_source(source)
    assert checked is not None, found
    return [(one.rule.id, source.line_column(one.span.start)[0], one.message) for one in findings(checked)]


@pytest.mark.parametrize("rule", FAMILIES["model"].rules)
def test_a_rules_examples_show_it(files: Path, rule: str) -> None:
    assert rule in {one[0] for one in said(files, EXAMPLES[rule].bad)}
    assert said(files, EXAMPLES[rule].good) == []


@pytest.mark.parametrize(("text", "found"), [
    ("FROM llama3.2:3b\nADAPTER hf.co/org/tone\n", []), ("FROM hf.co/org/model\n", []),
    ("FROM ./broken.gguf\nPARAMETER num_ctx 9999999\n", []), ("FROM .\n", []), ("FROM C:\\models\\m.gguf\n", []),
    ("FROM ~nobody-of-that-name/m.gguf\n", []), ("FROM ./llama.gguf\nPARAMETER num_ctx 2048\n", []),
    ("FROM ./base-model.gguf\nTEMPLATE {{ .Prompt }}\n", []), ("FROM ./base-model.gguf\nSERVE task embed\n", []),
    ("FROM ./lama.gguf\n", ["missing-file"]), ("FROM ./llama.gguf\nADAPTER ./none AS a\n", ["missing-file"]),
    ("FROM ./llama.gguf\nFROM ./mmproj.gguf\n", ["missing-file"]),
    ("FROM ./llama.gguf\nADAPTER ./gemma.gguf\nDRAFT ./gemma.gguf\n",
     ["adapter-of-another-model", "draft-of-another-vocabulary"]),
    ("FROM ./llama.gguf\nSTAGE prod {\n  PARAMETER num_ctx 4096\n}\nSTAGE canary EXTENDS prod {\n}\n",
     ["context-too-long"]),
])
def test_findings(files: Path, text: str, found: list[str]) -> None:
    assert [one[0] for one in said(files, text)] == found


def test_a_slip_of_the_name_is_recognised(files: Path) -> None:
    (files / "Modelfile").write_text("FROM ./lama.gguf\n")
    checked, _ = compile_source(Source.read(files / "Modelfile"))
    assert checked is not None
    assert [one.hint for one in findings(checked)] == ["did you mean `./llama.gguf`?"]


def test_a_pipe_is_not_opened(files: Path) -> None:
    os.mkfifo(files / "pipe.gguf")
    assert said(files, "FROM ./pipe.gguf\nPARAMETER num_ctx 9999\n") == []


def test_a_text_in_no_file_has_no_files_beside_it() -> None:
    checked, _ = compile_source(Source("no/such/Modelfile", "FROM ./nothing.gguf\n"))
    assert checked is not None and findings(checked) == []
