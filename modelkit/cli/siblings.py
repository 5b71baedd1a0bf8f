"""`fit --siblings`: other checkpoints of one base on the Hub, each looked into by its headers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.planning.fit.siblings import Sibling, Siblings, judged, ranked, refused_by_tags

if TYPE_CHECKING:
    from modelkit.models.anatomy import Anatomy
    from modelkit.models.reference import Reference
    from modelkit.models.sources.hub import Offered
    from modelkit.models.store import Store
    from modelkit.planning.fit.hardware import Hardware

_AT_ONCE = 6
_MOST_READ = 16
"""Repositories whose headers are read, the most downloaded of those that their tags do not rule out."""


def siblings(reference: Reference, anatomy: Anatomy | None, hardware: Hardware, engine: str, store: Store) -> Siblings:
    """What else was made of the base of `reference`, ranked, each that is refused with its reason.

    `anatomy` is that of `reference`; where its base is another repository, that one's headers are read, too. Asks the
    Hub, and fetches no weights. Raises Failure `siblings-unknown` for a model that is not of the Hub, and what the Hub
    answers where it can't be asked.
    """
    from modelkit.models.siblings import base_of

    base = base_of(reference)
    model = anatomy if base.repo == reference.repo else _read(base.repo, store)
    offered = [(one, refused_by_tags(one.tags, engine)) for one in base.offered]
    chosen = [one for one, refused in offered if not refused]
    found = [Sibling(one.repo, "", downloads=one.downloads, refused=refused) for one, refused in offered if refused]
    found += [Sibling(one.repo, "", downloads=one.downloads, refused=f"not looked into: {_MOST_READ} that are "
                      "downloaded more often were") for one in chosen[_MOST_READ:]]

    def look(one: Offered) -> Sibling:
        official = one.repo.partition("/")[0].lower() == base.repo.partition("/")[0].lower()
        try:
            from modelkit.models.siblings import inspected

            there = inspected(one.repo, store)[1]
            return judged(one.repo, there, model, hardware, engine, downloads=one.downloads, official=official)
        except Failure as failure:
            return Sibling(one.repo, "", downloads=one.downloads, official=official, refused=failure.message)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found += pool.map(look, chosen[:_MOST_READ])
    return ranked(base.repo, found)


def _read(repo: str, store: Store) -> Anatomy | None:
    from modelkit.models.siblings import inspected

    try:
        return inspected(repo, store)[1]
    except Failure:
        return None  # gated, or gone: nothing to compare with, which is said
