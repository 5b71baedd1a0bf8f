"""Comments that leave findings out, and what is said of such comments."""

from __future__ import annotations

import pytest

from modelkit.language.check import compile_source
from modelkit.language.diagnostic import Diagnostic, Rule, Severity
from modelkit.language.rules import RULES
from modelkit.language.source import Source, Span
from modelkit.language.suppressions import suppress

FROM = "FROM llama3.2:3b\n"


def left(text: str) -> list[str]:
    source = Source("Modelfile", text)
    return [one.rule.id for one in suppress(source, compile_source(source)[1])[0]]


def reasons(text: str) -> list[tuple[str, str]]:
    source = Source("Modelfile", text)
    return [(one.diagnostic.rule.id, one.reason) for one in suppress(source, compile_source(source)[1])[1]]


@pytest.mark.parametrize("comment", [
    "# modelkit: ignore[empty-value] the base's", "#modelkit:ignore[empty-value] the base's",
    "## ModelKit: Ignore[ Empty-Value ,] the base's", "  # modelkit: ignore [inline-comment, empty-value]: the base's",
    "# modelkit: ignore[empty-value] - the base's", "# modelkit: ignore-file[empty-value] the base's",
])
def test_a_comment_leaves_out_what_it_names(comment: str) -> None:
    text = f'{FROM}{comment}\nSYSTEM ""\n'
    assert "empty-value" not in left(text)
    assert reasons(text) == [("empty-value", "the base's")]


@pytest.mark.parametrize(("text", "kept"), [
    ('# modelkit: ignore[empty-value] a\n\n# prose\nSYSTEM ""\n', False),
    ('# modelkit: ignore[empty-value] a\nSYSTEM x\nSYSTEM ""\n', True),
    ('# modelkit: ignore[empty-value] a\nSTAGE dev {\n  SERVE port 9000\n  SYSTEM ""\n}\n', False),
    ('STAGE dev {\n  # modelkit: ignore[empty-value] a\n  SYSTEM ""\n}\n', False),
    ('STAGE dev {\n  SERVE port 9000\n  # modelkit: ignore[empty-value] a\n}\nSYSTEM ""\n', True),
    ('SYSTEM ""\n# modelkit: ignore[empty-value] a\n', True),
    ('SYSTEM ""\n# modelkit: ignore-file[empty-value] a\n', False),
    ('SYSTEM "# modelkit: ignore-file[empty-value] a"\nLICENSE ""\n', True),
])
def test_it_is_about_the_next_instruction_or_block(text: str, kept: bool) -> None:
    assert ("empty-value" in left(FROM + text)) is kept


def test_a_text_of_several_lines_is_one_instruction() -> None:
    text = f'{FROM}# modelkit: ignore[deleted-characters] it is so\nSYSTEM """a\nb\u200bc\n"""\n'
    assert reasons(text) == [("deleted-characters", "it is so")]


def test_what_stands_in_a_comment_below_is_left_out_too() -> None:
    token = "hf_" + "a1" * 17
    text = f"{FROM}# modelkit: ignore[possible-secret] an example\n# {token}\nSYSTEM hi\n"
    assert "possible-secret" not in left(text) and "possible-secret" in left(text.replace("ignore[", "prose["))


def test_an_error_stays() -> None:
    text = f"{FROM}# modelkit: ignore[unknown-parameter] please\nPARAMETER temprature 1\n"
    assert left(text) == ["bad-ignore", "unknown-parameter"]


def test_nothing_is_called_unused_in_a_file_with_errors() -> None:
    assert left(f"{FROM}# modelkit: ignore[not-yet] later\nSYSTEM hi\nNONSENSE\n") == ["unknown-instruction"]


def test_prose_that_speaks_of_modelkit_is_prose() -> None:
    assert left(f"{FROM}# modelkit: the best\n# see modelkit: ignore\n# modelkit:\nSYSTEM hi\n") == []


def test_two_comments_may_leave_out_the_same() -> None:
    text = f'{FROM}# modelkit: ignore-file[empty-value] all\n# modelkit: ignore[empty-value] this\nSYSTEM ""\n'
    assert left(text) == [] and reasons(text) == [("empty-value", "this")]


ELSEWHERE = Rule("flag-unknown", Severity.ERROR, "s", "w", "h", "production")


def test_an_error_of_another_room_can_be_left_out() -> None:
    source = Source("Modelfile", f"{FROM}# modelkit: ignore[flag-unknown] our own build has it\nFLAG --ours\n")
    at = source.text.index("--ours")
    found = [Diagnostic(ELSEWHERE, "no", Span(at, at + 6))]
    kept, ignored = suppress(source, found, known={**RULES, "flag-unknown": ELSEWHERE})
    assert kept == [] and len(ignored) == 1


def test_what_needs_the_models_files_is_not_unused_where_they_are_not() -> None:
    rule = next(rule for rule in RULES.values() if rule.family == "model")
    assert left(f"{FROM}# modelkit: ignore[{rule.id}] it was looked at\nSYSTEM hi\n") == []


def test_a_rule_that_nobody_looked_for_is_not_unused() -> None:
    source = Source("Modelfile", f"{FROM}# modelkit: ignore[flag-unknown] our own build has it\nFLAG --ours\n")
    known = {**RULES, "flag-unknown": ELSEWHERE}
    assert suppress(source, [], known=known, judged=RULES)[0] == []
    assert [one.rule.id for one in suppress(source, [], known=known)[0]] == ["unused-ignore"]
