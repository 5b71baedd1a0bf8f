"""100,000 texts through the whole front end: no traceback, no hang, bounded memory. The same ones in every run.

`python -m tests.unit.language.test_fuzz SEED COUNT` draws others, COUNT of each kind.
"""

from __future__ import annotations

import resource
import signal
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from tests.unit.language.drawn import Drawer
from tests.unit.language.laws import smallest, the_front_end_answers

COUNTS = {"noise": 35_000, "pieces": 30_000, "mutated": 22_000, "words": 6_000, "ollama": 4_000, "good": 3_000}
LONGEST = 10.0  # seconds of the processor for one text, which takes a millisecond
MOST_GROWTH = 128 * 1024  # KiB
SIZE = 8_000
MOST_MEMORY = 1500  # bytes for each character of a hostile text
HOSTILE = {
    "quotes": 'SYSTEM "x\n', "triple quotes": 'SYSTEM """x\n', "blocks": "STAGE a {\n", "braces": "}\n{\n",
    "comments": "# c\n", "blanks": " ", "empty lines": "\r\n", "deleted": "\u200b", "unknown words": "PARAMTER a b\n",
    "shouted words": "QWERTZ a\n", "keywords alone": "SYSTEM\n", "nulls": "\0", "parameters": "PARAMETER stop a\n",
    "extends": "STAGE a EXTENDS a {\n}\n", "tests": 'TEST "t" {\nUSER a\n}\n', "variables": "ARG A b\nSYSTEM ${A}\n",
    "flags": "FLAG --a=1 \n", "labels": "USER: a\n", "policies": "POLICY locked\n", "gates": "EXPECT ttft.p95 <= 1s\n",
    "bases": "FROM x\n", "suppressions": "# modelkit: ignore[inline-comment] a\n",
}
VALUES = ("hf_" + "a" * 30 + "\n", "{{ if .A }}", "{% if a %}", "{{ (", "{% x", "\u8bed\U0001f469", "a://b:c", '"',
          "a,", "{", "[", "${A}", "\\n", "# ", "a AS b ", ">=1,", "<|a|>")
VALUED = ("TEMPLATE", "SYSTEM", "PARAMETER stop", "ENGINE vllm", "ADAPTER", "FLAG", "FROM", "LICENSE", "UNSET")


class TooLong(Exception):
    """A text took longer than any text may."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises TooLong after so much time of the processor: a busy machine is no hang."""
    def stop(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def fails(text: str) -> bool:
    try:
        with limited(LONGEST):
            the_front_end_answers(text)
    except Exception:
        return True
    return False


def through_the_front_end(kind: str, count: int, seed: int) -> int:
    """How many of the texts were good. Raises with the smallest text like the one that was not answered."""
    draw = getattr(Drawer(Random(f"{kind} {seed}")), kind)
    good = 0
    for _ in range(count):
        text = draw()
        try:
            with limited(LONGEST):
                good += the_front_end_answers(text)
        except Exception as error:
            raise AssertionError(f"{kind} {seed}: {smallest(text, fails)!r}") from error
    return good


@pytest.mark.parametrize("kind", COUNTS)
def test_every_text_is_answered(kind: str) -> None:
    through_the_front_end(kind, 500, seed=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    good = through_the_front_end(kind, COUNTS[kind], seed=1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH
    assert good >= COUNTS[kind] * {"good": 0.9, "ollama": 0.3, "mutated": 0.05}.get(kind, 0)


def test_they_are_a_hundred_thousand() -> None:
    assert sum(COUNTS.values()) >= 100_000


def costs_little(text: str) -> None:
    tracemalloc.start()
    try:
        with limited(2 * LONGEST):
            the_front_end_answers(text)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY * len(text)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_one_line_again_and_again(unit: str) -> None:
    costs_little("FROM x:1\n" + unit * (SIZE // len(unit)))


@pytest.mark.parametrize("unit", VALUES)
def test_one_long_value(unit: str) -> None:
    for instruction in VALUED:
        costs_little(f'FROM x:1\n{instruction} """{unit * (SIZE // len(unit))}"""\n')
        costs_little(f"FROM x:1\n{instruction} {unit * (SIZE // len(unit))}\n")


if __name__ == "__main__":
    for name in COUNTS:
        print(name, through_the_front_end(name, int(sys.argv[2]), int(sys.argv[1])), "good")
