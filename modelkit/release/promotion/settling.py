"""Finishing what a killed command began: the address and the records say the same again, and something serves."""

from __future__ import annotations

from modelkit.release.promotion.endpoint import Endpoint
from modelkit.release.promotion.journal import Journal
from modelkit.release.record import Record, Records, Written, identity_of


def settle(journal: Journal, records: Records, endpoint: Endpoint) -> Written | None:
    """Bring the last command's story to its end; the record, if one had to be written.

    The address changed hands: the record is written. It did not: nothing is. Nobody serves: what served before comes
    back. Called again, and at any point killed, it ends in the same place.
    """
    records.settle()
    intent = journal.intent()  # of any stage of this Modelfile
    if intent is None:
        return None
    routed, written = endpoint.routed(), None
    if routed is None and intent.before is not None:
        engine = endpoint.running(intent.before) or endpoint.start(intent.before)
        endpoint.switch(engine.generation, 0.0)
    elif routed is not None and intent.record is not None and routed.bundle_digest == intent.after.digest:
        written = _write(Records(records.root.parent / "Modelfile", intent.record.model, intent.record.to),
                         intent.record)
        journal.keep(written.id, intent.after)
    journal.clear()
    return written


def _write(records: Records, record: Record) -> Written:
    """The record, once: who was killed after writing it has written it."""
    head, identity = records.head(), identity_of(record.encode())
    if head == identity:
        return Written(next(path for path in records.files() if path.stem.endswith(identity[7:15])), identity)
    if head != record.prev:  # another event came in between, such as an approval: it comes after that one
        record = record.model_copy(update={"prev": head})
    return records.append(record)
