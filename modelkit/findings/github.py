"""Findings as the workflow commands of GitHub Actions, which shows them beside the lines they are about."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

from modelkit.findings.examine import Examined
from modelkit.language.diagnostic import Severity

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_TEXT = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def github(files: Iterable[Examined]) -> str:
    """`::error file=…,line=…::message`, one to a line."""
    return "".join(f"{line}\n" for one in files for line in _lines(one))


def _lines(examined: Examined) -> Iterable[str]:
    source = examined.source
    for one in examined.found:
        (line, column), (last, end) = source.line_column(one.span.start), source.line_column(one.span.end)
        place = {"file": PurePath(source.name).as_posix(), "line": line, "endLine": last, "col": column}
        if last == line:  # it refuses columns of a finding that goes over several lines
            place["endColumn"] = max(end, column)
        else:
            del place["col"]
        said = ",".join(f"{name}={str(value).translate(_PROPERTY)}"
                        for name, value in {**place, "title": f"modelkit {one.rule.id}"}.items())
        text = one.message + (f"\n{one.hint}" if one.hint else "")
        yield f"::{_COMMANDS[one.severity]} {said}::{text.translate(_TEXT)}"
