from __future__ import annotations

import re

import pytest

from modelkit.language.diagnostic import CompileError, Report, Severity, did_you_mean, in_file_order
from modelkit.language.lexer import WORDS
from modelkit.language.rules import RULES
from modelkit.language.rules.ollama import INLINE_COMMENT
from modelkit.language.rules.syntax import STRAY_BRACE
from modelkit.language.source import Source, Span


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("SYTEM", "SYSTEM"), ("sytem", "SYSTEM"), ("SYSTME", "SYSTEM"), ("PARAMTER", "PARAMETER"),
        ("PARAMETERS", "PARAMETER"),
        ("FORM", "FROM"), ("QUANTISE", "QUANTIZE"), ("MESAGE", "MESSAGE"), ("TEMPLATE_FILE", "TEMPLATEFILE"),
        ("EXPORT", None), ("EMBED", None), ("RUN", None), ("The", None), ("", None), ("x" * 5000, None),
    ],
)  # fmt: skip
def test_did_you_mean_only_when_fairly_sure(word: str, meant: str | None) -> None:
    assert did_you_mean(word, WORDS) == meant


def test_two_words_as_near_are_none() -> None:
    assert did_you_mean("top_x", ["top_k", "top_p"]) is None
    assert did_you_mean("num-ctx", ["num_ctx", "num_gpu"]) == "num_ctx"
    assert did_you_mean("temp", ["temperature", "top_p"]) == "temperature"


def test_a_report_goes_on_and_raises_once() -> None:
    source, report = Source("Modelfile", "FROM x\n}\n"), Report()
    report.add(INLINE_COMMENT, "a remark", Span(5, 6))
    report.raise_if_errors(source)
    report.add(STRAY_BRACE, "this `}` closes nothing", Span(7, 8))
    with pytest.raises(CompileError) as caught:
        report.raise_if_errors(source)
    assert str(caught.value) == "Modelfile:2:1: this `}` closes nothing [stray-brace]"
    assert [d.message for d in caught.value.diagnostics] == ["a remark", "this `}` closes nothing"]


def test_file_order_puts_the_graver_first_at_one_place() -> None:
    report = Report()
    report.add(INLINE_COMMENT, "b", Span(7, 8))
    report.add(STRAY_BRACE, "a", Span(7, 9))
    report.add(INLINE_COMMENT, "c", Span(0, 1))
    assert [d.message for d in in_file_order(report.found)] == ["c", "a", "b"]


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_rule_has_a_slug_and_prose(rule: object) -> None:
    row = RULES[rule.id]  # type: ignore[attr-defined]
    assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", row.id)
    assert isinstance(row.severity, Severity)
    for prose in (row.summary, row.why, row.help):
        assert prose.strip() == prose and prose.endswith((".", "?", "`"))
        assert prose[0].isupper() or not prose[0].isalpha()
