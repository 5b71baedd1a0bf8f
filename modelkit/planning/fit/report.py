"""What is known of how well a stage fits a machine: how it is now, what else it could be, and what would help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from modelkit.models.anatomy import Anatomy
    from modelkit.planning.fit.budget import Budget
    from modelkit.planning.fit.hardware import Hardware
    from modelkit.planning.fit.interval import Interval
    from modelkit.planning.fit.serving import Serving

Verdict = Literal["taken", "fits", "too-large", "too-slow", "too-coarse", "refused", "unknown"]
"""Of one rung: what is served; what could be, and comes after it; what memory, the speed asked for or `>= TYPE` forbid;
what cannot be had or served; what nobody knows enough of."""


@dataclass(frozen=True)
class Rung:
    """The model in one precision, served in one way. `reason` says in one phrase why it is taken or not."""

    precision: str  # a word of QUANTIZE, or the base's own
    verdict: Verdict
    reason: str
    serving: Serving
    weights: int  # bytes of all tensors
    kv: int  # bytes of what is kept of conversations
    budget: Budget
    speed: Any | None = None  # modelkit.planning.fit.speed.Speed
    quality: Any | None = None  # modelkit.planning.fit.quality.Quality
    own: bool = False  # as the base has it: nothing is made
    sized_by: str = ""  # who says what its weights take: headers, the quantizer's dry run, rules
    anatomy: Anatomy | None = field(default=None, repr=False, compare=False)  # in this precision; not in JSON

    @property
    def fits(self) -> bool | None:
        return self.budget.fits


@dataclass(frozen=True)
class WayOut:
    """One change that would help, as it is written in a Modelfile. `buys` is bytes of the place that lacks most."""

    write: str  # `SERVE kv_cache q8_0`
    buys: int
    costs: str  # what gets worse, in words; `nothing known` is never said
    fits: bool | None  # with this one change alone
    decode: Interval | None = None  # tokens a second of one user with it


@dataclass(frozen=True)
class FitReport:
    """All of it. `now` is what the stage says (what `auto` chose, where it says `auto`); `ladder` is best first."""

    model: str
    stage: str
    engine: str
    hardware: Hardware
    asked: str  # QUANTIZE as it is written: `auto >= Q4_K_M`, `Q8_0`, `none`
    now: Rung
    ladder: tuple[Rung, ...] = ()
    ways_out: tuple[WayOut, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool | None:
        return self.now.fits

    def as_json(self) -> dict[str, Any]:
        """Plain values, of schema `modelkit.fit/1`."""
        return {"schema": "modelkit.fit/1", "model": self.model, "stage": self.stage, "engine": self.engine,
                "fits": self.fits, "hardware": plain(self.hardware), "quantize": self.asked,
                "now": plain(self.now), "ladder": [plain(one) for one in self.ladder],
                "ways_out": [plain(one) for one in self.ways_out], "notes": list(self.notes)}


def plain(value: Any) -> Any:
    """A dataclass and what it holds as JSON has it; a budget with its totals and what is left, by place."""
    from modelkit.planning.fit.budget import Budget

    if isinstance(value, Budget):
        return dict(_fields(value)) | {"total": {place: value.total(place) for place in places(value)},
                                       "free": {place: value.free(place) for place in places(value)},
                                       "fits": value.fits}
    if hasattr(value, "__dataclass_fields__"):
        return dict(_fields(value))
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else dict(value)


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    for name in value.__dataclass_fields__:
        if name == "anatomy":
            continue
        yield name, plain(getattr(value, name))


def places(budget: Budget) -> list[str]:
    """Where it takes memory, in the order of its lines."""
    return list(dict.fromkeys(line.place for line in budget.lines))
