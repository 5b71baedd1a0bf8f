"""What a promotion is about to do, written down before it does it, so that the next command can finish its story.

    <folder>/lock            held by the command that changes who serves
    <folder>/intent.json     from just before the address changes hands until the record is written
    <folder>/bundles/ID.json what each record's engine was started with, for a rollback that needs nothing else

The folder is this machine's: paths of models and engines stand in bundles.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelkit.failure import Failure
from modelkit.places import private_directory
from modelkit.platforms.bundle import Bundle
from modelkit.release.record import Record, write_once

_SCHEMA = "modelkit.intent/1"
_KEPT = 20  # bundles, about 100 kB each


@dataclass(frozen=True)
class Intent:
    """The address shall go to `after`, and then `record` shall be written (None: that is not decided yet). `before` is
    what served until then: whoever finds nothing serving brings it back."""

    record: Record | None
    after: Bundle
    before: Bundle | None = None


class Journal:
    """The promotions of one project on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self, verb: str) -> Iterator[None]:
        """One command at a time changes who serves. Raises Failure `promotion-busy` (exit 1) naming the other one."""
        self._made(self.folder)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Failure("promotion-busy", f"another command changes who serves: {_holder(descriptor)}",
                              hint="wait for it, or stop it", exit_code=1) from None
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "verb": verb, "since": int(time.time())}).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def intend(self, intent: Intent) -> None:
        """Raises Failure when it cannot be written: nothing has happened then."""
        record = intent.record.model_dump(mode="json", by_alias=True) if intent.record else None
        said = {"schema": _SCHEMA, "record": record, "after": intent.after.as_json(),
                "before": intent.before.as_json() if intent.before else None}
        self._write(self.folder / "intent.json", said)

    def intent(self) -> Intent | None:
        """What the last command meant to do and did not end; None where there is nothing, or nothing readable."""
        said = _read(self.folder / "intent.json")
        if not isinstance(said, dict) or said.get("schema") != _SCHEMA:
            return None
        with suppress(ValueError, KeyError, TypeError):
            record, before = said["record"], said["before"]
            return Intent(Record.model_validate(record) if record else None, Bundle.from_json(said["after"]),
                          Bundle.from_json(before) if before else None)
        return None

    def clear(self) -> None:
        (self.folder / "intent.json").unlink(missing_ok=True)

    def keep(self, record: str, bundle: Bundle) -> None:
        """What the engine of a record was started with; the oldest ones give way."""
        folder = self._made(self.folder / "bundles")
        self._write(folder / f"{_plain(record)}.json", bundle.as_json())
        for old in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)[:-_KEPT]:
            old.unlink(missing_ok=True)

    def kept(self, record: str) -> Bundle | None:
        """What the engine of a record was started with on this machine; None where nobody knows any more."""
        said = _read(self.folder / "bundles" / f"{_plain(record)}.json")
        with suppress(ValueError, KeyError, TypeError):
            return Bundle.from_json(said) if said is not None else None
        return None

    def _write(self, path: Path, said: Any) -> None:
        self._made(path.parent)
        try:
            write_once(path, (json.dumps(said, ensure_ascii=False) + "\n").encode())
            path.chmod(0o600)
        except OSError as error:
            raise Failure("journal", f"cannot write `{path}`: {error.strerror or error}",
                          hint="free some space there, or set MODELKIT_HOME to another place") from None

    @staticmethod
    def _made(folder: Path) -> Path:
        try:
            return private_directory(folder)
        except OSError as error:
            raise Failure("journal", f"cannot use `{folder}`: {error.strerror or error}",
                          hint="make it a writable directory of yours, or set MODELKIT_HOME") from None


def _plain(record: str) -> str:
    """A record's id as a file's name. Raises ValueError for what is none."""
    name = record.removeprefix("sha256:")
    if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise ValueError(f"`{record}` is no record's id")
    return name


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _holder(descriptor: int) -> str:
    with suppress(OSError, ValueError, KeyError):
        held = json.loads(os.pread(descriptor, 4096, 0))
        since = time.strftime("%H:%M:%S", time.localtime(held["since"]))
        return f"`modelkit {held['verb']}`, process {held['pid']}, since {since}"
    return "it holds the lock"
