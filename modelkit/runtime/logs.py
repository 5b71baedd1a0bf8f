"""What engines print: always read, cleaned, redacted, kept in files of bounded size, and readable when all is down."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from modelkit.runtime.project import Project

_SIZE = 10 * 1024 * 1024
_KEEP = 5
_LINE = 8192  # bytes; the rest of a longer line becomes the next one
_ESCAPE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CONTROL = bytes(set(range(32)) - set(b"\t\n")) + b"\x7f"
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_WORD = re.compile(rb"[^\s\"'=:,;()\[\]{}<>]{6,}")
_BEARER = re.compile(rb"(?i)(bearer\s+)[^\s\"',;]+")
_REDACTED = b"[redacted]"


class Redaction:
    """Takes secrets out of text: values that are known, and keys of which only the SHA-256 is known.

    `key_hashes` is looked at each time: keys change while an engine runs.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, key_hashes: Set[str] = frozenset()) -> None:
        values = {value for name, value in (environment or {}).items() if _SECRET_NAME.search(name) and len(value) >= 6}
        self._values = [value.encode() for value in sorted(values, key=len, reverse=True)]
        self._hashes = key_hashes

    def __call__(self, text: bytes) -> bytes:
        for value in self._values:
            text = text.replace(value, _REDACTED)
        if b"bearer" in text.lower():
            text = _BEARER.sub(rb"\1" + _REDACTED, text)
        return _WORD.sub(self._word, text) if self._hashes else text

    def _word(self, found: re.Match[bytes]) -> bytes:
        return _REDACTED if hashlib.sha256(found[0]).hexdigest() in self._hashes else found[0]


class Lines:
    """Chunks of output as clean lines: no control characters, none longer than 8 KiB, none empty."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        # A progress bar ends its lines with a carriage return only.
        whole, _, self._rest = (self._rest + chunk).replace(b"\r", b"\n").rpartition(b"\n")
        if len(self._rest) > _LINE:  # no end in sight
            whole, self._rest = whole + b"\n" + self._rest, b""
        return _clean(whole)

    def end(self) -> list[bytes]:
        """What came after the last line end."""
        rest, self._rest = self._rest, b""
        return _clean(rest)


def _clean(text: bytes) -> list[bytes]:
    # All at once, regular expressions last: an engine that floods its output must not take the loop from the edge.
    if b"\x1b" in text:
        text = _ESCAPE.sub(b"", text)
    lines = [line.rstrip() for line in text.translate(None, _CONTROL).split(b"\n")]
    if len(text) > _LINE:
        lines = [line[start:start + _LINE] for line in lines for start in range(0, len(line), _LINE)]
    return [line for line in lines if line]


class RotatingFile:
    """Appends to a file of at most 10 MiB; four older ones are kept. A full disk loses lines, no more."""

    def __init__(self, path: Path, size: int = _SIZE, keep: int = _KEEP) -> None:
        self.path, self._limit, self._keep = path, size, keep
        self._fd, self._size = -1, 0

    def write(self, text: bytes) -> None:
        with contextlib.suppress(OSError):
            if self._fd < 0:
                self._open()
            elif self._size + len(text) > self._limit:
                self._rotate()
            self._size += os.write(self._fd, text)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        self.close()
        for age in range(self._keep - 1, 0, -1):
            older = _aged(self.path, age)
            younger = _aged(self.path, age - 1)
            if younger.exists():
                younger.replace(older)
        self._open()


class EngineLog:
    """One log for all engines of a project; each line says when, which generation and which stage."""

    def __init__(self, project: Project) -> None:
        self._file = RotatingFile(project.engine_log)

    @staticmethod
    def begin(project: Project) -> None:
        """Start a new run's log. What the run before it said last is kept as `previous.log`."""
        path = project.engine_log
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_size:
                path.replace(_previous(project))
            for age in range(1, _KEEP):
                _aged(path, age).unlink(missing_ok=True)

    def write(self, label: str, lines: list[bytes]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = f"{now} {label} | ".encode()
        self._file.write(head + (b"\n" + head).join(lines) + b"\n")

    def close(self) -> None:
        self._file.close()


class Sink(Protocol):
    """Where lines are kept: an EngineLog, or memory."""

    def write(self, label: str, lines: list[bytes]) -> None: ...


class Output:
    """Where one engine's output goes: the log, a short tail in memory, and the `listener` if there is one."""

    def __init__(self, log: Sink, label: str, redact: Redaction, keep: int = 200) -> None:
        self.listener: Callable[[str], None] | None = None
        self._log, self._label, self._redact = log, label, redact
        self._lines = Lines()
        self._tail: deque[bytes] = deque(maxlen=keep)

    def __call__(self, chunk: bytes) -> None:
        self._take(self._lines.feed(chunk))

    def tail(self, count: int = 20) -> tuple[str, ...]:
        """The last lines, a line without an end included."""
        self._take(self._lines.end())
        return tuple(line.decode(errors="replace") for line in list(self._tail)[-count:])

    def _take(self, lines: list[bytes]) -> None:
        if not lines:
            return
        lines = self._redact(b"\n".join(lines)).split(b"\n")
        self._log.write(self._label, lines)
        self._tail.extend(lines[-(self._tail.maxlen or 0):])
        if self.listener is not None:
            for line in lines:
                self.listener(line.decode(errors="replace"))


def log_files(project: Project) -> list[Path]:
    """The engine logs that there are, oldest first: the run before, then this one's."""
    path = project.engine_log
    return [found for found in (_previous(project), *(_aged(path, age) for age in range(_KEEP - 1, -1, -1)))
            if found.is_file()]


def read_last(project: Project, count: int) -> list[str]:
    """The last lines over all files, as many as there are."""
    last: deque[str] = deque(maxlen=count)
    for path in log_files(project):
        with contextlib.suppress(OSError), path.open(errors="replace") as lines:
            last.extend(line.rstrip("\n") for line in lines)
    return list(last)


def follow(project: Project, count: int = 10, *, every: float = 0.2,
           go_on: Callable[[], bool] = lambda: True) -> Iterator[str]:
    """The last `count` lines, then every new one, over rotations and restarts, until `go_on` says no."""
    older: deque[str] = deque(maxlen=count)
    for path in log_files(project):
        if path != project.engine_log:
            with contextlib.suppress(OSError), path.open(errors="replace") as lines:
                older.extend(line.rstrip("\n") for line in lines)
    tail = Tail(project.engine_log)
    try:
        older.extend(tail.lines())
        yield from older
        while True:
            ending = not go_on()  # asked before the last look, so that the last lines are not lost
            new = list(tail.lines())
            yield from new
            if not new:
                if ending:
                    return
                time.sleep(every)
    finally:
        tail.close()


class Tail:
    """Reads a file that grows, is rotated and replaced, each line once."""

    def __init__(self, path: Path) -> None:
        self._path, self._fd, self._rest = path, -1, b""

    def lines(self) -> Iterator[str]:
        """The lines that are complete now, up to the end of the newest file."""
        while self._fd >= 0 or self._open():
            while chunk := os.read(self._fd, 1 << 20):
                *whole, self._rest = (self._rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
            if not self._replaced():
                return
            self.close()  # it was read to its end; the next round opens its successor
            self._rest = b""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        with contextlib.suppress(OSError):
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return self._fd >= 0

    def _replaced(self) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(self._fd).st_ino
        except OSError:
            return False


def _aged(path: Path, age: int) -> Path:
    return path.with_name(f"{path.name}.{age}") if age else path


def _previous(project: Project) -> Path:
    return project.logs / "previous.log"
