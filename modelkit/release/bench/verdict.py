"""What a measured load shows against its limits: yes, no, or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from modelkit.release.bench.limits import Held, Limit
from modelkit.release.bench.loads import Load
from modelkit.release.bench.result import BenchResult, Sample, enough, intervals, numbers, times
from modelkit.release.bench.saturation import Backlog
from modelkit.release.verdict import Verdict, fold

_FAILED = 0.05  # the part of requests from which on the times of the others say little
_LATE = 0.1  # of the median time to the first token
_PACKED = 1.05  # tokens a chunk


def judged(load: Load, samples: tuple[Sample, ...], seconds: float, limits: Sequence[Limit], *,
           notes: tuple[str, ...] = (), queue: Backlog | None = None) -> BenchResult:
    """The result of measured requests. Its verdict is that of its limits; without limits it passes when it shows
    anything, and is inconclusive when it does not."""
    queue = queue or Backlog(False)
    metrics = numbers(samples, max(seconds, 1e-9), limits)
    empty = _nothing_shown(metrics, queue)
    held = tuple(_held(limit, metrics, samples, empty) for limit in limits)
    verdict = fold(one.verdict for one in held) if held else "inconclusive" if empty else "pass"
    return BenchResult(load=load, metrics=metrics, intervals=intervals(samples), samples=samples,
                       seconds=round(seconds, 6), saturated=queue.grows, limits=held, verdict=verdict,
                       notes=(*notes, *filter(None, (queue.shows,)), *_doubts(metrics, samples)))


def _nothing_shown(metrics: dict[str, float], queue: Backlog) -> str | None:
    """Why times and throughput mean nothing; None when they do."""
    if not metrics or metrics["errors"] == 1:
        return "nothing was answered"
    if queue.grows:
        return queue.shows
    if metrics["errors"] > _FAILED:
        return f"{100 * metrics['errors']:.0f} % of the requests failed, so the others had less to share"
    return None


def _held(limit: Limit, metrics: dict[str, float], samples: Sequence[Sample], empty: str | None) -> Held:
    observed = metrics.get(limit.metric)

    def held(verdict: Verdict, why: str | None = None) -> Held:
        return Held(limit=limit, observed=observed, verdict=verdict, why=why)

    if limit.metric == "errors" and observed is not None and not limit.met(observed):
        return held("fail")  # whatever the times are worth, so many failed
    if empty and limit.metric != "errors":
        return held("inconclusive", empty)
    if observed is None:
        return held("inconclusive", "it could not be measured: the engine does not say it")
    count = _count(limit, samples)
    if count < (needed := enough(limit.metric)):
        return held("inconclusive", f"{count} samples, and {limit.metric} takes {needed}")
    return held("pass" if limit.met(observed) else "fail")


def _count(limit: Limit, samples: Sequence[Sample]) -> int:
    answered = [one for one in samples if one.error is None]
    return len(samples) if limit.latency is None else len(times(answered, limit.latency))


def _doubts(metrics: dict[str, float], samples: Sequence[Sample]) -> list[str]:
    found = list[str]()
    failed = [one.error for one in samples if one.error]
    if failed:
        found.append(f"{len(failed)} of {len(samples)} requests failed; the first: {failed[0]}")
    tokens = sum(one.tokens or 0 for one in samples)
    chunks = sum(1 + len(one.itl) for one in samples if one.ttft is not None)
    if chunks and tokens > _PACKED * chunks:
        found.append(f"a chunk has {tokens / chunks:.1f} tokens on average, and itl is the gap between chunks")
    late = sorted(one.late for one in samples)
    if late and late[len(late) // 2] > _LATE * metrics.get("ttft.p50", float("inf")):
        found.append(f"half of the requests left {1000 * late[len(late) // 2]:.0f} ms late or more: this machine is "
                     "too busy to load the engine")
    return found
