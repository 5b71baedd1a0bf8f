"""The memory part of `plan`: what the stage would take where it runs. Asks nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelkit.cli.fit import text as fit_text
from modelkit.cli.fit.phrases import decode
from modelkit.failure import Failure
from modelkit.planning.fit.report import places, plain
from modelkit.planning.fit.sizes import spelled

if TYPE_CHECKING:
    from modelkit.cli.stages import Stages
    from modelkit.cli.terminal import Terminal
    from modelkit.cli.weights import Found
    from modelkit.planning.fit.hardware import Hardware
    from modelkit.planning.fit.report import Rung
    from modelkit.planning.plan import Plan

Weighed = tuple["Rung", "Hardware"]


def weighed(stages: Stages, found: Found, plan: Plan) -> Weighed | str:
    """The stage in its precision on its machine; or why nothing is known of it."""
    from modelkit.cli.fit.weighing import scale_of

    if found.base is None:
        return "the model is not here: `modelkit fit` asks its source"
    try:
        scale = scale_of(plan, found, stages.store)
        return scale.rung(scale.now), scale.hardware
    except Failure as failure:
        return failure.message


def as_json(known: Weighed | str) -> dict[str, Any]:
    """`problem`, or the precision and the budget."""
    if isinstance(known, str):
        return {"problem": known}
    rung, hardware = known
    return {"precision": rung.precision, "hardware": hardware.name, "budget": plain(rung.budget)}


def say(known: Weighed | str, terminal: Terminal) -> None:
    """One line for each part of the sum, and what it comes to."""
    if isinstance(known, str):
        terminal.data(f"memory: not known: {known}")
        return
    rung, hardware = known
    budget = rung.budget
    rows = [(line.name, spelled(line.size), line.place) for line in budget.lines if line.size]
    for place in places(budget):
        there = f", of {spelled(budget.capacity[place])}" if place in budget.capacity else ""
        rows.append(("in all", spelled(budget.total(place)), f"{place}{there}"))
    terminal.table(("MEMORY", "SIZE", "WHERE"), rows)
    speed = f", {decode(rung)} for one user" if rung.speed is not None else ""
    terminal.data(f"{fit_text.fitting_words(budget)} on {hardware.name}{speed}: `modelkit fit` shows the sum")
