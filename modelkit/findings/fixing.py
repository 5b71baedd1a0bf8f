"""Fixes, made until nothing is left to fix. Pure: a text comes in, another one goes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from modelkit.findings.examine import Examined, examine
from modelkit.language.diagnostic import Diagnostic, Fix
from modelkit.language.fixes import apply
from modelkit.language.source import Source

ROUNDS = 200  # one fix may uncover another; what is not done after so many would never be
MOST_TRIES = 64  # how many fixes of a round are tried one by one when together they make more errors


@dataclass(frozen=True)
class Fixed:
    """What fixing made of a file: the findings whose fix was made, and those whose fix would have made more errors."""

    examined: Examined
    made: tuple[Diagnostic, ...] = ()
    refused: tuple[Diagnostic, ...] = ()

    @property
    def text(self) -> str:
        return self.examined.source.text


def fixed(
    source: Source, *, unsafe: bool = False, wanted: Callable[[Diagnostic], bool] = lambda _: True,
    examined: Examined | None = None,
) -> Fixed:
    """The file with every fix made that its wanted findings bring: the safe ones, or the guesses, too.

    One rule's fixes are made at a time, and the others' on what they left: two rules may each offer to remove another
    one of two equal lines. No fix is made that leaves more errors than there were.
    """
    now = examined or examine(source)
    made: list[Diagnostic] = []
    fixable: list[Diagnostic] = []
    seen = {source.text}
    for _ in range(ROUNDS):
        fixable = [one for one in now.found if one.fix and (unsafe or one.fix.safe) and wanted(one)]
        for rule in dict.fromkeys(one.rule.id for one in fixable):
            batch, after = _best(now, [one for one in fixable if one.rule.id == rule])
            if batch and after.source.text not in seen:
                break
        else:
            break  # nothing is left, or nothing that helps
        seen.add(after.source.text)
        made += batch
        now = after
    return Fixed(now, tuple(made), tuple(fixable))


def _best(now: Examined, fixable: Sequence[Diagnostic]) -> tuple[list[Diagnostic], Examined]:
    """As many of the fixes as can be made at once without more errors, and what comes of them."""
    batch, after = _together(now, fixable)
    if after.errors <= now.errors:
        return batch, after
    good: list[Diagnostic] = []
    best = now
    for one in fixable if len(fixable) <= MOST_TRIES else ():
        batch, after = _together(now, [*good, one])
        if one in batch and after.errors <= now.errors:
            good, best = batch, after
    return good, best


def _together(now: Examined, fixable: Sequence[Diagnostic]) -> tuple[list[Diagnostic], Examined]:
    fixes: list[Fix] = [one.fix for one in fixable if one.fix]
    if not fixes:
        return [], now
    text, made = apply(now.source.text, fixes)
    kept = {id(fix) for fix in made}
    return [one for one in fixable if id(one.fix) in kept], examine(replace(now.source, text=text), now.outside)
