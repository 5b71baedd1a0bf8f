"""What an author could write so that a stage fits: each change alone, what it buys and what it costs. Pure.

A change is made to the plan and the engine's question (`Serving`) is asked again, so that what is promised here is
what the same words in the Modelfile would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from modelkit.planning.fit.ladder import place_words
from modelkit.planning.fit.report import Rung, WayOut
from modelkit.planning.fit.sizes import spelled
from modelkit.planning.plan import Origin, Plan, Setting

_LEAST_CONTEXT = 512  # tokens; below it no conversation is one
_STEP = 256  # llama.cpp rounds contexts up to it, and vLLM's blocks divide it
_TRIED = Origin(kind="command line", where="tried")


@dataclass(frozen=True)
class Change:
    """One line of a Modelfile, and the plan as it would be with it. `rank` orders what hurts least first."""

    write: str
    plan: Plan
    costs: str
    rank: int


def with_setting(plan: Plan, name: str, value: Any) -> Plan:
    """The plan as if the author had written that."""
    others = [one for one in plan.settings if one.name != name]
    said = Setting(name=name, value=value, origin=_TRIED)
    fields = {"num_ctx": "context_length", "serve.max_concurrency": "max_concurrency"}
    more = {fields[name]: int(value)} if name in fields else {}
    return plan.model_copy(update={"settings": tuple(sorted((*others, said), key=lambda one: one.name)), **more})


def changes(plan: Plan, now: Rung, weigh: Callable[[Plan], Rung]) -> Iterator[Change]:
    """What could be written but for QUANTIZE: of each kind the least that makes it fit, else the most that it buys."""
    gguf = plan.engine_name.startswith("llama")
    if plan.task == "chat":
        yield from _caches(plan, gguf)
    yield from _fewer(plan, weigh)
    yield from _shorter(plan, weigh)
    yield from _layers(plan, now, weigh) if gguf else _gpus(plan, now)


def _caches(plan: Plan, gguf: bool) -> Iterator[Change]:
    said = plan.setting("serve.kv_cache")
    now = str(said.value) if said is not None else "auto"
    if gguf and now in ("auto", "f16", "bf16"):
        yield Change("SERVE kv_cache q8_0", with_setting(plan, "serve.kv_cache", "q8_0"),
                     "keys and values in 8.5 bits", 1)
    if gguf and now != "q4_0":
        yield Change("SERVE kv_cache q4_0", with_setting(plan, "serve.kv_cache", "q4_0"),
                     "keys and values in 4.5 bits, which long conversations feel", 8)
    if not gguf and now in ("auto", "f16", "bf16"):
        yield Change("SERVE kv_cache fp8", with_setting(plan, "serve.kv_cache", "fp8"), "keys and values in 8 bits", 1)


def _fewer(plan: Plan, weigh: Callable[[Plan], Rung]) -> Iterator[Change]:
    """Fewer conversations at once: as many as fit, else one."""
    most = plan.max_concurrency
    if most > 1:
        fitting = _largest(1, most - 1, lambda number: weigh(with_setting(plan, "serve.max_concurrency", number)).fits)
        number = fitting or 1
        yield Change(f"SERVE max_concurrency {number}", with_setting(plan, "serve.max_concurrency", number),
                     f"{number} instead of {most} conversations at once: the others wait", 2)


def _shorter(plan: Plan, weigh: Callable[[Plan], Rung]) -> Iterator[Change]:
    """Shorter conversations: as long as fits, else a quarter."""
    most = (plan.context_length - 1) // _STEP
    if plan.context_length <= _LEAST_CONTEXT:
        return
    steps = _largest(_LEAST_CONTEXT // _STEP, most,
                     lambda number: weigh(with_setting(plan, "num_ctx", number * _STEP)).fits)
    tokens = steps * _STEP if steps else max(_LEAST_CONTEXT, plan.context_length // 4)
    yield Change(f"PARAMETER num_ctx {tokens}", with_setting(plan, "num_ctx", tokens),
                 f"conversations end at {tokens} instead of {plan.context_length} tokens", 4)


def _layers(plan: Plan, now: Rung, weigh: Callable[[Plan], Rung]) -> Iterator[Change]:
    """Fewer layers on the GPU, where the GPU is what lacks."""
    layers = plan.shape.layers or 0
    if not layers or not any((now.budget.free(place) or 0) < 0 for place in now.budget.capacity if place != "ram"):
        return
    number = _largest(0, layers, lambda number: weigh(with_setting(plan, "num_gpu", number)).fits)
    if number is not None:
        yield Change(f"PARAMETER num_gpu {number}", with_setting(plan, "num_gpu", number),
                     f"{layers - number} of {layers} layers in RAM, and so slower", 5)


def _gpus(plan: Plan, now: Rung) -> Iterator[Change]:
    """More GPUs that share the weights."""
    said = plan.setting("serve.tensor_parallel")
    have = int(said.value) if said is not None else 1
    heads = plan.shape.attention_heads
    if now.serving.gpu_memory is None and now.serving.kv_cache_bytes is not None:
        return  # computed on processors
    for number in (2 * have, 4 * have, 8 * have):
        if heads and heads % number == 0:
            yield Change(f"SERVE tensor_parallel {number}", with_setting(plan, "serve.tensor_parallel", number),
                         f"{number} GPUs for one copy", 6)


def _largest(low: int, high: int, fits: Callable[[int], bool | None]) -> int | None:
    """The largest number from `low` to `high` that fits, by bisection; None where not even `low` does."""
    if high < low or not fits(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def ways_out(plan: Plan, now: Rung, weigh: Callable[[Plan], Rung], coarser: Rung | None = None, *,
             most: int = 3) -> tuple[tuple[WayOut, Plan], ...]:
    """The cheapest ways to make it fit, each with its plan; where none does alone, those that buy most. `coarser` is
    the best precision below the one that is served, if there is one."""
    found: list[tuple[int, WayOut, Plan]] = []
    if coarser is not None:
        found.append((3, _way(f"QUANTIZE {coarser.precision}", now, coarser, quality_words(coarser)),
                      with_setting(plan, "quantize", coarser.precision)))
    for one in changes(plan, now, weigh):
        way = _way(one.write, now, weigh(one.plan), one.costs)
        if way.buys > 0:
            found.append((one.rank, way, one.plan))
    fitting = [(way, then) for _, way, then in sorted(found, key=lambda each: each[0]) if way.fits]
    rest = sorted(((way, then) for _, way, then in found if not way.fits), key=lambda each: -each[0].buys)
    return tuple((fitting + rest)[:most])


def _way(write: str, now: Rung, then: Rung, costs: str) -> WayOut:
    place = tightest(now)
    before, after = ((one.budget.total(place) if place else one.weights + one.kv) for one in (now, then))
    return WayOut(write, before - after, costs, then.fits, then.speed.decode if then.speed is not None else None)


def tightest(rung: Rung) -> str | None:
    """The place that lacks most, or has least left; None where nobody knows what any has."""
    known = {place: left for place in rung.budget.capacity if (left := rung.budget.free(place)) is not None}
    return min(known, key=lambda place: known[place]) if known else None


def quality_words(rung: Rung) -> str:
    """What is known of what a precision costs, with where that was measured."""
    return str(rung.quality) if rung.quality is not None else "what it costs in quality was not measured"


def in_words(way: WayOut, place: str | None) -> str:
    """One line: `SERVE kv_cache q8_0: 2.0 GiB less of GPU 0: keys and values in 8.5 bits`."""
    where = f" of {place_words(place)}" if place else ""
    still = "" if way.fits else ", not enough alone"
    return f"{way.write}: {spelled(way.buys)} less{where}{still}: {way.costs}"
