"""What was predicted of a stage, held against what its engine really took and how fast it really was. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from modelkit.planning.fit import llama_log, vllm_log
from modelkit.planning.fit.budget import Budget, Line
from modelkit.planning.fit.interval import Interval
from modelkit.planning.fit.sizes import figure, spelled

SCHEMA = "modelkit.verified/1"

LINES, PROCESS = 0.01, 0.03
"""What is promised of llama.cpp on a processor: each line within 1 %, the process within 3 %."""

_ROUNDED = 0.01 * 2**20
"""Bytes: logs say MiB with two decimals."""

Unit = Literal["bytes", "tokens", "conversations", "tok/s", "s"]
Held = Literal["held", "missed", "not promised", "not judged"]

_KINDS: tuple[tuple[str, llama_log.Kind], ...] = (
    ("weights", "model"), ("embedding", "model"), ("attention cache", "KV"), ("KV", "KV"), ("recurrent state", "RS"),
    ("compute", "compute"), ("output", "output"))
"""Lines by their names, and the kind that llama.cpp's log gives such memory."""

_ALLOWANCES = ("margin", "reserve")
"""Lines that nothing takes: room that is kept."""


@dataclass(frozen=True)
class Check:
    """One figure. `within` is the relative error that is promised, `low` and `high` the range; None: nothing is.

    `lines` are the budget's lines that it is about. `why` says why it could not be judged.
    """

    name: str
    place: str
    unit: Unit
    predicted: float
    measured: float
    within: float | None = None
    low: float | None = None
    high: float | None = None
    lines: tuple[str, ...] = ()
    why: str = ""

    @property
    def error(self) -> float | None:
        """Of the prediction, relative to what was measured."""
        return self.predicted / self.measured - 1 if self.measured else None

    @property
    def held(self) -> Held:
        if self.why:
            return "not judged"
        if self.low is not None and self.high is not None:
            return "held" if self.low <= self.measured <= self.high else "missed"
        if self.within is None:
            return "not promised"
        slack = _ROUNDED if self.unit == "bytes" else 0.005 if self.unit == "conversations" else 0.0
        near = abs(self.predicted - self.measured) <= self.within * self.measured + slack
        return "held" if near else "missed"


@dataclass(frozen=True)
class Verification:
    """One start of an engine, and what it showed."""

    at: str
    engine: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Was everything as good as promised?"""
        return not any(one.held == "missed" for one in self.checks)

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "at": self.at, "engine": self.engine, "holds": self.holds, "checks": [
            asdict(one) | {"lines": list(one.lines), "error": one.error, "held": one.held} for one in self.checks],
            "notes": list(self.notes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verification:
        """Of what `as_json` made. Raises ValueError for anything else."""
        try:
            if value["schema"] != SCHEMA:
                raise ValueError(f"not a {SCHEMA} document")
            checks = [Check(**{name: one[name] for name in Check.__dataclass_fields__} | {"lines": tuple(one["lines"])})
                      for one in value["checks"]]
            return cls(str(value["at"]), str(value["engine"]), tuple(checks), tuple(map(str, value["notes"])))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a {SCHEMA} document: {error}") from None


def llama_checks(budget: Budget, log: str) -> Iterator[Check]:
    """llama.cpp's own lines against the budget's, for each place; none of a log that says no sizes. On a GPU nothing
    is promised yet."""
    measured = llama_log.read(log)
    predicted: dict[tuple[str, llama_log.Kind], list[Line]] = {}
    for line in budget.lines:
        if (kind := kind_of(line)) is not None and line.size:
            predicted.setdefault((line.place, kind), []).append(line)
    for place, kind in dict.fromkeys((*predicted, *measured)) if measured else ():
        lines = predicted.get((place, kind), [])
        yield Check(_NAMES[kind], place, "bytes", sum(line.size for line in lines), measured.get((place, kind), 0),
                    LINES if place == "ram" else None, lines=tuple(line.name for line in lines))


_NAMES: dict[llama_log.Kind, str] = {"model": "weights", "KV": "attention cache", "RS": "recurrent state",
                                     "compute": "compute", "output": "output"}


def kind_of(line: Line) -> llama_log.Kind | None:
    """What llama.cpp's log calls such memory; None for what it does not mention. A draft model's counts as the model's;
    projectors and adapters have lines of their own there."""
    if line.name.startswith(("projector", "adapter")):
        return None
    name = line.name.removeprefix("draft ")
    return next((kind for word, kind in _KINDS if name.startswith(word)), None)


def vllm_checks(log: str, *, tokens: int, concurrency: float, weights: int, cpu: bool) -> Iterator[Check]:
    """vLLM's own lines: the attention cache is exact where its size is said outright, as on a processor."""
    said = vllm_log.read(log)
    exact = 0.0 if cpu else None
    if said.kv_tokens is not None:
        yield Check("attention cache", "", "tokens", tokens, said.kv_tokens, exact)
    if said.concurrency is not None:
        yield Check("conversations at full length", "", "conversations", concurrency, said.concurrency, exact)
    if said.weights is not None:
        yield Check("weights", "ram" if cpu else "gpu0", "bytes", weights, said.weights)


def process_check(predicted: int, resident: int, *, promised: bool) -> Check:
    """All that a process takes of the machine's memory."""
    return Check("the whole process", "ram", "bytes", predicted, resident, PROCESS if promised else None)


def taken(budget: Budget, place: str = "ram") -> int:
    """Bytes of a place that the lines really take: all but room that is kept."""
    return sum(line.size for line in budget.lines if line.place == place and not line.name.startswith(_ALLOWANCES))


def speed_check(name: str, predicted: Interval, measured: float, *, why: str = "") -> Check:
    """Tokens a second, which are to lie inside the printed interval."""
    return Check(name, "", "tok/s", predicted.expected, measured, low=predicted.low, high=predicted.high, why=why)


def remembered(budget: Budget, known: Verification) -> Budget:
    """The same with what was measured in place of what is predicted, line by line where a figure is about one line."""
    sizes = {(one.place, one.lines[0]): one for one in known.checks if len(one.lines) == 1 and one.measured}
    lines = [_measured(line, sizes.get((line.place, line.name)), known.at) for line in budget.lines]
    return replace(budget, lines=tuple(lines))


def _measured(line: Line, check: Check | None, at: str) -> Line:
    if check is None:
        return line
    return replace(line, size=round(check.measured), source="measured",
                   how=f"{at[:10]}; predicted {spelled(check.predicted)}: {line.how}")


def rows(checks: Iterable[Check]) -> Iterator[tuple[str, ...]]:
    """What, where, predicted, measured, error, what is promised, and whether it held."""
    for one in checks:
        error = "" if one.error is None else f"{100 * one.error:+.1f} %"
        yield (one.name, one.place, amount(one.predicted, one), amount(one.measured, one), error, promise(one),
               one.held if not one.why else f"{one.held}: {one.why}")


def promise(check: Check) -> str:
    """In words.

    >>> promise(Check("decode", "", "tok/s", 60, 62, low=50, high=75)), promise(Check("x", "", "tokens", 1, 1, 0.0))
    ('50 to 75', 'exact')
    """
    if check.low is not None and check.high is not None:
        return f"{figure(check.low)} to {figure(check.high)}"
    if check.within is None:
        return ""
    return f"within {100 * check.within:g} %" if check.within else "exact"


def amount(value: float, check: Check) -> str:
    """In the check's unit."""
    if check.unit == "bytes":
        return spelled(value)
    if check.unit == "conversations":
        return f"{value:.2f}x"
    return f"{value:,.0f} tokens" if check.unit == "tokens" else f"{figure(value)} {check.unit}"
