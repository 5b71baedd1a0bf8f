"""What `modelkit fit` prints for people: the sum, the ladder, and what would help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from modelkit.cli.fit.ladder import ladder, layouts
from modelkit.cli.fit.phrases import Row, decode, has, needs
from modelkit.planning.fit.report import places
from modelkit.planning.fit.sizes import between, change, seconds, spelled

if TYPE_CHECKING:
    from modelkit.cli.terminal import Terminal
    from modelkit.planning.fit.budget import Budget
    from modelkit.planning.fit.hardware import Hardware
    from modelkit.planning.fit.report import FitReport, Rung
    from modelkit.planning.fit.serving import Serving
    from modelkit.planning.fit.speed import Speed

_SAID = {"engine": "the engine says: ", "reserve": "set aside: ", "measured": "measured: "}


def say(report: FitReport, terminal: Terminal) -> None:
    """All of it."""
    terminal.data(f"{report.model}  stage {report.stage}  {report.engine}  on {machine(report.hardware)}")
    terminal.data(f"{precision(report)}, {conversations(report.now)}: {verdict(report)}")
    terminal.data("")
    terminal.table(("WHERE", "WHAT", "SIZE", "HOW"), budget_rows(report.now.budget))
    if (speed := report.now.speed) is not None:
        terminal.data("")
        terminal.table(("SPEED", "EXPECTED", "OF WHAT"), speed_rows(speed, report.now.serving))
        for how in speed.how:
            terminal.data(fill(how, max(terminal.width, 80), subsequent_indent="  "))
    if report.ladder:
        terminal.data("")
        ladder(report, terminal)
    if report.engine == "vllm" and len(report.hardware.devices) > 1:
        layouts(report, terminal)
    if report.ways_out:
        terminal.data("")
        terminal.table(("WRITE", "BUYS", "COSTS", "THEN"), ways_rows(report))
    for note in (*report.now.budget.notes, *report.notes):
        terminal.note(note)


def side_by_side(reports: Sequence[FitReport], holds: Sequence[int | None], terminal: Terminal) -> None:
    """Models and machines, a line for each; `holds` are the conversations that each has memory for."""
    terminal.table(("HARDWARE", "MODEL", "STAGE", "PRECISION", "NEEDS", "HAS", "HOLDS", "SPEED", "VERDICT"), [
        (one.hardware.name, one.model, one.stage, one.now.precision, needs(one.now.budget), has(one.now.budget),
         "" if count is None else f"{count} x {one.now.serving.context_length} tokens", decode(one.now), verdict(one))
        for one, count in zip(reports, holds, strict=True)])


def verdict(report: FitReport) -> str:
    """Of what is served."""
    return fitting_words(report.now.budget)


def fitting_words(budget: Budget) -> str:
    """`fits`, or how much is missing and where."""
    if budget.fits is None:
        return "whether it fits is not known"
    if budget.fits:
        return "fits"
    missing = [f"{spelled(-left)} of {place}" for place in places(budget)
               if (left := budget.free(place)) is not None and left < 0]
    return "does not fit: " + ", ".join(missing) + " are missing"


def precision(report: FitReport) -> str:
    """`auto >= Q4_K_M is Q8_0`, or the one precision that there is."""
    return report.now.precision if report.asked in (report.now.precision, "none") else \
        f"QUANTIZE {report.asked} is {report.now.precision}"


def conversations(rung: Rung) -> str:
    serving = rung.serving
    many = f"{serving.concurrency} conversations" if serving.concurrency > 1 else "one conversation"
    return f"{many} of {serving.context_length} tokens"


def machine(hardware: Hardware) -> str:
    """Its name and what it can hold."""
    parts = []
    if hardware.devices:
        first, count = hardware.devices[0], len(hardware.devices)
        parts.append(f"{f'{count} x ' if count > 1 else ''}{first.name}, {spelled(first.memory)}"
                     f"{' each' if count > 1 else ''}")
    if hardware.ram is not None:
        cores = f"{hardware.cpus} core{'s' if hardware.cpus > 1 else ''}, " if hardware.cpu_flops else ""  # else unsaid
        parts.append(f"{cores}{spelled(hardware.ram)} of memory")
    return f"{hardware.name} ({'; '.join(parts)})" if parts else hardware.name


def budget_rows(budget: Budget) -> list[Row]:
    """Each line, then the sum of each place; sizes end where the others do."""
    rows = [[line.place, line.name, spelled(line.size), _SAID.get(line.source, "") + line.how]
            for line in budget.lines]
    for place in places(budget):
        rows.append([place, "in all", spelled(budget.total(place)), ""])
        if (left := budget.free(place)) is not None:
            rows.append([place, "free" if left >= 0 else "missing", spelled(abs(left)),
                         f"of {spelled(budget.capacity[place])}"])
    return [tuple(row) for row in _right(rows, 2)]


def ways_rows(report: FitReport) -> list[Row]:
    return [(one.write, change(-one.buys), one.costs,
             ("fits" if one.fits else "is not known to fit" if one.fits is None else "does not fit yet")
             + (f", {between(one.decode)} tok/s" if one.decode else "")) for one in report.ways_out]


def speed_rows(speed: Speed, serving: Serving) -> list[Row]:
    """What is expected of one user, of all, and of prompts."""
    rows = [("one user", speed.decode, "at the beginning of a conversation"),
            ("one user", speed.decode_full, f"behind {serving.context_length} tokens")]
    if speed.users > 1:
        rows.append((f"{speed.users} users", speed.total, f"together, each behind {speed.prompt} tokens"))
    rows.append(("a prompt", speed.prefill, f"of {speed.prompt} tokens, read alone"))
    return [*((what, f"{between(value)} tok/s", how) for what, value, how in rows),
            ("first token", seconds(speed.ttft), f"behind {speed.prompt} tokens, nothing else running")]


def _right(rows: Iterable[list[str]], column: int) -> list[list[str]]:
    made = list(rows)
    width = max((len(row[column]) for row in made), default=0)
    for row in made:
        row[column] = row[column].rjust(width)
    return made
