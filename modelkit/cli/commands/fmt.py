"""`modelkit fmt`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modelkit.cli import inputs
from modelkit.cli.differences import patch
from modelkit.cli.rewriting import rewrite
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.language.diagnostic import Diagnostic
    from modelkit.language.source import Source

Status = Literal["changed", "unchanged", "errors"]


@dataclass(frozen=True)
class Formatted:
    """One file, its bytes and its layout; with errors in it, these are what they were."""

    source: Source
    data: bytes
    text: str
    errors: tuple[Diagnostic, ...] = ()

    @property
    def status(self) -> Status:
        if self.errors:
            return "errors"
        return "unchanged" if self.text == self.source.text else "changed"


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Lay out every file; 1 when one has errors or, with --check or --diff, when one is not laid out yet."""
    look, stdin = arguments.check or arguments.diff, arguments.files == [inputs.STDIN]
    every: list[Formatted] = []
    for path in inputs.inputs(arguments.files, "fmt"):
        one = formatted_file(path)
        if path is not None and one.status == "changed" and not look:
            rewrite(path, one.data)
        _say(one, arguments, terminal)
        every.append(one)
    files = [_as_json(one, with_text=stdin) for one in every]
    terminal.document({"schema": "modelkit.fmt/1", "files": files})
    statuses = [one.status for one in every]
    if not stdin or look or "errors" in statuses:
        terminal.note(_summary(statuses, look=look))
    return 1 if "errors" in statuses or (look and "changed" in statuses) else 0


def formatted_file(path: Path | None) -> Formatted:
    """The file at `path`, or standard input. Raises Failure if it cannot be read, or not be written as it is."""
    from modelkit.language.diagnostic import CompileError, Severity
    from modelkit.language.format import formatted
    from modelkit.language.source import Source, encoded

    data, name = inputs.read(path), inputs.name_of(path)
    source = Source.decode(name, data)
    try:
        text = formatted(source)
    except CompileError as error:
        errors = tuple(d for d in error.diagnostics if d.severity is Severity.ERROR)
        return Formatted(source, data, source.text, errors)
    if (again := encoded(text, data)) is None:
        raise Failure("not-text", f"{name} holds bytes that are no text; it is left as it is",
                      hint="save the file as UTF-8")
    return Formatted(source, again, text)


def _say(one: Formatted, arguments: Namespace, terminal: Terminal) -> None:
    """What there is to say of one file to people; its layout, where it was asked for on stdout."""
    from modelkit.language.excerpt import as_text

    if terminal.as_json:
        return
    for diagnostic in one.errors:
        print(as_text(diagnostic, one.source, colour=terminal.colour) + "\n", file=terminal.stderr)
    if arguments.diff:
        _print(terminal, patch(one.source.name, one.source.text, one.text).encode("utf-8", "replace"))
    elif arguments.check and one.status == "changed":
        terminal.data(one.source.name)
    elif arguments.files == [inputs.STDIN] and not arguments.check:
        _print(terminal, one.data)


def _print(terminal: Terminal, data: bytes) -> None:
    """Bytes as they are: a text's line ends and its encoding are its author's."""
    terminal.stdout.flush()
    terminal.stdout.buffer.write(data)
    terminal.stdout.buffer.flush()


def _as_json(one: Formatted, *, with_text: bool) -> dict[str, Any]:
    from modelkit.language.excerpt import as_json

    said: dict[str, Any] = {"file": one.source.name, "status": one.status}
    if with_text:
        said["text"] = one.text
    return said | {"diagnostics": [as_json(d, one.source) for d in one.errors]}


def _summary(statuses: list[Status], *, look: bool) -> str:
    """`2 files would be formatted, 1 file unchanged`."""
    said: list[tuple[Status, str]] = [
        ("changed", "would be formatted" if look else "formatted"), ("unchanged", "unchanged"),
        ("errors", "with errors, left alone")]
    counts = ((statuses.count(status), words) for status, words in said)
    return ", ".join(f"{count} file{'s' * (count != 1)} {words}" for count, words in counts if count)
