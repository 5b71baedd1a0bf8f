"""What `check` says of the files that it looked at, to people or to another program."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelkit.cli.terminal import Terminal

if TYPE_CHECKING:
    from modelkit.findings.examine import Examined
    from modelkit.findings.fixing import Fixed
    from modelkit.language.diagnostic import Diagnostic, Severity


@dataclass(frozen=True)
class Checked:
    """One file: what is said of it, and what was mended."""

    shown: Examined
    fixed: Fixed | None = None
    changed: bool = False


def put(terminal: Terminal, text: str | bytes) -> None:
    """On stdout in UTF-8, whatever the locale, with its line ends as they are."""
    terminal.stdout.flush()
    terminal.stdout.buffer.write(text.encode("utf-8", "replace") if isinstance(text, str) else text)
    terminal.stdout.buffer.flush()


def _full(checked: Sequence[Checked], fails: Severity, terminal: Terminal) -> None:
    """For people, on stderr: each finding with its line and carets, and what was mended."""
    from modelkit.language.excerpt import as_text

    for one in checked:
        for made in one.fixed.made if one.fixed else ():
            assert made.fix is not None, "only a finding with a fix is mended"
            terminal.note(f"mended in {one.shown.source.name}: {made.message} [{made.rule.id}]: {made.fix.title}")
        for found in one.shown.found:
            print(as_text(found, one.shown.source, colour=terminal.colour) + "\n", file=terminal.stderr)


def _json(checked: Sequence[Checked], fails: Severity, terminal: Terminal) -> None:
    from modelkit.language.excerpt import as_json

    terminal.document({
        "schema": "modelkit.check/1", "files": [one.shown.source.name for one in checked],
        "diagnostics": [as_json(found, one.shown.source) for one in checked for found in one.shown.found],
        "ignored": [as_json(left.diagnostic, one.shown.source) | {"reason": left.reason}
                    for one in checked for left in one.shown.ignored],
        "fixed": [{"file": one.shown.source.name, "rule": made.rule.id, "message": made.message,
                   "title": made.fix.title if made.fix else None}
                  for one in checked if one.fixed for made in one.fixed.made]})


def _concise(checked: Sequence[Checked], fails: Severity, terminal: Terminal) -> None:
    from modelkit.language.excerpt import as_line

    put(terminal, "".join(f"{as_line(found, one.shown.source)}\n" for one in checked for found in one.shown.found))


def _github(checked: Sequence[Checked], fails: Severity, terminal: Terminal) -> None:
    from modelkit.findings.github import github

    put(terminal, github([one.shown for one in checked]))


def _sarif(checked: Sequence[Checked], fails: Severity, terminal: Terminal) -> None:
    from modelkit.findings.sarif import sarif

    put(terminal, json.dumps(sarif([one.shown for one in checked]), indent=2, ensure_ascii=False) + "\n")


def _junit(checked: Sequence[Checked], fails: Severity, terminal: Terminal) -> None:
    from modelkit.findings.junit import junit

    put(terminal, junit([one.shown for one in checked], fails))


_Say = Callable[[Sequence[Checked], "Severity", Terminal], None]
FORMATS: dict[str, _Say] = {"full": _full, "concise": _concise, "json": _json, "github": _github, "sarif": _sarif,
                             "junit": _junit}


def summary(checked: Sequence[Checked], arguments: Namespace) -> str:
    """`2 files checked: 1 error, 3 warnings; 2 can be mended with --fix`."""
    from modelkit.language.excerpt import summary as severities

    found: list[Diagnostic] = [found for one in checked for found in one.shown.found]
    parts = [f"{_count(len(checked), 'file')} checked" + (f": {severities(found)}" if found else ", nothing to say")]
    if ignored := sum(len(one.shown.ignored) for one in checked):
        parts.append(f"{ignored} left out by comments")
    mended = sum(len(one.fixed.made) for one in checked if one.fixed)
    refused = sum(len(one.fixed.refused) for one in checked if one.fixed)
    if arguments.fix or arguments.diff:
        parts.append(f"{mended} {'would be ' if arguments.diff else ''}mended")
        parts += [f"{refused} not mended: it would make more errors"] if refused else []
    safe = sum(one.fix is not None and one.fix.safe for one in found)
    guesses = sum(one.fix is not None and not one.fix.safe for one in found)
    if safe and not arguments.fix and not arguments.diff:
        parts.append(f"--fix mends {safe}")
    if guesses and not arguments.unsafe_fixes:
        parts.append(f"--fix --unsafe-fixes guesses {'at ' if safe else ''}{guesses}{' more' if safe else ''}")
    return "; ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
