"""Words that several tables of `modelkit fit` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkit.planning.fit.report import places
from modelkit.planning.fit.sizes import between, spelled

if TYPE_CHECKING:
    from modelkit.planning.fit.budget import Budget
    from modelkit.planning.fit.report import Rung

Row = tuple[str, ...]


def needs(budget: Budget, *, short: bool = False) -> str:
    """The sum of each place; `short` leaves the place out, where there is only one."""
    return " + ".join(f"{spelled(budget.total(place))}{'' if short else f' {place}'}" for place in places(budget))


def has(budget: Budget) -> str:
    return " + ".join(f"{spelled(budget.capacity[place])} {place}" for place in places(budget)
                      if place in budget.capacity) or "not known"


def free(budget: Budget) -> str:
    """Of the place that has least left."""
    left = [one for place in places(budget) if (one := budget.free(place)) is not None]
    return spelled(min(left)) if left else "not known"


def decode(rung: Rung) -> str:
    """Tokens a second of one user."""
    return "" if rung.speed is None else f"{between(rung.speed.decode)} tok/s"
