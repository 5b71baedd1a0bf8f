"""`modelkit check`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli import inputs, project
from modelkit.cli.findings import FORMATS, Checked, put, summary
from modelkit.cli.rewriting import rewrite
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.findings.examine import Examined
    from modelkit.findings.fixing import Fixed
    from modelkit.findings.selection import Selection


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Say what is found in every file, or mend it first; 1 when something is left that fails the run."""
    from modelkit.findings.selection import selection
    from modelkit.language.diagnostic import Severity
    from modelkit.language.rules import RULES

    paths = inputs.inputs(arguments.files, "check")
    form = _form(arguments, to_stdout=paths == [None])
    terminal.as_json = form == "json"
    chosen, fails = selection(arguments.select, arguments.ignore, RULES), Severity(arguments.fail_on)
    checked = [_check(path, arguments, chosen, terminal) for path in paths]
    if not arguments.diff:
        FORMATS[form](checked, fails, terminal)
    terminal.note(summary(checked, arguments))
    gravity = list(Severity)
    bad = any(gravity.index(found.severity) <= gravity.index(fails) for one in checked for found in one.shown.found)
    return 1 if bad or (arguments.diff and any(one.changed for one in checked)) else 0


def _form(arguments: Namespace, *, to_stdout: bool) -> str:
    form = "json" if arguments.json else arguments.format
    if arguments.diff and form != "full":
        raise Failure("usage", "--diff prints a patch, in no other format")
    if arguments.fix and to_stdout and form != "full" and not arguments.diff:
        raise Failure("usage", "the mended text of standard input goes to stdout, and so would this format",
                      "leave out --format, or --fix")
    return str(form)


def _check(path: Path | None, arguments: Namespace, chosen: Selection, terminal: Terminal) -> Checked:
    from modelkit.findings.examine import examine
    from modelkit.language.outside import Outside, outside_of
    from modelkit.language.source import Source

    data, name = inputs.read(path), inputs.name_of(path)
    source = Source.decode(name, data)
    given = project.given(arguments, source)
    outside = Outside(given) if path is None else outside_of(path, given)
    examined, fixed, changed = examine(source, outside), None, False
    if arguments.fix or arguments.diff:
        fixed = _fix(examined, arguments, chosen)
        if _put(path, data, fixed.text, arguments, terminal):
            examined, changed = fixed.examined, fixed.text != examined.source.text
        else:
            fixed = None
    return Checked(replace(examined, found=tuple(chosen.of(examined.found))), fixed, changed)


def _fix(examined: Examined, arguments: Namespace, chosen: Selection) -> Fixed:
    from modelkit.findings.fixing import fixed

    return fixed(examined.source, unsafe=arguments.unsafe_fixes, wanted=lambda one: chosen.asked_for(one.rule),
                 examined=examined)


def _put(path: Path | None, data: bytes, text: str, arguments: Namespace, terminal: Terminal) -> bool:
    """Writes a mended text, or shows what would be written; whether the file could hold it."""
    from modelkit.language.source import Source, encoded

    before, written = Source.decode(inputs.name_of(path), data), encoded(text, data)
    if arguments.diff:
        from modelkit.cli.differences import patch

        put(terminal, patch(before.name, before.text, text if written is not None else before.text))
    elif path is None:
        put(terminal, data if written is None else written)
    elif written is not None and written != data:
        rewrite(path, written)
    if written is None and text != before.text:
        terminal.note(f"{before.name} holds bytes that are no text; it is left as it is")
    return written is not None
