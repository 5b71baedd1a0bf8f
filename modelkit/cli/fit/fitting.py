"""How well a stage fits where it runs, and the refusal where it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelkit.cli.fit.weighing import Scale, asked_quantizer, scale_of
from modelkit.failure import Failure
from modelkit.planning.fit.ladder import Wish, candidates, climb, considered, place_words, taken
from modelkit.planning.fit.report import FitReport, Rung, WayOut
from modelkit.planning.fit.sizes import spelled
from modelkit.planning.fit.ways_out import in_words, tightest, ways_out, with_setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkit.cli.stages import Stages
    from modelkit.cli.terminal import Terminal
    from modelkit.cli.weights import Found
    from modelkit.planning.fit.hardware import Hardware
    from modelkit.planning.fit.interval import Interval
    from modelkit.planning.plan import Plan


def report(stages: Stages, stage: str, *, found: Found | None = None, hardware: Hardware | None = None,
           context: int | None = None, concurrency: int | None = None, kv_cache: str | None = None) -> FitReport:
    """How a stage fits the hardware that it says, this machine, or the one that is given; `context`, `concurrency` and
    `kv_cache` as if the Modelfile said so.

    Raises Failure `model-unknown` while nothing is known of its model, and `hardware-unknown`.
    """
    found = found or stages.look(stage)
    plan = stages.plan(stage, found)
    for name, value in (("num_ctx", context), ("serve.max_concurrency", concurrency), ("serve.kv_cache", kv_cache)):
        plan = plan if value is None else with_setting(plan, name, value)
    return reported(asked_quantizer(scale_of(plan, found, stages.store, hardware)))


def reported(scale: Scale) -> FitReport:
    """The same of a stage that is weighed already."""
    wish, rungs = scale.found.wanted.auto, ladder(scale)
    now = taken(rungs) if wish is not None else None
    if now is None:
        now = scale.rung(scale.now) if wish is None else next(iter(reversed([*considered(rungs)])), rungs[-1])
    if wish is None:
        rungs = tuple(_as_said(one, now) for one in rungs)
    ways = () if now.fits else ways_of(scale, now, rungs)
    return FitReport(scale.plan.name, scale.plan.stage, scale.plan.engine_name, scale.hardware,
                     scale.found.wanted.quantize, now, rungs, ways, _notes(scale, now))


def choice(scale: Scale) -> tuple[Rung, ...]:
    """The ladder down to what `QUANTIZE auto` takes; nobody asks how fast anything is unless the Modelfile does."""
    wish, form = scale.found.wanted.auto or Wish(), scale.found.wanted.form
    found = [one for one in candidates(form, scale.found.precision, wish, scale.unservable) if not one.refused]
    quick = wish.tokens_per_second is None
    return climb(found, lambda one: scale.rung(one, size_only=quick), wish, form, whole=False)


def ladder(scale: Scale) -> tuple[Rung, ...]:
    """Every precision that there is of the model, judged by what `QUANTIZE auto` asks for, or by memory alone."""
    wish, form = scale.found.wanted.auto or Wish(imatrix=scale.imatrix), scale.found.wanted.form
    return climb(candidates(form, scale.found.precision, wish, scale.unservable), scale.rung, wish, form)


def ways_of(scale: Scale, now: Rung, rungs: tuple[Rung, ...]) -> tuple[WayOut, ...]:
    """The three cheapest changes that would make it fit, each with how fast it would be then."""
    coarser = next((one for one in rungs if one.fits and one.verdict in ("taken", "fits")
                    and one.weights < now.weights), None)
    candidate = scale.candidate(now)
    found = ways_out(scale.plan, now, lambda plan: scale.rung(candidate, plan, size_only=True), coarser)
    return tuple(way if way.decode is not None else replace(way, decode=_decode(scale.rung(candidate, plan)))
                 for way, plan in found)


def _decode(rung: Rung) -> Interval | None:
    return rung.speed.decode if rung.speed is not None else None


def _as_said(one: Rung, now: Rung) -> Rung:
    """A rung of a stage that names its precision."""
    if one.precision == now.precision:
        return replace(one, verdict="taken" if one.fits is not False else "too-large",
                       reason="as the Modelfile says" if one.fits is not False else one.reason)
    if one.verdict == "taken":
        return replace(one, verdict="fits", reason=f"`QUANTIZE auto` would take it: {one.reason}")
    return one


def _notes(scale: Scale, now: Rung) -> tuple[str, ...]:
    return tuple(short_now(now, scale.hardware))


def presume_fits(stages: Stages, found: Found, plan: Plan, *, ask: bool = False) -> None:
    """Raise Failure `does-not-fit` (exit 1) where the memory of the stage's machine is known and too small, in all.

    Nothing is loaded for it; with `ask`, headers of a model that is not here are read where it is. Where headers or
    the machine say too little, nothing is refused; nor is what a bundle of containers may be for another machine.
    """
    from modelkit.platforms import platform_row

    if platform_row(plan.platform).where == "here" and plan.setting("serve.accelerator") is None:
        return
    try:
        scale = scale_of(plan, found, stages.store, ask=ask)
    except Failure:
        return  # whoever loads it says what is wrong with it
    now = scale.rung(scale.now, size_only=True)
    if now.fits is False:
        raise refusal(scale, now)


def refusal(scale: Scale, now: Rung) -> Failure:
    """What is missing, the sum, and the cheapest ways out."""
    plan, place = scale.plan, tightest(now) or "ram"
    needs, has = now.budget.total(place), now.budget.capacity.get(place, 0)
    ways = ways_of(scale, now, ladder(scale))
    where = "" if scale.hardware.source != "table" else f" ({scale.hardware.name})"
    ask = f"modelkit fit {plan.modelfile} -s {plan.stage}"
    return Failure(
        "does-not-fit", f"stage `{plan.stage}` needs {spelled(needs)} of {place_words(place)}{where}, and there are "
        f"{spelled(has)}", hint=f"`{ways[0].write}`, or see `{ask}`" if ways else f"`{ask}` shows the sum",
        detail=(*sum_lines(now, place), *(in_words(way, place) for way in ways)), exit_code=1,
        data={"needs": needs, "has": has, "place": place,
              "ways_out": [{"write": way.write, "buys": way.buys, "fits": way.fits} for way in ways]})


def misfit(stages: Stages, found: Found, plan: Plan) -> Failure | None:
    """Why a stage of other machines could not run there, by what the file says of them; None where it could, and of
    stages of this machine, which may be planned on another."""
    from modelkit.platforms import platform_row

    if found.refused is not None:
        return found.refused
    if platform_row(plan.platform).where != "elsewhere" and plan.engine is not None:
        return None
    try:
        presume_fits(stages, found, plan)
    except Failure as failure:
        return failure
    return None


def needed(stages: Stages, stage: str) -> int | None:
    """Bytes that a stage's engine will take where it computes, all GPUs together or RAM; None where it is not known."""
    try:
        found = stages.look(stage)
        scale = scale_of(stages.plan(stage, found), found, stages.store, ask=False)
        sum_ = scale.rung(scale.now, size_only=True).budget
    except Failure:
        return None
    of_gpus = sum(line.size for line in sum_.lines if line.place != "ram")
    return of_gpus or sum_.total("ram") or None


