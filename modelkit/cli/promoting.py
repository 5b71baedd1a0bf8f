"""What `promote` and `rollback` share: the journal, the records brought up to date, room for another engine."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.address import Address
from modelkit.cli.terminal import Terminal
from modelkit.places import place
from modelkit.release.history import History, all_of, read
from modelkit.release.promotion.journal import Journal
from modelkit.release.promotion.room import Room, room
from modelkit.release.promotion.settling import settle
from modelkit.release.record import Gate, Records

if TYPE_CHECKING:
    from modelkit.cli.stages import Stages
    from modelkit.planning.plan import Plan
    from modelkit.platforms.bundle import Bundle
    from modelkit.release.promotion.endpoint import Running


def journal_of(path: Path) -> Journal:
    """The promotions of a Modelfile on this machine."""
    from modelkit.runtime.client import project_id

    return Journal(place("state") / project_id(path) / "promotion")


def settled(path: Path, plan: Plan, journal: Journal, address: Address) -> tuple[History, tuple[History, ...]]:
    """The records of a stage, and those of all stages, after what a killed command left is brought to its end."""
    records = Records(path, plan.name, plan.stage)
    if address.routed() is None:
        address.restore()
    settle(journal, records, address)
    return read(records), all_of(path, plan.name)


def room_for(asked: Any, target: Bundle, before: Running | None, address: Address, need: int | None = None) -> Room:
    """How a bundle that takes `need` bytes comes to the address, beside what serves there now or in its place."""
    from modelkit.runtime.machine import free_memory

    if before is None:
        return Room("side-by-side", "nothing serves yet")
    if address.running(target) is not None:
        return Room("side-by-side", "it runs already")
    serving = address.plan(before.generation)
    return room(asked, target.plan, serving, held=before.memory, free=free_memory(), loaded=before.load_seconds,
                need=need)


def dry_room(arguments: Namespace, stages: Stages) -> Room:
    """The same for a stage that is only planned. Starts nothing."""
    from modelkit.runtime.client import connect
    from modelkit.runtime.machine import free_memory

    path = Path(stages.modelfile.path)
    client = connect(project.project_of(path))
    if client is None:
        return Room("side-by-side", "nothing runs yet")
    with client:
        address = Address(client, path, Terminal(quiet=True))
        before = address.routed()
        serving = address.plan(before.generation) if before else None
    from modelkit.cli.fit.fitting import needed

    return room(arguments.mode, stages.plan(arguments.target), serving, held=before.memory if before else 0,
                free=free_memory(), loaded=before.load_seconds if before else 0.0,
                need=needed(stages, arguments.target))


def say_gates(gates: tuple[Gate, ...], terminal: Terminal) -> None:
    """One line each, as wide as the lines of the record and of the way back behind them."""
    width = max(7, *(len(one.id) for one in gates), 0)
    for one in gates:
        advisory = "" if one.required else " (advisory)"
        terminal.data(f"  {one.id:<{width}}  {one.verdict}{advisory}{_seen(one)}")


def _seen(gate: Gate) -> str:
    seen = gate.observed
    if gate.kind == "parity" and gate.verdict == "pass":
        return f"  {seen.get('conversations')} conversations, {seen.get('tokens')} tokens, all equal"
    if gate.kind == "tests" and "total" in seen:
        return f"  {seen.get('passed')} of {seen['total']}"
    if why := seen.get("why") or seen.get("error"):
        return f"  {why}"
    if gate.kind in ("slo", "eval") and gate.threshold:
        return f"  {next(iter(seen.values()), '')} (wanted: {gate.threshold})"
    return ""
