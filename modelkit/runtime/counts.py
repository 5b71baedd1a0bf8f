"""What a generation answered between two looks at its counts, with percentiles."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from modelkit.failure import Failure
from modelkit.runtime.tally import SHORTEST, STEPS

_PERCENTILES = (50, 90, 95, 99)
_TIMES = ("ttft", "duration")

Counts = dict[str, Any]


def difference(now: Mapping[str, Any], since: Mapping[str, Any] | None) -> Counts:
    """`now` less `since`, which may be a difference itself. Raises Failure where the two can't be compared."""
    base: Mapping[str, Any] = {} if since is None else since.get("total", since)
    if base and (base["run_id"], base["generation"]) != (now["run_id"], now["generation"]):
        raise Failure("other-run", f"these counts are of another {_other(now, base)}", "count from here on")
    return {**{name: now[name] for name in ("run_id", "generation", "at")},
            "seconds": now["at"] - base.get("at", now["started"]),
            **{side: _less(now[side], base.get(side, {})) for side in ("served", "mirrored")}, "total": dict(now)}


def percentile(buckets: Mapping[str, int], percent: float) -> float | None:
    """The nearest-rank percentile, in seconds, within 2.2 %: a bucket stands for its geometric middle.

    >>> percentile({}, 95), round(percentile({"0": 1, "160": 99}, 50), 3)
    (None, 0.1)
    """
    count = sum(buckets.values())
    rank, seen = max(1, ceil(count * percent / 100)), 0
    for at, here in sorted((int(at), here) for at, here in buckets.items()):
        seen += here
        if seen >= rank:
            return float(SHORTEST * 2 ** ((at - 0.5) / STEPS)) if at else SHORTEST
    return None


def _less(now: Mapping[str, Any], base: Mapping[str, Any]) -> Counts:
    return {name: _spread(value, base.get(name, {})) if name in _TIMES else value - base.get(name, 0)
            for name, value in now.items()}


def _spread(now: Mapping[str, Any], base: Mapping[str, Any]) -> Counts:
    before = base.get("buckets", {})
    buckets = {at: more for at, count in now["buckets"].items() if (more := count - before.get(at, 0))}
    return {"count": sum(buckets.values()), "sum": now["sum"] - base.get("sum", 0.0),
            **{f"p{percent}": percentile(buckets, percent) for percent in _PERCENTILES}, "buckets": buckets}


def _other(now: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    return "run: the supervisor was started anew" if now["run_id"] != base["run_id"] else "generation"
