"""The laws of the layout, for drawn files, and what it looks like, for a few."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelkit.language.diagnostic import CompileError
from modelkit.language.examples import EXAMPLES
from modelkit.language.format import formatted
from modelkit.language.source import Source
from tests.unit.language.drawn import SEEDS, Drawer
from tests.unit.language.laws import a_layout_changes_nothing_else, layout

RANDOM = st.randoms(use_true_random=False)  # hypothesis chooses, so what fails is made small
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(RANDOM)
def test_the_laws_for_good_files(random: Random) -> None:
    text = Drawer(random).good(most=4)
    if layout(text) is not None:
        a_layout_changes_nothing_else(text)


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(RANDOM)
def test_the_laws_for_ollamas_files(random: Random) -> None:
    text = Drawer(random).ollama(most=4)
    if layout(text) is not None:
        a_layout_changes_nothing_else(text)


@pytest.mark.parametrize("text", [text for text in SEEDS if layout(text) is not None])
def test_the_laws_for_every_file_of_the_project(text: str) -> None:
    a_layout_changes_nothing_else(text)


def test_the_laws_for_hundreds_more() -> None:
    drawer = Drawer(Random(7))
    good = [text for text in (drawer.good(most=5) for _ in range(250)) if layout(text) is not None]
    for text in good:
        a_layout_changes_nothing_else(text)
    assert len(good) > 220


EXAMPLE_FILES = sorted(Path(__file__).parents[3].glob("examples/*/Modelfile"))


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: path.parent.name)
def test_the_examples_are_laid_out(path: Path) -> None:
    source = Source.read(path)
    assert formatted(source) == source.text


@pytest.mark.parametrize("rule", EXAMPLES)
def test_a_file_with_errors_has_no_layout(rule: str) -> None:
    source = Source("Modelfile", EXAMPLES[rule].bad + "STAGE dev\n")
    with pytest.raises(CompileError) as raised:
        formatted(source)
    assert raised.value.diagnostics


@pytest.mark.parametrize(("text", "wanted"), [
    ("\n\nfrom x\n\n\n", "FROM x\n"),
    ("FROM x", "FROM x\n"),
    ("FROM x\r\nSYSTEM a\r\n", "FROM x\r\nSYSTEM a\r\n"),
    ("FROM x\rSYSTEM a", "FROM x\rSYSTEM a\r"),
    ("FROM x\nLICENSE a\r\nSYSTEM b\n", "FROM x\nLICENSE a\nSYSTEM b\n"),
    ('FROM x\nSYSTEM """a \r\n  b"""\n', 'FROM x\nSYSTEM """a \r\n  b"""\n'),
    ("FROM x\n\n\n# a \t\n\n\n#b\nSYSTEM c", "FROM x\n\n# a\n\n#b\nSYSTEM c\n"),
    ("FROM x\nPARAMETER stop \nLICENSE\t", 'FROM x\nPARAMETER stop ""\nLICENSE ""\n'),
    ("FROM   ./a  b  \nSYSTEM  two  blanks", "FROM ./a  b\nSYSTEM two  blanks\n"),
    ("FROM x\n# of dev\nSTAGE dev{\n\nengine   vllm  >=0.32\n\n}\n# more\nSYSTEM a",
     "FROM x\n\n# of dev\nSTAGE dev {\n  ENGINE vllm >=0.32\n}\n\n# more\nSYSTEM a\n"),
    ("FROM x\n# of x\n\nSTAGE dev {\n# in\n}", "FROM x\n# of x\n\nSTAGE dev {\n  # in\n}\n"),
    ('FROM x\nTEST "a  b"{\nuser   hi  you\nexpect  not   contains   "a  b"\n}',
     'FROM x\n\nTEST "a  b" {\n  USER hi  you\n  EXPECT not contains "a  b"\n}\n'),
    ("FROM x\nEXPECT ttft.p95<=500ms\nFLAG --a   b  c", "FROM x\nEXPECT ttft.p95 <= 500ms\nFLAG --a b  c\n"),
    ("FROM x\nQUANTIZE IQ2_M  imatrix  a  b.dat", "FROM x\nQUANTIZE IQ2_M  imatrix  a  b.dat\n"),
    ("FROM x\n\u00a0SYSTEM a\u00a0\n", "FROM x\nSYSTEM a\n"),
])
def test_a_layout(text: str, wanted: str) -> None:
    assert formatted(Source("Modelfile", text)) == wanted
