"""The document of `fit`, as types."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from modelkit.planning.fit.budget import Source
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.interval import Interval
from modelkit.planning.fit.quality import Quality
from modelkit.planning.fit.report import Verdict
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.speed import Speed
from modelkit.planning.fit.users import Users
from modelkit.planning.fit.verified import Held, Unit


class FitLine(TypedDict):
    """One thing that takes memory, in bytes. `how` is the sum in words, `source` who says it."""

    name: str
    place: str
    size: int
    how: str
    source: Source
    between: NotRequired[Interval | None]


class FitBudget(TypedDict):
    """All lines; sums, what there is and what is left (null where nobody knows) by place: `ram`, `gpu0` …"""

    lines: list[FitLine]
    capacity: dict[str, int]
    total: dict[str, int]
    free: dict[str, int | None]
    fits: bool | None
    notes: list[str]


class FitRung(TypedDict):
    """The model in one precision: `weights` and `kv` in bytes, `reason` why it is taken or not."""

    precision: str
    verdict: Verdict
    reason: str
    serving: Serving
    weights: int
    kv: int
    budget: FitBudget
    speed: Speed | None
    quality: Quality | None
    own: bool
    sized_by: str


class FitWayOut(TypedDict):
    """One line of a Modelfile that would help: what it buys in bytes, what it costs in words."""

    write: str
    buys: int
    costs: str
    fits: bool | None
    decode: Interval | None


class FitUsers(TypedDict):
    limit: str
    users: Users | None


class FitStep(TypedDict):
    tokens: int
    weights: int
    cache: int
    rest: int
    total: int


class FitCurve(TypedDict):
    precision: str
    steps: list[FitStep]


class FitPlot(TypedDict):
    """Memory against context, of the place where it is scarcest; `--plot`."""

    place: str
    memory: list[FitCurve]


class FitCheck(TypedDict):
    """A prediction against what was measured; `within`, or `low` and `high`, are what is promised."""

    name: str
    place: str
    unit: Unit
    predicted: float
    measured: float
    within: float | None
    low: float | None
    high: float | None
    lines: list[str]
    why: str
    error: float | None
    held: Held


class FitVerified(TypedDict):
    """`--verify`."""

    schema: Literal["modelkit.verified/1"]
    at: str
    engine: str
    holds: bool
    checks: list[FitCheck]
    notes: list[str]


class FitSibling(TypedDict):
    """A checkpoint of the same base: `write` is the line of a Modelfile, `size` in bytes, `bits` a weight."""

    repo: str
    write: str
    precision: str
    size: int
    bits: float
    downloads: int
    official: bool
    how: str
    refused: str | None


class FitSiblings(TypedDict):
    """`--siblings`: those that can be served first, best first."""

    base: str
    siblings: list[FitSibling]


class Fit(TypedDict):
    """`fit`: one stage on one machine. `fits` is null where that is not known."""

    schema: Literal["modelkit.fit/1"]
    model: str
    stage: str
    engine: str
    fits: bool | None
    hardware: Hardware
    quantize: str
    now: FitRung
    ladder: list[FitRung]
    ways_out: list[FitWayOut]
    notes: list[str]
    users: NotRequired[list[FitUsers]]
    cost_per_million: NotRequired[Interval | None]
    plot: NotRequired[FitPlot]
    verified: NotRequired[FitVerified]
    siblings: NotRequired[FitSiblings]
