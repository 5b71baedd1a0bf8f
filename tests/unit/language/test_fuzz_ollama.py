"""Ollama's language read twice, by the lexer and by a machine of another kind: 20,000 texts, the same in every run.

`python -m tests.unit.language.test_fuzz_ollama SEED COUNT` draws others, COUNT of each kind.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from random import Random

import pytest

from modelkit.language.diagnostic import Severity
from modelkit.language.parser import parse
from modelkit.language.source import Source
from tests.unit.language.drawn import Drawer
from tests.unit.language.laws import smallest
from tests.unit.language.test_ollama import in_ollamas_terms, machine_outcome, outcome
from tests.unit.language.texts import OLLAMA_PIECES

COUNTS = {"good": 7_000, "pieces": 5_000, "mutated": 4_000, "noise": 4_000}
LEAST_READ = {"good": 0.6, "pieces": 0.05, "mutated": 0.1, "noise": 0.2}


BEGUN = ("", "FROM x\n", "FROM x\nSYSTEM ", "FROM x\nPARAMETER stop ", 'FROM x\nSYSTEM """', 'FROM x\nSYSTEM "')


def drawing(kind: str, drawer: Drawer) -> Callable[[], str]:
    """How to draw one text of a kind; what Ollama refuses at its first line teaches little, so most have a base."""
    return {
        "good": drawer.ollama,
        "pieces": lambda: drawer.pick(BEGUN) + "".join(drawer.few(14, lambda: drawer.pick(OLLAMA_PIECES))),
        "mutated": drawer.mutated,
        "noise": lambda: f"FROM x\nSYSTEM {drawer.noise(40)}",
    }[kind]


def assigned(text: str) -> str:
    """Without the characters that one version of Unicode has and another has not."""
    return "".join(c for c in text if unicodedata.category(c) != "Cn")


def readings_differ(text: str) -> bool:
    """Whether the two give other commands or other words; and what Ollama reads, our own parser reads alike."""
    expected = machine_outcome(text)
    if outcome(text) != expected:
        return True
    commands, _ = expected
    if commands is None:
        return False
    document, found = parse(Source("Modelfile", text))
    ours = [in_ollamas_terms(instruction) for instruction in document.instructions()]
    return ours != commands or any(d.severity is Severity.ERROR for d in found)


def compare(kind: str, count: int, seed: int) -> int:
    """How many of the texts Ollama reads. Raises with the smallest text that is read in two ways."""
    draw = drawing(kind, Drawer(Random(f"ollama {kind} {seed}")))
    read = 0
    for _ in range(count):
        text = assigned(draw())
        if readings_differ(text):
            raise AssertionError(f"{kind} {seed}: {smallest(text, readings_differ)!r}")
        read += machine_outcome(text)[0] is not None
    return read


@pytest.mark.parametrize("kind", COUNTS)
def test_two_implementations_agree(kind: str) -> None:
    assert compare(kind, COUNTS[kind], seed=1) >= COUNTS[kind] * LEAST_READ[kind]


def test_they_are_twenty_thousand() -> None:
    assert sum(COUNTS.values()) >= 20_000


if __name__ == "__main__":
    for name in COUNTS:
        print(name, compare(name, int(sys.argv[2]), int(sys.argv[1])), "read by Ollama")
