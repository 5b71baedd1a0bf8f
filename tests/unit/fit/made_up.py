"""Reports as the choice makes them, of a model that nobody has."""

from __future__ import annotations

from dataclasses import replace

from modelkit.planning.fit.budget import Budget, Line
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.interval import Interval
from modelkit.planning.fit.report import FitReport, Rung, WayOut
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.speed import Speed

GiB = 1 << 30
SERVING = Serving("llama.cpp", 8192, 2, "f16", kv_tokens=16384)
LAPTOP = Hardware("this machine", cpus=8, ram=16 * GiB, ram_free=9 * GiB, cpu_bandwidth=51.2e9, cpu_flops=1e11)
CARD = Hardware("rtx4090", (Device("RTX-4090", "cuda", 24 * GiB),))


def budget(weights: float, tokens: int = 8192, *, place: str = "ram", capacity: float | None = 16) -> Budget:
    """Weights in GiB, an eighth of a MiB for each token, half a GiB for everything else."""
    lines = (Line("weights", place, round(weights * GiB), "272 tensors", "file"),
             Line("attention cache", place, tokens << 17, f"{tokens} cells x 131072 B"),
             Line("compute", place, GiB // 4, "as llama.cpp says", "engine"),
             Line("margin", place, GiB // 4, "for what nobody counts", "reserve"))
    return Budget(lines, {} if capacity is None else {place: round(capacity * GiB)})


def speed(pace: float) -> Speed:
    one = Interval(pace * 0.8, pace, pace * 1.25)
    return Speed(one, one.scaled(0.7), one.scaled(1.8), one.scaled(0.9), one.scaled(20), Interval(1, 2, 3), 2, 512,
                 ("bytes by bandwidth",))


def rung(precision: str, weights: float, verdict: str = "fits", reason: str = "fits, too", **said: object) -> Rung:
    return Rung(precision, verdict, reason, SERVING, round(weights * GiB), GiB, budget(weights),  # type: ignore[arg-type]
                speed(100 / weights), **said)  # type: ignore[arg-type]


def report(capacity: float | None = 16) -> FitReport:
    """Q8_0 is taken; F16 would not fit, one precision cannot be had."""
    taken = replace(rung("Q8_0", 7.6, "taken", "the best that fits"), budget=budget(7.6, capacity=capacity))
    ladder = (rung("F16", 14.9, "too-large", "1.4 GiB too much"), taken, rung("Q4_K_M", 4.6),
              rung("IQ1_S", 1.9, "refused", "made with an importance matrix only"))
    ways = (WayOut("SERVE kv_cache q8_0", GiB // 2, "keys and values in 8.5 bits", True, Interval(90, 110, 130)),)
    return FitReport("bot", "dev", "llama.cpp", LAPTOP, "auto >= Q4_K_M", taken, ladder, ways, ("a note",))
