"""The gates that ask the engines of both stages."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from modelkit.release.gates.asking import Asked
from modelkit.release.gates.context import GateContext, Score
from modelkit.release.gates.files import Found, absent

_Z = 1.645  # one-sided 95 %: worse than what runs now only when chance is no good excuse
_LEAST_PAIRS = 20


def parity(gate: Asked, context: GateContext) -> Found:
    if context.measures.parity is None:
        return absent(gate, context)
    report = context.measures.parity()
    seen = {"conversations": str(report.compared), "tokens": str(report.tokens),
            "differences": str(len(report.differences))}
    if report.differences:
        names = [str(getattr(one, "conversation", one)) for one in report.differences]
        causes = [f"{one.cause.title(context.source, context.target)}: {one.cause.fix}"
                  for one in getattr(report, "causes", ())[:3]]
        return Found("fail", {**({"why": causes[0], "causes": causes} if causes else {}), **seen, "first": names[:8]},
                     _json(report))
    if not report.compared:
        return Found("inconclusive", {**seen, "why": "nothing was compared"})
    return Found("pass", seen, _json(report))


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
    """A floor, and not worse than what runs now: paired by question where both sides have the same questions."""
    if context.measures.evaluate is None:
        return absent(gate, context)
    name = gate.metric.removeprefix("eval.")
    score = context.measures.evaluate(name)
    seen: dict[str, object] = {"score": decimal(score.value), "samples": str(len(score.samples))}
    if not math.isfinite(score.value):
        return Found("inconclusive", {**seen, "why": "there is no score"}, score.as_json())
    now = context.measures.baseline(name) if context.measures.baseline else None
    result = {"candidate": score.as_json(), "now": now.as_json() if now else None}
    if not gate.met(score.value):
        return Found("fail", seen, result)
    if now is None:
        return Found("pass", {**seen, "now": "nothing runs"}, result)
    worse, said = _worse(score, now)
    return Found("fail" if worse else "pass", {**seen, **said}, result)


def _worse(score: Score, now: Score) -> tuple[bool, dict[str, str]]:
    """Is the mean of paired differences below nought beyond chance? The interval is the normal one of a mean
    (one-sided 95 %), for 20 pairs or more; with fewer, only what is worse in the mean and in no pair better counts."""
    shared = sorted(score.samples.keys() & now.samples.keys())
    said = {"now": decimal(now.value), "pairs": str(len(shared))}
    if not shared:
        return False, {**said, "why": "no question is known on both sides: not compared"}
    differences = [score.samples[one] - now.samples[one] for one in shared]
    mean = math.fsum(differences) / len(differences)
    said["difference"] = decimal(mean)
    if len(shared) < _LEAST_PAIRS:
        return mean < 0 and max(differences) <= 0 and sum(one < 0 for one in differences) >= 5, said
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in differences) / (len(differences) - 1))
    high = mean + _Z * spread / math.sqrt(len(differences))
    return high < 0, {**said, "at_most": decimal(high)}


def decimal(value: float) -> str:
    """A number as records spell it: six digits, no exponent."""
    return re.sub(r"\.?0+$", "", text) if "." in (text := format(Decimal(f"{value:.6g}"), "f")) else text


def _json(report: object) -> object:
    as_json = getattr(report, "as_json", None)
    if callable(as_json):
        return as_json()
    return {"compared": getattr(report, "compared", None), "tokens": getattr(report, "tokens", None),
            "differences": [str(one) for one in getattr(report, "differences", ())]}


