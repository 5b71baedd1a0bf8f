"""A comment in a pull request: what it says, and that a stranger's values are never markup."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from modelkit.release.changes import Change
from modelkit.release.ci import MARKER, FileReport, Report, StageReport, Step, file_verdict, markdown, verdict_of
from modelkit.release.ci.markdown import LARGEST, code
from modelkit.release.ci.report import Side

SLY = ["a|b", "`x`", "``", "<b>hi</b>", "@everyone", "](http://x)", "a\nb", "**bold**", "", " ", "\u202eevil", "|`|",
       "<!-- -->", "</details>", "https://x.example", "\\", "\\|"]


def change(before: Any = 1, after: Any = 2, path: str = "num_ctx", **fields: Any) -> Change:
    return Change(resource="engine", path=path, before=before, after=after,
                  **{"effect": "capacity", "reason": "more fits", **fields})


def report(*changes: Change, base: str | None = "main", steps: tuple[Step, ...] = (), **fields: Any) -> Report:
    stage = StageReport(stage="prod", engine="vllm", platform="process", model="m", ir="sha256:1", changes=changes)
    file = FileReport(modelfile="Modelfile", verdict="pass", steps=steps, stages=(stage,), **fields)
    return Report(verdict="pass", base=base, files=(file,))


def rows(text: str) -> list[list[str]]:
    """A table's cells as GitHub splits them: at every pipe without a backslash before it."""
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in text.splitlines() if line.startswith("|")]


def test_it_says_what_changes_and_what_that_means() -> None:
    text = markdown(report(change()))
    assert text.startswith(f"{MARKER}\n### ✅ modelkit ci: pass\n") and "**What changes, against `main`**" in text
    assert ["`prod`", "`num_ctx`", "`1`", "`2`", "capacity: more fits"] in rows(text)


def test_what_is_new_and_what_stays_is_said() -> None:
    assert "No stage would run anything else." in markdown(report())
    new = StageReport(stage="prod", engine="e", platform="p", model="m", ir="i", is_new=True)
    text = markdown(Report(verdict="pass", base="main", files=(
        FileReport(modelfile="M", verdict="pass", steps=(), stages=(new,)),)))
    assert "New: `prod`." in text
    assert "What changes" not in markdown(report(base=None))


def test_the_stages_difference_is_there() -> None:
    text = markdown(report(between=Side(left="dev", right="prod"), difference=(change(effect="breaking"), change())))
    assert "From dev to prod: 1 breaking, 1 capacity" in text
    assert ["`num_ctx`", "`1`", "`2`", "**breaking**: more fits"] in rows(text)


@pytest.mark.parametrize("value", SLY)
def test_no_value_leaves_its_cell_or_is_markup(value: str) -> None:
    step = Step(name="lock", verdict="fail", summary=f"{value} and `{value}`", details=(value,))
    text = markdown(report(change(value, value, path="p"), steps=(step,), between=Side(left="dev", right="prod"),
                           difference=(change(value, value),)))
    assert {len(row) for row in rows(text)} <= {3, 4, 5}
    bare = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    for markup in ("<b>", "@everyone", "https://", "\u202e"):
        assert markup not in bare
    assert re.search(r"(?<!\\)\]\(", bare) is None
    assert bare.count("</details>") == 2 and bare.count("<!--") == 1


@pytest.mark.parametrize("value", SLY)
def test_code_is_one_span_on_one_line(value: str) -> None:
    said = code(value, cell=False)
    fence = re.match("`+", said)
    assert fence is not None and "\n" not in said and said.endswith(fence[0])
    assert fence[0] not in re.findall("`+", said[len(fence[0]):-len(fence[0])])


def test_a_long_comment_is_cut_at_a_line() -> None:
    text = markdown(report(*(change(path=f"setting{at}", reason=html.escape("x" * 90)) for at in range(1000))))
    assert len(text) < LARGEST + 100 and text.endswith("There is more: `modelkit ci` says all of it.\n")
    assert {len(row) for row in rows(text)} == {3, 5}


@pytest.mark.parametrize(("verdicts", "folded"), [
    (("pass", "fail", "error"), "fail"), (("pass", "error"), "error"), (("pass", "skipped"), "pass"),
    (("skipped",), "skipped"), ((), "skipped")])
def test_verdicts_fold(verdicts: Any, folded: str) -> None:
    assert verdict_of(verdicts) == folded
    assert file_verdict(Step(name="lock", verdict=one, summary="") for one in verdicts) == folded
