"""Gates, judged: each asks what it must, and their verdicts fold to one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from modelkit import __version__
from modelkit.failure import Failure
from modelkit.models.digests import digest
from modelkit.release import record as records
from modelkit.release.gates import engines, files
from modelkit.release.gates.asking import Asked, asked
from modelkit.release.gates.context import GateContext
from modelkit.release.gates.evidence import Finding, Shelf, of
from modelkit.release.gates.files import Found, Judge
from modelkit.release.gates.table import KINDS, Phase
from modelkit.release.record import Gate, Override
from modelkit.release.verdict import Verdict, fold

TOOL = f"modelkit {__version__}"

_JUDGES: dict[str, Judge] = {
    "lint": files.lint, "lock": files.lock, "supply": files.supply, "params": files.params, "soak": files.soak,
    "approval": files.approval, "fit": files.fit, "parity": engines.parity, "tests": engines.tests,
    "slo": engines.slo, "eval": engines.evaluation,
}


@dataclass(frozen=True)
class GateReport:
    """What gates found. `verdict` folds the required ones, with what people took on themselves counted as passed."""

    gates: tuple[Gate, ...]
    overrides: tuple[Override, ...] = ()  # those that changed something

    @property
    def verdict(self) -> Verdict:
        over = {one.gate for one in self.overrides}
        return fold("pass" if gate.id in over else gate.verdict for gate in self.gates if gate.required)

    @property
    def stopping(self) -> tuple[Gate, ...]:
        """The required gates that did not pass and that nobody overrode."""
        over = {one.gate for one in self.overrides}
        return tuple(one for one in self.gates if one.required and one.verdict != "pass" and one.id not in over)

    def __add__(self, other: GateReport) -> GateReport:
        """Both phases of a promotion as one."""
        return GateReport(self.gates + other.gates, self.overrides + other.overrides)

    def as_json(self) -> dict[str, Any]:
        return {"verdict": self.verdict, "gates": [one.model_dump(mode="json") for one in self.gates],
                "overrides": [one.model_dump(mode="json") for one in self.overrides]}


def run_gates(context: GateContext, phases: Iterable[Phase] = ("files", "engines"),
              only: Sequence[str] | None = None) -> GateReport:
    """Judge the gates of the stage `context.target`, in order: those of some `phases`, or `only` some by their ids.

    Raises Failure `no-gate` for an id that the stage has not, and `no-override` for an override that cannot be.
    """
    every = asked(context.modelfile, context.target)
    _presume_known(only or (), every)
    usable = tuple(_usable(context, every))
    wanted = [one for one in every if (one.id in only if only else _phase(one) in tuple(phases))]
    gates = tuple(_judged(one, context, of(context.history.records)) for one in wanted)
    stopped = {one.id for one in gates if one.verdict in ("fail", "inconclusive", "skipped")}
    return GateReport(gates, tuple(one for one in usable if one.gate in stopped))


def _phase(gate: Asked) -> Phase:
    return KINDS[gate.kind].phase if gate.kind in KINDS else "files"


def _presume_known(names: Sequence[str], every: Sequence[Asked]) -> None:
    for name in names:
        if name not in {one.id for one in every}:
            raise Failure("no-gate", f"no gate is called `{name}`",
                          hint="it is one of " + ", ".join(one.id for one in every))


def _usable(context: GateContext, every: Sequence[Asked]) -> Iterator[Override]:
    """The overrides, each of a gate that the stage has and that may be overridden, and not over yet."""
    by_id = {one.id: one for one in every}
    _presume_known([one.gate for one in context.overrides], every)
    for one in context.overrides:
        kind = KINDS.get(by_id[one.gate].kind)
        if kind is None or not kind.overridable:
            raise Failure("no-override", f"the gate `{one.gate}` cannot be overridden",
                          hint="a person's word cannot replace a lock or a policy: change the Modelfile")
        if one.expires <= records.now():
            raise Failure("no-override", f"the override of `{one.gate}` ended at {one.expires}",
                          hint="name a later end with --until")
        if not one.reason.strip():
            raise Failure("no-override", f"the override of `{one.gate}` has no reason", hint="say why with --reason")
        yield one


def _judged(gate: Asked, context: GateContext, shelf: Shelf) -> Gate:
    """One gate's result: from evidence that still counts, else found out now."""
    kind, began = KINDS.get(gate.kind), records.now()
    question = digest([gate.id, gate.kind, gate.threshold, context.measures.asked.get(gate.kind)])
    context.on_step(f"gate {gate.id}")
    if kind is not None and kind.max_age and not context.fresh:
        age = kind.max_age if context.max_age is None else context.max_age
        if (known := shelf.latest(context.subject.ir, question, max_age=age)) is not None:
            return known.model_copy(update={"required": gate.required})
    judge = _JUDGES.get(gate.kind)
    found = _found(judge, gate, context) if judge else Found(
        "error", {"error": f"this release knows no gate of the kind `{gate.kind}`"})
    result = Gate(id=gate.id, kind=gate.kind, required=gate.required, verdict=found.verdict, observed=found.observed,
                  threshold=gate.threshold, runner=records.runner(TOOL), started=began, ended=records.now())
    if kind is None or not kind.max_age or found.verdict == "skipped":
        return result
    kept = shelf.keep(Finding(schema="modelkit.evidence/1", subject=context.subject.ir, asked=question, gate=result,
                              result=found.result))
    return result.model_copy(update={"evidence": kept})


def _found(judge: Judge, gate: Asked, context: GateContext) -> Found:
    """A check that breaks is an error, and says nothing about the model."""
    import httpx

    try:
        return judge(gate, context)
    except Failure as failure:
        return Found("error", {"error": failure.message, "code": failure.code,
                               **({"detail": list(failure.detail[:8])} if failure.detail else {})})
    except (OSError, TimeoutError, httpx.HTTPError) as error:
        return Found("error", {"error": str(error) or type(error).__name__})
