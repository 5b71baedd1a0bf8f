"""The answer no, with everything that was judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelkit.failure import Failure
from modelkit.release.record import Gate, Written
from modelkit.release.verdict import EXIT_CODES, Verdict

_CODES = {"fail": "promotion-refused", "error": "promotion-broken"}
_WORDS = {"fail": "the candidate is refused", "error": "the candidate could not be judged"}
_HINTS = {"fail": "mend what they found; `--override GATE --reason … --until DATE` takes it on yourself",
          "error": "mend the check: it says nothing about the model"}
_HINT = "give it what it needs to decide: more requests, more time, an engine; or override it with a reason"


class Refused(Failure):
    """The candidate did not pass; what served before serves. `gates` are all that were judged."""

    def __init__(self, stage: str, verdict: Verdict, gates: Sequence[Gate], overridden: Sequence[str] = (),
                 record: Written | None = None) -> None:
        stopping = [one for one in gates if one.required and one.verdict != "pass" and one.id not in overridden]
        names = ", ".join(one.id for one in stopping)
        super().__init__(
            _CODES.get(verdict, "promotion-undecided"),
            f"{_WORDS.get(verdict, 'nothing is decided about the candidate')} ({names}); what served stage `{stage}` "
            "stays",
            hint=_HINTS.get(verdict, _HINT), detail=tuple(line for one in stopping for line in lines(one)),
            exit_code=EXIT_CODES[verdict],
            data={"verdict": verdict, "gates": [one.model_dump(mode="json") for one in gates],
                  "record": {"id": record.id, "path": str(record.path)} if record else None})
        self.gates, self.verdict, self.record = tuple(gates), verdict, record


def lines(gate: Gate) -> Iterator[str]:
    """A gate for people: its verdict, what was wanted, and what was seen."""
    wanted = f" (wanted: {gate.threshold})" if gate.threshold else ""
    why = gate.observed.get("why") or gate.observed.get("error")
    yield f"{gate.id}: {gate.verdict}{wanted}" + (f": {why}" if why else "")
    for name, value in gate.observed.items():
        if name in ("why", "error") or "." in name:
            continue
        several = isinstance(value, list | tuple)
        yield f"  {name}: {('; ' if name == 'causes' else ', ').join(map(str, value)) if several else value}"
