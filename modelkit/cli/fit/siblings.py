"""`fit --siblings`: other checkpoints of one base on the Hub, each looked into by its headers."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.planning.fit.siblings import Sibling, Siblings, judged, ranked, refused_by_tags
from modelkit.planning.fit.sizes import spelled

if TYPE_CHECKING:
    from modelkit.models.anatomy import Anatomy
    from modelkit.models.reference import Reference
    from modelkit.models.sources.hub import Offered
    from modelkit.models.store import Store
    from modelkit.planning.fit.hardware import Hardware

_AT_ONCE = 6
_MOST_NAMED = 6
_USUAL = "Q4_K_M"
_MOST_READ = 16
"""Repositories whose headers are read, the most downloaded of those that their tags do not rule out."""


def siblings(reference: Reference, anatomy: Anatomy | None, hardware: Hardware, engine: str, store: Store) -> Siblings:
    """What else was made of the base of `reference`, ranked, each that is refused with its reason.

    `anatomy` is that of `reference`; where its base is another repository, that one's headers are read, too. Asks the
    Hub, and fetches no weights. Raises Failure `siblings-unknown` for a model that is not of the Hub, and what the Hub
    answers where it can't be asked.
    """
    from modelkit.models.siblings import base_of, inspected, types_in

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
            types = types_in(one.repo) if engine == "llama.cpp" else {}
            pick = "" if not types or _USUAL in types else f":{min(types, key=lambda word: types[word])}"
            seen = judged(one.repo, inspected(one.repo + pick, store)[1], model, hardware, engine,
                          downloads=one.downloads, official=official)
            return seen if seen.refused else replace(seen, how=_others(types, seen.precision) or seen.how)
        except Failure as failure:
            return Sibling(one.repo, "", downloads=one.downloads, official=official, refused=failure.message)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found += pool.map(look, chosen[:_MOST_READ])
    return ranked(base.repo, found)


def _others(types: Mapping[str, int], mine: str) -> str:
    """What else a repository of GGUF files has, from large to small."""
    rest = sorted((word for word in types if word != mine), key=lambda word: -types[word])
    more = f" and {len(rest) - _MOST_NAMED} more" if len(rest) > _MOST_NAMED else ""
    return f"also {', '.join(f'{word} ({spelled(types[word])})' for word in rest[:_MOST_NAMED])}{more}" if rest else ""


def _read(repo: str, store: Store) -> Anatomy | None:
    from modelkit.models.siblings import inspected

    try:
        return inspected(repo, store)[1]
    except Failure:
        return None  # gated, or gone: nothing to compare with, which is said
