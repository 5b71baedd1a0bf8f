"""Where a rollback goes: the record to go back to, and whether all that it ran is still on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelkit.failure import Failure
from modelkit.models.store import Store
from modelkit.platforms.bundle import Bundle
from modelkit.release.history import Entry, History
from modelkit.release.promotion.journal import Journal


@dataclass(frozen=True)
class Way:
    """Back from `live` to `entry`, whose engine was started as `bundle`; `out` is the version to be kept out."""

    live: Entry
    entry: Entry
    bundle: Bundle
    out: str | None = None


def way_back(history: History, to: str | None, journal: Journal, store: Store, *,
             kept_out: Callable[[str], bool] = lambda _: False, serving: str | None = None) -> Way:
    """The record named `to`, or the last one that ran something other than what is live and is not kept out.

    `serving` is the `ir` of what has the address: where that was never promoted, what is live by the records is the
    way back. Raises Failure (exit 2) when there is none, or when something of it is gone; it lists what is available.
    """
    stage, live = history.records.stage, history.live
    if live is None:
        raise Failure("nothing-promoted", f"nothing was ever promoted to stage `{stage}`, so there is no way back",
                      hint="`modelkit history` shows the stages that have records")
    now = serving or _ir(live)
    entry = _named(history, to) if to else _before(history, now, kept_out)
    if entry is None:
        source = live.record.from_
        raise Failure("nothing-before", f"before what is live in stage `{stage}` there was nothing to go back to",
                      hint=f"`modelkit promote {stage} {source}` gives the address back to stage `{source}`; `modelkit "
                           "history` lists the records, `--to RECORD` names one")
    bundle = journal.kept(entry.id)
    gone = "this machine never started it" if bundle is None else missing(bundle, store)
    if bundle is None or gone:
        raise Failure("rollback-gone", f"record {entry.id[7:15]} cannot be started here: {gone}",
                      hint="check its commit out and `modelkit promote` again, or `--to` one of those above"
                      if (others := available(history, journal, store)) else
                      f"check out commit {entry.record.git.commit[:12]} and `modelkit promote` again"
                      if entry.record.git and entry.record.git.commit else "`modelkit promote` that version again",
                      detail=tuple(f"available: {one.id[7:15]}  {one.record.at}" for one in others))
    return Way(live, entry, bundle, now if now != _ir(entry) else None)


def available(history: History, journal: Journal, store: Store) -> tuple[Entry, ...]:
    """The promotions and rollbacks whose engines can be started here as they were, the newest first."""
    found = []
    for entry in reversed(history.serving):
        bundle = journal.kept(entry.id)
        if entry is not history.live and bundle is not None and missing(bundle, store) is None:
            found.append(entry)
    return tuple(found)


def missing(bundle: Bundle, store: Store) -> str | None:
    """What of a bundle is not on this machine as it was; None when it can be started. Reads no network."""
    plan = bundle.plan
    if not Path(bundle.launch.argv[0]).exists():
        version = f" {plan.engine.version}" if plan.engine else ""
        return f"its engine is gone: {plan.engine_name}{version}"
    for weights in (plan.weights, plan.draft, plan.projector):
        if weights is None:
            continue
        path = Path(weights.path)
        if not path.exists():
            return f"its weights are gone: {weights.reference}"
        whole = path.is_file() and path.stat().st_size == weights.size  # else one of several parts, or a folder
        if whole and not store.intact(path, weights.digest):
            return f"its weights were changed: {weights.reference}"
    lost = next((one for one in plan.adapters if one.path is not None and not Path(one.path).exists()), None)
    return f"its adapter {lost.name} is gone" if lost else None


def _named(history: History, word: str) -> Entry:
    entry = history.named(word)
    if entry not in history.serving:
        raise Failure("no-way-back", f"record {entry.id[7:15]} is a `{entry.record.kind}`: nothing was started by it",
                      hint="`modelkit history` shows which are promotions and rollbacks")
    return entry


def _before(history: History, now: str | None, kept_out: Callable[[str], bool]) -> Entry | None:
    return next((one for one in reversed(history.serving)
                 if (ir := _ir(one)) is not None and ir != now and not kept_out(ir)), None)


def _ir(entry: Entry) -> str | None:
    return entry.record.subject.ir if entry.record.subject else None
