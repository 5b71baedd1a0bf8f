"""What people say about a stage's versions: approve, reject, hold, release. Each is a record like a promotion."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from modelkit import __version__
from modelkit.failure import Failure
from modelkit.release import record as records
from modelkit.release.history import History
from modelkit.release.record import Record, Written

Word = Literal["approve", "reject", "hold", "release"]


def say(history: History, modelfile: Path, word: Word, *, about: str | None, reason: str | None = None,
        until: str | None = None) -> Written:
    """Write the event. `about` is a version's `ir`, None where it is about all; `until` when a hold ends."""
    store, live = history.records, history.live
    actor, git = records.actor_and_git(modelfile.resolve().parent)
    return store.append(Record.model_validate({
        "kind": word, "model": store.model, "from": store.stage, "to": store.stage,
        "subject": live.record.subject if live else None, "gates": (), "reason": reason, "about": about,
        "until": until, "actor": actor, "git": git, "prev": history.head, "at": records.now(),
        "tool": f"modelkit {__version__}"}))


def version_named(histories: tuple[History, ...], word: str) -> str:
    """The version (`ir`) that a word names: in full, by its beginning where a record knows it, or by a record's id.

    Raises Failure for a word that names none or several.
    """
    plain = word.removeprefix("sha256:").lower()
    if len(plain) == 64 and not set(plain) - set("0123456789abcdef"):
        found = {f"sha256:{plain}"}
        return next((ir for ir, ids in _known(histories).items() if f"sha256:{plain}" in ids), found.pop())
    known = {ir for ir, ids in _known(histories).items()
             if len(plain) >= 4 and any(one.removeprefix("sha256:").startswith(plain) for one in (ir, *ids))}
    if len(known) == 1:
        return known.pop()
    raise Failure("no-version", f"{len(known) or 'no'} versions are called `{word}`", exit_code=1,
                  hint="`modelkit history` lists them; a version that has no record yet is named in full, as `modelkit "
                  "gate` prints it")


def _known(histories: tuple[History, ...]) -> dict[str, set[str]]:
    """The versions that records tell of, each with the ids of the records of its promotions."""
    found: dict[str, set[str]] = {}
    for history in histories:
        for entry in history.chain:
            record = entry.record
            if record.about:
                found.setdefault(record.about, set())
            if record.subject:
                ids = found.setdefault(record.subject.ir, set())
                if record.kind in ("promote", "rollback"):
                    ids.add(entry.id)
    return found
