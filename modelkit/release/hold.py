"""What may not be promoted: a stage that is held, a subject that was rejected or rolled back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelkit.failure import Failure
from modelkit.release.history import Entry, History
from modelkit.release.record import Subject


@dataclass(frozen=True)
class Standing:
    """What stands against promotions to a stage. `held`: everything is kept out; `kept_out`: some, by their `ir`."""

    held: Entry | None = None
    kept_out: Mapping[str, Entry] = field(default_factory=dict)

    def against(self, ir: str) -> Entry | None:
        """The record that keeps a subject out; None when nothing does."""
        return self.kept_out.get(ir) or self.held


def standing(history: History, moment: str, others: Iterable[History] = ()) -> Standing:
    """What stands at a moment. A rejection counts in every stage: `others` are those of the same model.

    A `release` of one subject lifts what keeps that subject out; one of no subject lifts all of its stage but
    rejections, which are lifted by name.
    """
    held: Entry | None = None
    out: dict[str, Entry] = {}
    for entry in history.chain:
        record = entry.record
        if record.kind == "hold" and record.about is None:
            held = entry
        elif record.kind in ("hold", "reject", "rollback") and record.about:
            out[record.about] = entry
        elif record.kind == "release" and record.about:
            out.pop(record.about, None)
        elif record.kind == "release":
            held, out = None, {ir: one for ir, one in out.items() if one.record.kind == "reject"}
    if held is not None and _over(held, moment):
        held = None
    out = {ir: one for ir, one in out.items() if not _over(one, moment)}
    for other in others:
        if other.records.folder != history.records.folder:
            rejected = standing(other, moment).kept_out.items()
            out = {**{ir: one for ir, one in rejected if one.record.kind == "reject"}, **out}
    return Standing(held, out)


def presume_free(history: History, subject: Subject, moment: str, others: Iterable[History] = ()) -> None:
    """Raise Failure (exit 1) when something keeps a subject out of a stage: who, when and why; and when the records
    are not whole, so that nobody knows."""
    if history.missing is not None:  # a hold may have been among what is lost
        raise Failure("history-broken", f"the records of stage `{history.records.stage}` are not whole: "
                      f"{history.missing} is not here as it was written",
                      hint="`modelkit history verify` says what is wrong; git has what was lost", exit_code=1)
    entry = standing(history, moment, others).against(subject.ir)
    if entry is None:
        return
    record = entry.record
    what = {"hold": "is held", "reject": "was rejected", "rollback": "was rolled back"}[record.kind]
    who = f"stage `{record.to}`" if record.about is None else f"this version of stage `{record.to}`"
    named = f" --version {record.about[7:19]}" if record.about else ""
    raise Failure(
        {"hold": "held", "reject": "rejected", "rollback": "held"}[record.kind],
        f"{who} {what} by {record.actor.name} at {record.at}{f' until {record.until}' if record.until else ''}",
        hint=f"`modelkit release {record.to}{named} --reason …` lets it in again",
        detail=(f"why: {record.reason}",) if record.reason else (), exit_code=1,
        data={"record": entry.id, "about": record.about})


def _over(entry: Entry, moment: str) -> bool:
    return entry.record.until is not None and entry.record.until <= moment