def sum_lines(rung: Rung, place: str) -> Iterator[str]:
    """The sum of one place, a line for each part."""
    lines = [line for line in rung.budget.lines if line.place == place]
    width = max((len(line.name) for line in lines), default=0)
    for line in lines:
        yield f"{line.name:{width}}  {spelled(line.size):>10}  {line.how}"


def presume_room(stages: Stages, plan: Plan, terminal: Terminal) -> None:
    """Raise Failure `no-room-now` (exit 1) where what other programs have leaves so little that the kernel would kill
    the engine, or the GPU's driver refuse it; a note where it would only be slow."""
    try:
        scale = scale_of(plan, stages.look(plan.stage), stages.store, ask=False)
    except Failure:
        return
    now = scale.rung(scale.now, size_only=True)
    for place, free in free_now(scale.hardware).items():
        held = kept_in(now, place)
        if free + (_swap() if place == "ram" else 0) < held:
            raise Failure(
                "no-room-now", f"stage `{plan.stage}` needs {spelled(held)} of {place_words(place)}, and other "
                f"programs leave {spelled(free)} of {spelled(now.budget.capacity.get(place, free))}",
                hint="stop what else runs there (`modelkit ps`), or see "
                f"`modelkit fit {plan.modelfile} -s {plan.stage}`",
                detail=tuple(sum_lines(now, place)), exit_code=1)
    for note in short_now(now, scale.hardware):
        terminal.note(note)


def _swap() -> int:
    """Bytes that the kernel could still put elsewhere before it kills anybody."""
    import psutil

    return int(psutil.swap_memory().free)


def kept_in(rung: Rung, place: str) -> int:
    """Bytes that must be there at once: pages of a file that is mapped into memory come and go."""
    mapped = place == "ram" and rung.serving.mmap and rung.serving.engine.startswith("llama")
    return sum(line.size for line in rung.budget.lines
               if line.place == place and not (mapped and line.name.startswith("weights")))


def short_now(rung: Rung, hardware: Hardware) -> Iterator[str]:
    """What other programs have of the memory that this would take, in words."""
    for place, free in free_now(hardware).items():
        needs = rung.budget.total(place)
        if free < needs <= rung.budget.capacity.get(place, 0):
            yield (f"it needs {spelled(needs)} of {place_words(place)}, and {spelled(free)} are free now: other "
                   "programs have the rest")


def free_now(hardware: Hardware) -> dict[str, int]:
    """Bytes that nobody has, by place, as far as they are known."""
    found = {} if hardware.ram_free is None else {"ram": hardware.ram_free}
    return found | {f"gpu{index}": one.free for index, one in enumerate(hardware.devices) if one.free is not None}
