"""A stage's records as one story: what ran when, and whether anybody changed a byte of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from modelkit.failure import Failure
from modelkit.release.record import Override, Record, Records, identity_of

SERVING = ("promote", "rollback")
_STAMP = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Entry:
    """A record as it lies there. `id` is computed from its bytes."""

    path: Path
    id: str
    record: Record
    data: bytes


@dataclass(frozen=True)
class Stray:
    """A file that is named as a record and is none, and why."""

    path: Path
    why: str


@dataclass(frozen=True)
class History:
    """A stage's records. `chain` is what HEAD leads to, the oldest first; `others` are readable records beside it."""

    records: Records
    head: str | None
    chain: tuple[Entry, ...]
    others: tuple[Entry, ...] = ()
    strays: tuple[Stray, ...] = ()
    missing: str | None = None  # the id that the chain's oldest record names, and nobody has

    @cached_property
    def serving(self) -> tuple[Entry, ...]:
        """The promotions and rollbacks, the oldest first."""
        return tuple(one for one in self.chain if one.record.kind in SERVING)

    @property
    def live(self) -> Entry | None:
        """What serves by the records."""
        return self.serving[-1] if self.serving else None

    def at(self, moment: str) -> Entry | None:
        """What served at a moment (`instant` spells it); None before the first promotion."""
        return next((one for one in reversed(self.serving) if one.record.at <= moment), None)

    def overrides(self, moment: str) -> Iterator[Override]:
        """The overrides that what serves rests on, as long as they count."""
        if self.live is not None:
            yield from (one for one in self.live.record.overrides if one.expires > moment)

    def named(self, word: str) -> Entry:
        """A record by its id or the beginning of it, with or without `sha256:`. Raises Failure for none or several."""
        plain = word.removeprefix("sha256:").lower()
        found = [one for one in (*self.chain, *self.others) if plain and one.id[7:].startswith(plain)]
        if len(found) == 1:
            return found[0]
        raise Failure("no-record", f"{len(found) or 'no'} records of stage `{self.records.stage}` are called `{word}`",
                      hint="`modelkit history` lists their ids", exit_code=1)


def read(records: Records) -> History:
    """The records of a stage, however broken. Raises Failure only when HEAD does not name a record."""
    entries: dict[str, Entry] = {}
    strays: list[Stray] = []
    for path in records.files():
        one = _entry(path)
        if isinstance(one, Stray):
            strays.append(one)
        else:
            entries[one.id] = one
    head, chain = records.head(), list[Entry]()
    cursor = head
    while cursor is not None and cursor in entries:
        chain.append(entries.pop(cursor))
        cursor = chain[-1].record.prev
    return History(records, head, tuple(reversed(chain)), tuple(entries.values()), tuple(strays), cursor)


def stages_of(modelfile: Path, model: str) -> tuple[str, ...]:
    """The stages that a model has records of, by name."""
    root = Records(modelfile, model, "any").folder.parent
    return tuple(sorted(one.name for one in root.iterdir() if one.is_dir())) if root.is_dir() else ()


def all_of(modelfile: Path, model: str) -> tuple[History, ...]:
    """The histories of all of them."""
    return tuple(read(Records(modelfile, model, stage)) for stage in stages_of(modelfile, model))


def _entry(path: Path) -> Entry | Stray:
    try:
        data = path.read_bytes()
        record = Record.model_validate_json(data)
    except OSError as error:
        return Stray(path, f"it cannot be read: {(error.strerror or str(error)).lower()}")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return Stray(path, f"it is no record: {where + ': ' if where else ''}{first['msg'].lower()}")
    return Entry(path, identity_of(data), record, data)


def instant(text: str, *, end: bool = False) -> str:
    """A moment that a person wrote, as records spell it: `2026-10-01` (the day's beginning, or its `end`),
    `2026-10-01T12:00` (UTC), `2026-10-01T12:00+02:00`. Raises Failure for anything else."""
    try:
        if len(text) == 10:
            day = date.fromisoformat(text) + timedelta(days=1 if end else 0)
            return datetime.combine(day, time(), UTC).strftime(_STAMP)
        said = datetime.fromisoformat(text)
        return (said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)).strftime(_STAMP)
    except (ValueError, OverflowError):
        raise Failure("usage", f"`{text}` is no date", hint="write 2026-10-01, or 2026-10-01T12:00 (UTC)") from None


def moment(text: str) -> datetime:
    """A record's time."""
    return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)
