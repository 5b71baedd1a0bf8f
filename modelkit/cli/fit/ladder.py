"""The precisions of a model, best first, and on several GPUs the ways to share it among them, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from textwrap import fill
from typing import TYPE_CHECKING

from modelkit.cli.fit.phrases import Row, decode, free, needs
from modelkit.planning.fit.report import places
from modelkit.planning.fit.sizes import spelled

if TYPE_CHECKING:
    from modelkit.cli.terminal import Terminal
    from modelkit.planning.fit.parallel import Layout
    from modelkit.planning.fit.report import FitReport, Rung

_WAYS = 6
"""Ways to share a model that are shown of those that can be had."""


def ladder(report: FitReport, terminal: Terminal) -> None:
    """A line for each precision that can be had, then who says what, and what cannot be had."""
    shown = [one for one in report.ladder if one.verdict != "refused"]
    header, cells = _filling(report) if report.engine == "vllm" else _taking(shown)
    terminal.table(("PRECISION", "WEIGHTS", *header, "SPEED", "QUALITY", "VERDICT", "WHY"), [
        (f"{'> ' if one.verdict == 'taken' else '  '}{one.precision}", spelled(one.weights), *cells(one), decode(one),
         quality(one)[0], one.verdict, one.reason) for one in shown])
    width = max(terminal.width, 80)
    whose: dict[str, Callable[[Rung], str]] = {"weights": lambda one: one.sized_by,
                                               "quality": lambda one: quality(one)[1]}
    for what, said in whose.items():
        for source, words in grouped(shown, said).items():
            terminal.data(fill(f"{what} of {', '.join(words)}: {source}", width, subsequent_indent="  "))
    for reason, words in grouped((one for one in report.ladder if one.verdict == "refused"),
                                 lambda one: one.reason).items():
        terminal.data(fill(f"not {', '.join(words)}: {reason}", width, subsequent_indent="  "))


def layouts(report: FitReport, terminal: Terminal) -> None:
    """The ways to share the model between several GPUs: the best, and why tensor parallelism of some widths is none."""
    from modelkit.planning.fit.parallel import layouts as all_ways

    now = report.now
    if now.anatomy is None:
        return
    ways = all_ways(now.anatomy, now.serving, report.hardware)
    good = [one for one in ways if not one.refused][:_WAYS]
    refused = [one for one in ways if one.refused and one.pipeline_parallel == one.data_parallel == 1]
    if good or refused:
        terminal.data("")
        terminal.table(("WAY", "GPUS", "CONVERSATIONS", "LONGEST", ""), [_way(one) for one in (*good, *refused)])


def _way(one: Layout) -> Row:
    held = "" if one.pool is None else f"{one.conversations:.1f}"
    return one.words, str(one.gpus), held, "" if one.pool is None else f"{one.pool.longest:,} tokens", one.verdict


def _taking(shown: list[Rung]) -> tuple[Row, Callable[[Rung], Row]]:
    """What it takes, and what is left."""
    short = len({place for one in shown for place in places(one.budget)}) < 2
    return ("IN ALL", "FREE"), lambda one: (needs(one.budget, short=short), free(one.budget))


def _filling(report: FitReport) -> tuple[Row, Callable[[Rung], Row]]:
    """Of an engine that takes its share whatever it needs: what that holds."""
    from modelkit.planning.fit.vllm import pool

    def cells(one: Rung) -> Row:
        if one.anatomy is None:
            return "", ""
        there = pool(one.anatomy, one.serving, report.hardware)
        return f"{there.tokens:,} tokens", f"{there.concurrency:.1f} x {one.serving.context_length:,}"

    return ("CACHE", "CONVERSATIONS"), cells


def quality(rung: Rung) -> tuple[str, str]:
    """Figures, and whose they are: Quality says them as `figures (whose)`."""
    figures, _, source = str(rung.quality or "").partition(" (")
    return figures, source.removesuffix(")")


def grouped(rungs: Iterable[Rung], said: Callable[[Rung], str]) -> dict[str, list[str]]:
    """The precisions by what is said of each."""
    found: dict[str, list[str]] = {}
    for one in rungs:
        if word := said(one):
            found.setdefault(word, []).append(one.precision)
    return found
