"""Which rules count: ids before families, `--ignore` before `--select`, and errors of the language always."""

from __future__ import annotations

import pytest

from modelkit.failure import Failure
from modelkit.findings.selection import Selection, selection
from modelkit.language.rules import RULES

PARAMETER, EMPTY, MUTABLE, LOCAL = (RULES[name] for name in (
    "unknown-parameter", "empty-value", "mutable-reference", "machine-path"))


@pytest.mark.parametrize(("select", "ignore", "shown"), [
    ([], [], {EMPTY, MUTABLE, LOCAL}),
    (["ollama"], [], {EMPTY}),
    (["empty-value,machine-path"], [], {EMPTY, LOCAL}),
    ([], ["production"], {EMPTY}),
    ([], ["production", " empty-value "], set()),
    (["production"], ["machine-path"], {MUTABLE}),
    (["machine-path"], ["production"], {LOCAL}),
    (["empty-value"], ["empty-value"], set()),
    ([","], [""], {EMPTY, MUTABLE, LOCAL}),
])
def test_what_is_shown(select: list[str], ignore: list[str], shown: set[object]) -> None:
    chosen = selection(select, ignore, RULES)
    assert {rule for rule in (EMPTY, MUTABLE, LOCAL) if chosen.shows(rule)} == shown
    assert chosen.shows(PARAMETER)


def test_an_error_is_shown_and_not_asked_for() -> None:
    chosen = Selection(select=frozenset({"style"}))
    assert chosen.shows(PARAMETER) and not chosen.asked_for(PARAMETER)


@pytest.mark.parametrize(("select", "ignore", "hint"), [
    (["empty-vlaue"], [], "did you mean `empty-value`?"), ([], ["produktion"], "did you mean `production`?"),
    (["E501"], [], "the families are"), ([], ["unknown-parameter"], "mend it"),
])
def test_a_name_that_names_nothing_is_one_error(select: list[str], ignore: list[str], hint: str) -> None:
    with pytest.raises(Failure) as raised:
        selection(select, ignore, RULES)
    assert raised.value.exit_code == 2 and hint in (raised.value.hint or "")


def test_an_error_of_an_engines_version_may_be_ignored() -> None:
    assert not selection([], ["flag-not-in-engine"], RULES).shows(RULES["flag-not-in-engine"])
