"""Limits that a load is held to: `ttft.p95 <= 500ms`, in the language's own words."""

from __future__ import annotations

import operator
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict

from modelkit.failure import Failure
from modelkit.language.metrics import METRIC_SYNONYMS, METRICS, OPERATORS
from modelkit.language.modelfile import Expectation
from modelkit.release.verdict import Verdict

_COMPARE = {"<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">=": operator.ge,
            ">": operator.gt}
_BEYOND = ("goodput", "requests_per_second")  # what is measured, too, and has no word in the language
_SHAPE = re.compile(rf"\s*(?P<metric>[a-z_0-9.]+)\s*(?P<op>{'|'.join(map(re.escape, OPERATORS))})\s*(?P<value>.+?)\s*")


def met(op: str, value: float, limit: float) -> bool:
    """`value op limit`."""
    return bool(_COMPARE[op](value, limit))


class Limit(BaseModel):
    """One of them; `value` in the metric's base unit, `text` as it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    metric: str
    op: Literal["<", "<=", "==", "!=", ">=", ">"]
    value: float
    text: str

    @property
    def latency(self) -> str | None:
        """The latency that it is about, for what is asked of one answer: `ttft` of `ttft.p95`."""
        head, _, percentile = self.metric.partition(".")
        return head if percentile and head in ("ttft", "itl", "e2e") else None

    def met(self, value: float) -> bool:
        return met(self.op, value, self.value)


class Held(BaseModel):
    """A limit and what was seen. `why` where that shows nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    limit: Limit
    observed: float | None
    verdict: Verdict
    why: str | None = None


def of_expectation(said: Expectation) -> Limit | None:
    """An EXPECT of a stage that a load can show; None for another kind."""
    known = METRICS.get(said.metric)
    if known is None or said.metric in ("tests", "memory") or said.metric not in measurable():
        return None
    return Limit(metric=said.metric, op=said.op, value=said.value, text=said.text)


def measurable() -> tuple[str, ...]:
    """Names that a benchmark can hold a load to."""
    own = [name for name in METRICS if "." in name or name in ("tokens_per_second", "errors")]
    return (*own, *_BEYOND)


def limit(text: str) -> Limit:
    """The limit that a word on the command line says. Raises Failure."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise Failure("usage", f"`{text}` is no limit", hint="for example --limit 'ttft.p95 <= 500ms'")
    name = METRIC_SYNONYMS.get(match["metric"], match["metric"])
    if name not in measurable():
        raise Failure("usage", f"a benchmark measures no `{match['metric']}`",
                      hint="it measures " + ", ".join(measurable()))
    kind = METRICS["tokens_per_second" if name in _BEYOND else name].kind
    value = kind.read(match["value"])
    if not isinstance(value, int | float):
        raise Failure("usage", f"`{match['value']}` of `{text}` must be {value.must_be}")
    op = next(one for one in OPERATORS if one == match["op"])
    return Limit(metric=name, op=op, value=float(value), text=f"{name} {op} {match['value']}")
