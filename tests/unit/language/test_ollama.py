"""Ollama's language, exactly: recorded outcomes of its own parser, and a second implementation to disagree with."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelkit.language.diagnostic import Severity
from modelkit.language.document import Instruction
from modelkit.language.ollama import OllamaError, commands
from modelkit.language.parser import parse
from modelkit.language.source import Source
from tests.unit.language import ollama_machine
from tests.unit.language.texts import ollama_like

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "golden/syntax/ollama_cases.jsonl").read_text().splitlines()
]
cases = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])


def source_of(case: dict[str, Any]) -> Source:
    data = base64.b64decode(case["base64"]) if "base64" in case else case["text"].encode()
    return Source.decode("Modelfile", data)


def outcome(text: str) -> tuple[list[tuple[str, str]] | None, str | None]:
    try:
        return [(c["Name"], c["Args"]) for c in commands(Source("Modelfile", text))], None
    except OllamaError as error:
        return None, str(error)


def machine_outcome(text: str) -> tuple[list[tuple[str, str]] | None, str | None]:
    try:
        return ollama_machine.run(text), None
    except ollama_machine.Refused as error:
        return None, str(error)


@cases
def test_same_commands_or_same_words(case: dict[str, Any]) -> None:
    expected = [tuple(c) for c in case["commands"]] if "commands" in case else None
    assert outcome(source_of(case).text) == (expected, case.get("error"))


@cases
def test_our_own_parser_reads_the_same_and_refuses_the_same(case: dict[str, Any]) -> None:
    source = source_of(case)
    document, found = parse(source)
    errors = [d.message for d in found if d.severity is Severity.ERROR]
    if "commands" in case:
        assert not errors
        assert [in_ollamas_terms(i) for i in document.instructions()] == [tuple(c) for c in case["commands"]]
    elif not case["name"].startswith("our "):
        assert errors


def in_ollamas_terms(instruction: Instruction) -> tuple[str, str]:
    keyword, name, text = instruction.keyword.text.lower(), instruction.name, instruction.value.text
    if keyword == "message" and name:
        return "message", f"{name.text}: {text}"
    if name:
        return name.text, text
    return ("model" if keyword == "from" else keyword), text


@given(ollama_like())
@settings(max_examples=400, deadline=None)
@example('FROM x\nSYSTEM "\u200b""a\nb""\u200b"')
def test_two_implementations_agree(text: str) -> None:
    assert outcome(text) == machine_outcome(text)


@given(st.text(st.characters(exclude_categories=["Cn", "Cs"]), max_size=60))  # assigned: Unicode's versions differ
@settings(max_examples=200, deadline=None)
def test_two_implementations_agree_on_noise(text: str) -> None:
    assert outcome("FROM x\n" + text) == machine_outcome("FROM x\n" + text)
