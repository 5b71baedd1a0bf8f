"""What the command line says: data on stdout, everything for people on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from modelkit.failure import Failure

if TYPE_CHECKING:
    from tqdm import tqdm


class Terminal:
    """Prints for one command. With `as_json`, stdout is exactly one JSON document (or JSON lines for streams)."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False,
                 stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.stdout, self.stderr = stdout or sys.stdout, stderr or sys.stderr

    @property
    def colour(self) -> bool:
        """Colour on stderr: on a terminal that wants it."""
        return self.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @property
    def width(self) -> int:
        """Columns of stdout; 120 where it is no terminal."""
        return shutil.get_terminal_size((120, 24)).columns if self.stdout.isatty() else 120

    def data(self, text: str) -> None:
        """A line of the result; not printed with --json."""
        if not self.as_json:
            print(text, file=self.stdout, flush=True)

    def document(self, value: Any) -> None:
        """The result as JSON; only printed with --json."""
        if self.as_json:
            print(self._json(value, indent=2), file=self.stdout, flush=True)

    def line(self, value: Any) -> None:
        """One JSON line of a stream, whatever the mode."""
        print(self._json(value), file=self.stdout, flush=True)

    def _json(self, value: Any, indent: int | None = None) -> str:
        """In characters where stdout can say them all (a file's name may be no text at all), else in escapes."""
        text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
        try:
            text.encode(getattr(self.stdout, "encoding", None) or "utf-8")
        except UnicodeEncodeError:
            return json.dumps(value, indent=indent, default=str)
        return text

    def note(self, text: str) -> None:
        """A line for people."""
        if not self.quiet:
            print(text, file=self.stderr, flush=True)

    def failure(self, failure: Failure) -> None:
        """One error: what, the detail verbatim, what to do next."""
        head = f"error[{failure.code}]"
        print(f"{self._paint(head, '1;31')}: {failure.message}", file=self.stderr)
        for line in failure.detail:
            print(f"  | {line}", file=self.stderr)
        if failure.hint:
            print(f"  = hint: {failure.hint}", file=self.stderr, flush=True)
        self.document({"error": failure.as_json()})

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Left-aligned columns, four blanks between, no borders."""
        for line in table_lines(header, rows):
            self.data(line)

    def progress(self, unit: str = "B") -> Progress:
        """A bar that counts bytes, or what `unit` says."""
        return Progress(self, unit)


def table_lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table as lines of text."""
    cells = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    return ["    ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def amount(size: int) -> str:
    """Bytes for people: `98.4 MB`."""
    value, units = float(size), ("B", "kB", "MB", "GB", "TB")
    for unit in units:
        if value < 1000 or unit == units[-1]:
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


class Progress:
    """A progress bar on a terminal, one line per step elsewhere. Call it with (done, total, label); close it."""

    def __init__(self, terminal: Terminal, unit: str = "B") -> None:
        self._terminal, self._unit = terminal, unit
        self._label = ""
        self._bar: tqdm[Any] | None = None
        self._lively = terminal.stderr.isatty() and not terminal.quiet

    def __call__(self, done: int, total: int | None, label: str) -> None:
        if label != self._label:
            self.close()
            self._label = label
            if not self._lively:
                self._terminal.note(label)
        if not self._lively:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=label, unit=self._unit, unit_scale=self._unit == "B", leave=False,
                             file=self._terminal.stderr, dynamic_ncols=True)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._label = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.close()
