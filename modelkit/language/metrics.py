"""What an `EXPECT` of a stage can measure, in which unit, and by which kind of gate (`modelkit.release.gates`).

Latencies are the client's: `ttft` from the request's last byte to the first token, `itl` the gap between two tokens
of one answer, `e2e` to the answer's end.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from modelkit.language.kinds import Duration, Real, Share, Size, Whole, Wrong

Operator = Literal["<", "<=", "==", "!=", ">=", ">"]
OPERATORS: tuple[Operator, ...] = ("<=", ">=", "==", "!=", "<", ">")  # the long ones first: a prefix must not win


class Rate(NamedTuple):
    """Tokens a second: `25 tok/s`, or the number alone."""

    says: str = "a number of tokens a second, such as `25 tok/s`"

    def read(self, text: str) -> float | Wrong:
        number = re.sub(r"\s*(tok(ens)?/s(ec(ond)?)?|tps)$", "", text)
        value = Real(0, above_low=True).read(number)
        return value if isinstance(value, float) else Wrong(self.says)


class Metric(NamedTuple):
    """One thing to measure. `base` is the unit that a checked value is in, `gate` the kind of the gate that does."""

    name: str
    kind: Duration | Rate | Share | Size | Real | Whole
    base: str
    doc: str
    gate: str = "slo"
    effective: bool = True


_LATENCIES = {"ttft": "Time to the first token", "itl": "Time between two tokens", "e2e": "Time to the whole answer"}
_PERCENTILES = {"p50": "median", "p90": "90th percentile", "p95": "95th percentile", "p99": "99th percentile"}

METRICS: dict[str, Metric] = {row.name: row for row in (
    *(Metric(f"{latency}.{percentile}", Duration(), "seconds", f"{what}, {which}.")
      for latency, what in _LATENCIES.items() for percentile, which in _PERCENTILES.items()),
    Metric("tokens_per_second", Rate(), "tokens a second", "Tokens of all answers together, each second."),
    Metric("tests", Share(), "fraction", "The part of the file's tests that pass.", "tests"),
    Metric("errors", Share(), "fraction", "The part of requests that fail."),
    Metric("memory", Size(), "bytes", "What the engine's processes take after its tests and load: of a GPU where it "
           "computes on one.", "fit"),
    Metric("soak", Duration(), "seconds", "How long the stage before has run what is promoted, without a restart.",
           "soak"),
    Metric("approvals", Whole(0, 100), "people", "How many others than the author approved of it.", "approval"),
)}

EVAL = Metric("eval.NAME", Share(), "fraction", "The score of an evaluation by its name, and not below that "
              "of what runs now.", "eval")


METRIC_SYNONYMS = {"latency": "e2e.p95", "tpot": "itl.p50", "throughput": "tokens_per_second",
                   "tps": "tokens_per_second", "error_rate": "errors", "vram": "memory", "pass_rate": "tests",
                   "approval": "approvals", "soak_time": "soak"}


def metric(name: str) -> Metric | None:
    """The row for a metric's name; every `eval.…` is one."""
    if re.fullmatch(r"eval\.[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        return EVAL
    return METRICS.get(name)


def metric_names() -> tuple[str, ...]:
    return (*METRICS, "eval.")
