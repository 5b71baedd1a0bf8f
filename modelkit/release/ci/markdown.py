"""The report as GitHub's Markdown. Every value may come from a stranger's pull request: none of it is markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from modelkit.release.changes import Change
from modelkit.release.ci.report import FileReport, Report
from modelkit.release.verdict import Verdict

MARKER = "<!-- modelkit-ci -->"
"""The first line: what finds the comment again."""

LARGEST = 60_000
"""Characters; GitHub takes 65,536 in a comment."""

_SIGNS: dict[Verdict, str] = {"pass": "✅", "fail": "❌", "error": "⚠️", "inconclusive": "❔", "skipped": "➖"}
_EFFECTS = {"breaking": "**breaking**", "capacity": "capacity", "quality": "quality", "safe": "safe"}


def markdown(report: Report) -> str:
    """A heading with the verdict, and for each file its steps, what changed in its stages, and how they differ."""
    lines = [MARKER, f"### {_SIGNS[report.verdict]} modelkit ci: {report.verdict}", ""]
    for one in report.files:
        lines += [f"#### {code(one.modelfile, cell=False)}", "",
                  *_steps(one), *_changed(one, report.base), *_between(one)]
    text = "\n".join(lines).rstrip() + "\n"
    if len(text) <= LARGEST:
        return text
    whole = text[:LARGEST].rpartition("\n")[0]  # a cut row would be no row
    return f"{whole}\n\nThere is more: `modelkit ci` says all of it.\n"


def code(value: object, most: int = 80, *, cell: bool = True) -> str:
    """A value as code on one line, in a `cell` of a table or elsewhere."""
    text = _line("nothing" if value is None else str(value))
    text = text if len(text) <= most else text[:most - 3] + "..."
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text else ""
    # GitHub splits a table's cells before it reads code, and takes one backslash from `\\|` there.
    shown = text.replace("|", "\\|") if cell else text
    return f"{fence}{pad}{shown}{pad}{fence}"


def _steps(one: FileReport) -> Iterator[str]:
    yield "| | step | |"
    yield "|---|---|---|"
    for step in one.steps:
        yield f"| {_SIGNS[step.verdict]} | {step.name} | {_plain(step.summary)} |"
    yield ""
    for step in one.steps:
        if step.details:
            yield f"<details{' open' if step.verdict in ('fail', 'error') else ''}><summary>{step.name}: " \
                  f"{len(step.details)}</summary>"
            yield ""
            yield from (f"- {code(line, 400, cell=False)}" for line in step.details)
            yield ""
            yield "</details>"
            yield ""


def _changed(one: FileReport, base: str | None) -> Iterator[str]:
    if base is None or not one.stages:
        return
    yield f"**What changes, against {code(base, cell=False)}**"
    yield ""
    rows = [(stage.stage, change) for stage in one.stages for change in stage.changes or ()]
    new = [stage.stage for stage in one.stages if stage.is_new]
    if new:
        yield f"New: {', '.join(code(one, cell=False) for one in new)}."
        yield ""
    if rows:
        yield "| stage | | before | now | |"
        yield "|---|---|---|---|---|"
        yield from (f"| {code(stage)} {_row(change)}" for stage, change in rows)
    elif not new:
        yield "No stage would run anything else."
    yield ""


def _between(one: FileReport) -> Iterator[str]:
    if one.between is None:
        return
    left, right = one.between.left, one.between.right
    yield f"<details><summary>From {_plain(left)} to {_plain(right)}: {_counts(one.difference)}</summary>"
    yield ""
    if one.difference:
        yield f"| | {_plain(left)} | {_plain(right)} | |"
        yield "|---|---|---|---|"
        yield from (_row(change) for change in one.difference)
        yield ""
    yield "</details>"
    yield ""


def _row(change: Change) -> str:
    return (f"| {code(change.path)} | {code(change.before)} | {code(change.after)} | "
            f"{_EFFECTS[change.effect]}: {_plain(change.reason)} |")


def _counts(changes: Iterable[Change]) -> str:
    found = list(changes)
    counts = ((effect, sum(one.effect == effect for one in found)) for effect in _EFFECTS)
    return ", ".join(f"{count} {effect}" for effect, count in counts if count) or "no difference"


def _plain(text: str) -> str:
    """A sentence with values in it: what stands between backticks is code, and nothing else is markup."""
    parts = re.split(r"`([^`]*)`", _line(text))
    return "".join(code(part) if at % 2 else _escaped(part) for at, part in enumerate(parts))


def _escaped(text: str) -> str:
    marked = re.sub(r"([\\`*_{}\[\]#+!|~$])", r"\\\1", text)
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;").replace(
        "://", ":&#47;&#47;")


def _line(text: str) -> str:
    """On one line, and without characters that steer a terminal or turn the direction of what follows."""
    return re.sub(r"[\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]", "�", " ".join(text.split()))
