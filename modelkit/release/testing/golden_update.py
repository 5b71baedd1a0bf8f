"""Rewrites the exact texts of a golden file with what was answered, and nothing else of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from modelkit.failure import Failure
from modelkit.release.testing.case import Place
from modelkit.release.testing.checks import Outcome
from modelkit.release.testing.golden import GoldenFile, parse_golden
from modelkit.release.testing.report import CaseResult, TestReport
from modelkit.release.testing.yaml_page import Page


def changes(golden: GoldenFile, results: Iterable[CaseResult]) -> dict[Place, str]:
    """The `equals` of this file that failed, by place, with what was answered instead.

    Only those of cases that are asked once, without `not`: what several repetitions say differently is no golden.
    """
    found: dict[Place, str] = {}
    for result in results:
        if len(result.attempts) != 1 or result.attempts[0].error is not None:
            continue
        for one in result.attempts[0].checked:
            check = one.check
            if check.place in golden.spots and check.kind == "equals" and one.outcome.verdict == "fail" and one.answer:
                found[check.place] = one.answer.strip()
    return found


def rewritten(golden: GoldenFile, new: Mapping[Place, str], digest: str | None) -> str:
    """The file's text with these exact texts, and with the `recorded` digest where something changed.

    Raises Failure when the result would not say what it should: then nothing is to be written.
    """
    text = golden.page.text
    edits = [(*golden.spots[place], _quoted(value)) for place, value in new.items()]
    if new and digest is not None:
        start, end = golden.recorded_at
        edits.append((start, end, digest if start != end else f"\nrecorded: {digest}"))
    for start, end, value in sorted(edits, reverse=True):
        before, old = text[:start], text[start:end]
        space = " " if value.startswith('"') and before[-1:] not in (" ", "\n", "\t") else ""
        text = f"{before}{space}{value}{_tail(old)}{text[end:]}"
    _presume_said(golden, text, new)
    return text


def accepted(report: TestReport, new: Mapping[Place, str]) -> TestReport:
    """The report as it is now that those exact texts are what was answered."""
    return replace(report, cases=tuple(
        replace(case, attempts=tuple(
            replace(attempt, checked=tuple(
                replace(one, outcome=Outcome("pass")) if one.check.place in new else one for one in attempt.checked))
            for attempt in case.attempts)) for case in report.cases))


def write(path: Path, text: str) -> None:
    """Put the text in the file's place at once, with its rights."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, "utf-8", newline="")
        temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise Failure("golden-file", f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None


def _tail(old: str) -> str:
    """The line break that ends a block of several lines."""
    return "\n" if old.endswith("\n") else ""


def _quoted(text: str) -> str:
    """A YAML text in double quotes: JSON's, and what YAML would take for a line break is escaped, too."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}"
                   for one in quoted)


def _presume_said(golden: GoldenFile, text: str, new: Mapping[Place, str]) -> None:
    again = _texts(parse_golden(golden.path, Page(golden.page.name, text)))
    before = {place: index for index, place in enumerate(_places(golden))}
    wanted = _texts(golden)
    for place, value in new.items():
        wanted[before[place]] = (value,)
    if again != wanted:
        raise Failure("golden-file", f"{golden.page.name} cannot be rewritten: its texts stand in an unusual way",
                      "write the new answers in by hand")


def _places(golden: GoldenFile) -> list[Place]:
    return [check.place for case in golden.cases for check in case.checks if check.kind == "equals"]


def _texts(golden: GoldenFile) -> list[tuple[str, ...]]:
    return [check.operand["texts"] for case in golden.cases for check in case.checks if check.kind == "equals"]
