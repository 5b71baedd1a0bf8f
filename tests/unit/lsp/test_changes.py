"""What the server changes in a file: as little as does it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from lsprotocol import types

from modelkit.language.source import Span
from modelkit.lsp import changes
from modelkit.lsp.analysis import Analysis
from tests.unit.lsp.texts import SUPPORT, analysed, marked


def edited(analysis: Analysis, edits: list[types.TextEdit]) -> str:
    """The text with all edits made at once, as a client makes them."""
    text = analysis.source.text
    spans = sorted(((analysis.places.span(one.range), one.new_text) for one in edits), reverse=True)
    assert all(before.end <= span.start for (span, _), (before, _) in pairwise(spans)), "edits overlap"
    for span, new in spans:
        text = text[: span.start] + new + text[span.end :]
    return text


def of(edit: types.WorkspaceEdit | None) -> list[types.TextEdit]:
    assert edit is not None and edit.changes is not None
    return [one for edits in edit.changes.values() for one in edits if isinstance(one, types.TextEdit)]


@pytest.mark.parametrize("new", [
    "", "FROM y\n", SUPPORT, SUPPORT.replace("kind", "👩‍🚀"), SUPPORT + "NAME b", SUPPORT.replace("\n", "\r\n"),
    "\n".join(reversed(SUPPORT.split("\n"))),
])
def test_a_text_becomes_another(new: str) -> None:
    for old in (SUPPORT, "", "FROM y", "FROM 👋\r\nNAME x\rNAME z"):
        analysis = analysed(old)
        assert edited(analysis, changes.between(analysis, new)) == new


def test_lines_that_stay_are_not_touched() -> None:
    (edit,) = changes.between(analysed(SUPPORT), SUPPORT.replace("8585", "8586"))
    assert (edit.range, edit.new_text) == (types.Range(types.Position(15, 0), types.Position(16, 0)),
                                           "  SERVE port 8586\n")


def test_formatting_is_fmts() -> None:
    from modelkit.language.format import formatted

    analysis = analysed("from   x\n\n\n\nstage prod {\nserve port 1\n}\n")
    assert edited(analysis, changes.formatting(analysis)) == formatted(analysis.source)


def test_a_file_with_errors_is_not_formatted() -> None:
    assert changes.formatting(analysed("FROM x\nNONSENSE y\nstage prod {\nserve port 1\n}\n")) == []


def test_a_new_name_stands_everywhere() -> None:
    analysis, offset = marked(SUPPORT.replace("STAGE prod", "STAGE pr¦od"))
    text = edited(analysis, of(changes.renamed(analysis, "file:///m", offset, "dev")))
    assert text == SUPPORT.replace("STAGE prod", "STAGE dev").replace("EXTENDS prod", "EXTENDS dev")


def test_a_finding_can_be_left_out_with_a_comment() -> None:
    analysis, offset = marked("FROM x:1\nSTAGE prod {\r\n  PARAMETER mirostat¦ 1\r\n}\r\n")
    found = changes.actions(analysis, "file:///m", Span(offset, offset), None)
    (leave,) = [one for one in found if "Leave" in one.title]
    text = edited(analysis, of(leave.edit))
    assert "\r\n  # modelkit: ignore[deprecated-parameter]\r\n  PARAMETER" in text
    left = {one.rule.id for one in analysed(text).findings}
    assert "deprecated-parameter" not in left and "ignore-without-reason" in left


@pytest.mark.parametrize("text", [
    "FROM x:1\nPARAMETER ¦nonsense 1",  # an error stays
    'FROM x:1\nSYSTEM """a\nzero\u200dwidth ¦"""',  # a comment in there would be part of the text
])
def test_what_cannot_be_left_out(text: str) -> None:
    analysis, offset = marked(text)
    found = changes.actions(analysis, "file:///m", Span(offset, offset), None)
    assert not [one.title for one in found if "Leave" in one.title]


def test_only_what_was_asked_for() -> None:
    analysis = analysed("# modelkit: ignore[deprecated-parameter] as it was\nFROM x:1\n")
    everything = Span(0, len(analysis.source.text))

    def kinds(*only: str) -> set[str | None]:
        return {one.kind for one in changes.actions(analysis, "file:///m", everything, only or None)}

    assert kinds() == {"quickfix", changes.FIX_ALL}
    assert kinds("quickfix") == {"quickfix"}
    assert kinds("source") == kinds("source.fixAll") == kinds(changes.FIX_ALL) == {changes.FIX_ALL}
    assert kinds("refactor") == set()


def test_fixing_everything_leaves_nothing_to_fix() -> None:
    analysis = analysed("# modelkit: ignore[deprecated-parameter] as it was\nFROM x:1\n")
    (fix,) = changes.actions(analysis, "file:///m", Span(0, 0), [changes.FIX_ALL])
    assert edited(analysis, of(fix.edit)) == "FROM x:1\n"
    assert changes.actions(analysed("FROM x:1\n"), "file:///m", Span(0, 0), [changes.FIX_ALL]) == []
