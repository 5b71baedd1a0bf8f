"""Is the candidate worse than what serves? Decided from counts, with a guard against too few of them.

Both questions are asked of the end of an interval that is kind to the candidate, so that noise aborts nothing:
its error rate by Wilson's interval (`intervals.wilson`), its 95th percentile by the order statistics
that bound a quantile whatever the distribution (W. J. Conover, Practical Nonparametric Statistics, section 3.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from modelkit.release.intervals import Z95, wilson
from modelkit.release.promotion.counts import Counts, Histogram
from modelkit.release.verdict import Verdict

_P = 0.95
_ALLOWED_ERRORS = 0.01  # a rate up to this is nobody's reason to go back
_ALLOWED_SECONDS = 0.05  # nor are so many seconds more
_FEW = 10  # requests, below which not even errors say anything


@dataclass(frozen=True)
class Limits:
    """`requests` that each side must have answered; `ratio` of the candidate's to the stable one's, from which on it
    is worse."""

    requests: int = 50
    ratio: float = 1.5


@dataclass(frozen=True)
class Judgement:
    """`fail`: worse. `inconclusive`: too few requests to say. `reason` says why, `observed` with which numbers."""

    verdict: Verdict
    reason: str
    observed: dict[str, str] = field(default_factory=dict)


def judge(stable: Counts, candidate: Counts, limits: Limits) -> Judgement:
    """Compare what both have answered in the same time."""
    observed = _observed(stable, candidate)
    for what, ours, theirs in (("failed", candidate.errors, stable.errors),
                               ("were refused", candidate.refused, stable.refused)):
        allowed = max(_ALLOWED_ERRORS, limits.ratio * theirs / max(1, stable.requests))
        if candidate.requests >= _FEW and wilson(ours, candidate.requests).low > allowed:
            return Judgement("fail", f"{ours} of {candidate.requests} requests to the candidate {what}, "
                             f"{theirs} of {stable.requests} to what serves", observed)
    for who, counts in (("the candidate", candidate), ("what serves", stable)):
        if (answered := counts.duration.total) < limits.requests:
            return Judgement("inconclusive", f"{who} gave {answered} whole answers; {limits.requests} are needed to "
                             "compare", observed)
    return _judge_times(stable, candidate, limits, observed)


def _judge_times(stable: Counts, candidate: Counts, limits: Limits, observed: dict[str, str]) -> Judgement:
    what, ours, theirs = _times(stable, candidate, limits.requests)
    if (slow := _slower(ours, theirs, limits.ratio)) is not None:
        return Judgement("fail", f"the candidate's p95 of {what} is {slow[0]:.3f} s, that of what serves "
                         f"{slow[1]:.3f} s", observed)
    return Judgement("pass", f"{candidate.requests} requests, none of the measures worse by {limits.ratio:g} times",
                     observed)


def quantile_lower(times: Histogram, q: float = _P) -> float:
    """Seconds that are, with 97.5 %, not above the true quantile: those of a lower rank."""
    n = times.total
    return times.at_rank(max(1.0, math.floor(n * q - Z95 * math.sqrt(n * q * (1 - q)))))


def _times(stable: Counts, candidate: Counts, needed: int) -> tuple[str, Histogram, Histogram]:
    """The first token's times where both streamed enough, else those of whole answers."""
    if min(stable.ttft.total, candidate.ttft.total) >= needed:
        return "time to first token", candidate.ttft, stable.ttft
    return "time to the answer", candidate.duration, stable.duration


def _slower(candidate: Histogram, stable: Histogram, ratio: float) -> tuple[float, float] | None:
    theirs = stable.quantile(_P)
    if quantile_lower(candidate) > max(ratio * theirs, theirs + _ALLOWED_SECONDS):
        return candidate.quantile(_P), theirs
    return None


def _observed(stable: Counts, candidate: Counts) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, counts in (("candidate", candidate), ("stable", stable)):
        found |= {f"{name}.requests": str(counts.requests), f"{name}.errors": str(counts.errors),
                  f"{name}.refused": str(counts.refused)}
        for what, times in (("ttft", counts.ttft), ("e2e", counts.duration)):
            if times.total:
                found[f"{name}.{what}.p95"] = f"{times.quantile(_P):.4f}"
    return found
