from __future__ import annotations

import pytest

from modelkit.language.diagnostic import Diagnostic, Note
from modelkit.language.excerpt import as_json, as_report, as_text, summary
from modelkit.language.rules.ollama import INLINE_COMMENT
from modelkit.language.rules.syntax import STRAY_BRACE
from modelkit.language.source import Source, Span


def said(text: str, marked: str, **more: object) -> tuple[Diagnostic, Source]:
    start = text.index(marked)
    return Diagnostic(STRAY_BRACE, "wrong", Span(start, start + len(marked)), **more), Source("Modelfile", text)  # type: ignore[arg-type]


def marks(text: str, marked: str) -> list[str]:
    """The author's line and the line of carets, after the gutter."""
    diagnostic, source = said(text, marked)
    return [line.split("|", 1)[1][1:] for line in as_text(diagnostic, source).splitlines()[-2:]]


@pytest.mark.parametrize(
    ("text", "marked", "carets"),
    [
        ("FROM x", "x", "     ^"),
        ("\tFROM\tx", "x", "\t    \t^"),
        ("SYSTEM \u8a9e\u8a9e x", "x", "            ^"),
        ("SYSTEM \u8a9e", "\u8a9e", "       ^^"),
        ("SYSTEM e\u0301 x", "x", "         ^"),
        ("SYSTEM \U0001f469 x", "x", "          ^"),
        ("SYSTEM \u200b", "\u200b", "       ^"),
        ("SYSTEM a\nb c", "a\nb", "       ^"),
        ("SYSTEM abc\r\nb", "bc\r\n", "        ^^"),
        ("FROM x\n", "\n", "      ^"),
        ("a\tb", "a\tb", "^\t^"),
    ],
)
def test_carets_stand_under_what_is_meant(text: str, marked: str, carets: str) -> None:
    line, under = marks(text, marked)
    assert line == text.splitlines()[0]
    assert under == carets


def test_a_control_character_cannot_reach_the_terminal() -> None:
    line, under = marks("SYSTEM \x1b[2J\u202e x", "x")
    assert line == "SYSTEM \ufffd[2J\ufffd x"
    assert under == "             ^"


def test_a_very_long_line_is_cut_around_the_place() -> None:
    line, under = marks("a" * 5000 + "!" + "b" * 5000, "!")
    assert len(line) < 250 and line[0] == line[-1] == "…"
    assert line[under.index("^")] == "!"


def test_a_second_place_and_a_remark() -> None:
    notes = (Note("set here", Span(0, 4)), Note("and that is all"))
    diagnostic, source = said("FROM x\n" * 9 + "FROM y", "y", hint="remove one", notes=notes)
    assert as_text(diagnostic, source) == (
        "error[stray-brace]: wrong\n"
        "   --> Modelfile:10:6\n"
        "    |\n"
        " 10 | FROM y\n"
        "    |      ^\n"
        "   ::: Modelfile:1:1\n"
        "    |\n"
        "  1 | FROM x\n"
        "    | ---- set here\n"
        "   = note: and that is all\n"
        "   = hint: remove one"
    )


def test_colour_only_when_asked() -> None:
    diagnostic, source = said("FROM x", "x", hint="h")
    plain, coloured = as_text(diagnostic, source), as_text(diagnostic, source, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[1;31merror[stray-brace]\x1b[0m" in coloured


def test_json_counts_lines_from_one_and_offsets_from_zero() -> None:
    diagnostic, source = said("FROM x\r\n}", "}", notes=(Note("a", Span(0, 4)), Note("b")))
    first = {"start": {"line": 1, "column": 1, "offset": 0}, "end": {"line": 1, "column": 5, "offset": 4}}
    assert as_json(diagnostic, source) == {
        "rule": "stray-brace",
        "severity": "error",
        "message": "wrong",
        "hint": None,
        "file": "Modelfile",
        "start": {"line": 2, "column": 1, "offset": 8},
        "end": {"line": 2, "column": 2, "offset": 9},
        "notes": [
            {"message": "a", **first},
            {"message": "b"},
        ],
        "fix": None,
    }


def test_a_count_at_the_end() -> None:
    diagnostic, source = said("FROM x", "x")
    warning = Diagnostic(INLINE_COMMENT, "odd", Span(0, 1))
    assert summary([]) == "no problems"
    assert summary([diagnostic]) == "1 error"
    assert summary([warning, diagnostic, diagnostic]) == "2 errors, 1 warning"
    assert as_report([diagnostic, warning], source).endswith("\n\n1 error, 1 warning")
