"""Fixing a file: until nothing is left, never with more errors, and a safe fix changes no meaning."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelkit.findings.examine import examine
from modelkit.findings.fixing import fixed
from modelkit.language.diagnostic import Diagnostic, Edit, Fix
from modelkit.language.examples import EXAMPLES
from modelkit.language.rules.style import LOWER_CASE_INSTRUCTION
from modelkit.language.source import Source, Span
from tests.unit.findings.meaning import meant
from tests.unit.language.drawn import Drawer

CASES = sorted((Path(__file__).parents[2] / "golden/errors").glob("*.modelfile"))
TEXTS = {**{f"example {rule}": example.bad for rule, example in EXAMPLES.items()},
         **{path.stem: Source.read(path).text for path in CASES}}


def holds(text: str) -> None:
    """The laws of fixing, for one text."""
    before = examine(Source("Modelfile", text))
    for unsafe in (False, True):
        after = fixed(before.source, unsafe=unsafe, examined=before)
        assert after.examined.errors <= before.errors
        assert all(one.fix and (unsafe or one.fix.safe) for one in after.made)
        assert bool(after.made) == (after.text != text)
        assert fixed(Source("Modelfile", after.text), unsafe=unsafe).made == ()
        if not unsafe and before.modelfile is not None:
            assert after.examined.modelfile is not None
            assert meant(after.examined.modelfile) == meant(before.modelfile)


@pytest.mark.parametrize("name", TEXTS)
def test_the_laws_hold_for_every_example(name: str) -> None:
    holds(TEXTS[name])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.sampled_from(["good", "words", "mutated", "pieces", "ollama"]))
def test_the_laws_hold_for_what_is_drawn(random: Random, kind: str) -> None:
    holds(getattr(Drawer(random), kind)())


@pytest.mark.parametrize("rule", EXAMPLES)
def test_an_examples_fix_mends_it(rule: str) -> None:
    before = examine(Source("Modelfile", EXAMPLES[rule].bad))
    if any(one.rule.id == rule and one.fix for one in before.found):
        after = fixed(before.source, unsafe=True, wanted=lambda one: one.rule.id == rule)
        assert rule not in {one.rule.id for one in after.examined.found}


def test_one_fix_may_uncover_another() -> None:
    text = 'FROM llama3.2:3b\nLICENSE ""\nPARAMETER: Top_K=4\nSTAGE prod { # mine\n} # end\n'
    after = fixed(Source("Modelfile", text))
    assert after.text == "FROM llama3.2:3b\nPARAMETER top_k 4\n# mine\nSTAGE prod {\n}\n# end\n"


def test_a_fix_that_would_make_more_errors_is_not_made_and_the_others_are() -> None:
    """Once the quote is closed, what it had taken in is read: three more errors."""
    text = 'FROM llama3.2:3b\nPARAMETER Top_K 4\nSYSTEM "taken\nNAME a b\nENGINE x\nPLATFORM y\nLICENSE "in"\n'
    after = fixed(Source("Modelfile", text), unsafe=True)
    assert after.text == text.replace("Top_K", "top_k")
    assert [one.rule.id for one in after.refused] == ["quote-swallows-instruction"]


def test_only_what_is_wanted_is_mended() -> None:
    text = 'from llama3.2:3b\nSYSTEM ""\n'
    after = fixed(Source("Modelfile", text), wanted=lambda one: one.rule.family == "ollama")
    assert after.text == "from llama3.2:3b\n"


def test_fixes_that_undo_each_other_end() -> None:
    """A rule that is wrong about itself must not hang anybody."""
    source = Source("Modelfile", "FROM llama3.2:3b\n# a\n")

    def swapped(now: Source) -> list[Diagnostic]:
        at = now.text.index("#") + 2
        edit = Edit(Span(at, at + 1), "b" if now.text[at] == "a" else "a")
        return [Diagnostic(LOWER_CASE_INSTRUCTION, "swap", Span(at, at + 1), fix=Fix("swap", (edit,)))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modelkit.findings.examine.compile_source", lambda now, _: (None, swapped(now)))
        assert fixed(source).text in ("FROM llama3.2:3b\n# b\n", source.text)
