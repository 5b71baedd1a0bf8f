"""The gates that ask the engines of both stages."""

from __future__ import annotations

import re
from decimal import Decimal

from modelkit.release.evaluation.score import Score, paired
from modelkit.release.gates.asking import Asked
from modelkit.release.gates.context import GateContext
from modelkit.release.gates.files import Found, absent
from modelkit.release.verdict import Verdict

_MARGIN = 0.05  # of a score: so much less than what runs now is let pass


def parity(gate: Asked, context: GateContext) -> Found:
    if context.measures.parity is None:
        return absent(gate, context)
    report, sides = context.measures.parity(), (context.source, context.target)
    seen: dict[str, object] = {"conversations": str(report.compared), "tokens": str(report.tokens),
                               "differences": str(len(report.differences))}
    if not report.compared:
        return Found("inconclusive", {**seen, "why": "nothing was compared"})
    if report.equal:
        return Found("pass", seen, report.as_json(*sides))
    causes = [one.cause.title(*sides) for one in report.causes]
    return Found("fail", {**seen, "causes": causes, "first": [one.conversation for one in report.differences[:8]]},
                 report.as_json(*sides))


def tests(gate: Asked, context: GateContext) -> Found:
    """The part that passes, against the limit. What broke or was left out may have passed or not: where that decides,
    the gate is undecided, too."""
    if context.measures.tests is None:
        return absent(gate, context)
    report = context.measures.tests()
    if not report.total:
        return Found("inconclusive", {"why": "the file has no tests"})
    passed, failed, broke = (report.count(verdict) for verdict in ("pass", "fail", "error"))
    least, most = passed / report.total, 1 - failed / report.total
    seen = {"passed": str(passed), "total": str(report.total), "rate": decimal(least),
            **({"errors": str(broke)} if broke else {}), **({"flaky": list(report.flaky)} if report.flaky else {})}
    if gate.met(least) != gate.met(most):
        return Found("error" if broke else "inconclusive", seen, report.as_json())
    return Found("pass" if gate.met(least) else "fail", seen, report.as_json())


def slo(gate: Asked, context: GateContext) -> Found:
    """One limit of the load, as the benchmark judges it: too few requests, or too many to keep up with, show nothing.
    """
    if context.measures.bench is None:
        return absent(gate, context)
    result = context.measures.bench()
    held = next((one for one in result.limits if one.limit.text == gate.threshold), None)
    if held is None:
        return Found("inconclusive", {"why": f"the load does not measure {gate.metric}"}, result.as_json())
    seen = {"samples": str(len(result.samples)),
            **({gate.metric: decimal(held.observed)} if held.observed is not None else {}),
            **({"why": held.why} if held.why else {})}
    return Found(held.verdict, seen, result.as_json())


def evaluation(gate: Asked, context: GateContext) -> Found:
    """A floor, and not worse than what runs now, question by question."""
    if context.measures.evaluate is None:
        return absent(gate, context)
    name = gate.metric.removeprefix("eval.")
    score = context.measures.evaluate(name)
    seen: dict[str, object] = {"score": decimal(score.value), "questions": str(len(score.questions))}
    if score.verdict != "pass":
        return Found("error", {**seen, "why": f"{score.unscored} questions were not answered"}, score.as_json())
    if not gate.met(score.value):
        return Found("fail", seen, {"candidate": score.as_json()})
    now = context.measures.baseline(name) if context.measures.baseline else None
    if now is None:
        return Found("pass", {**seen, "now": "nothing else runs"}, {"candidate": score.as_json()})
    verdict, said = _beside(now, score)
    return Found(verdict, {**seen, **said}, {"candidate": score.as_json(), "now": now.as_json()})


def _beside(now: Score, score: Score) -> tuple[Verdict, dict[str, str]]:
    """Worse beyond chance fails. What is worse nowhere passes, and so does what can only be a little worse; else there
    are too few questions to tell."""
    said, found = {"now": decimal(now.value)}, paired(now, score)
    if now.verdict != "pass" or found is None:
        return "inconclusive", {**said, "why": "what runs now did not answer the same questions"}
    said |= {"pairs": str(found.count), "difference": decimal(found.difference),
             "interval": f"{decimal(found.low)} to {decimal(found.high)}"}
    if found.verdict == "worse":
        return "fail", said
    if not found.worse or found.low >= -_MARGIN:
        return "pass", said
    return "inconclusive", {**said, "why": "too few questions to tell whether it is worse"}


def decimal(value: float) -> str:
    """A number as records spell it: six digits, no exponent."""
    return re.sub(r"\.?0+$", "", text) if "." in (text := format(Decimal(f"{value:.6g}"), "f")) else text
