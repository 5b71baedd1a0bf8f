"""LoRA adapters on vLLM: its flags for them, the name that its bare base goes by, where containers find them.

Facts of vLLM 0.29 to 0.33 (`config/lora.py`, `entrypoints/openai/models/serving.py`): the rank is one of a few, an
adapter may not be called as a base is, and a repository of the Hub is fetched without a revision.
"""

from __future__ import annotations

import json
import re
from typing import Any

from modelkit.engines.container import ADAPTERS, Mount
from modelkit.engines.table import Answer, Row
from modelkit.engines.word import Word
from modelkit.failure import Failure
from modelkit.planning.plan import Origin, Plan

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` may be."""

MOST_AT_ONCE = 8
"""Adapters whose requests are computed together at most: each takes its room on the device from the start."""

_CALLED = {"vllm": "vLLM", "sglang": "SGLang"}  # both read an adapter from a path, or from the Hub as it is then
_UNKNOWN_RANK = 16  # vLLM's own default


def _row(value: Any, plan: Plan) -> Answer:
    """The flags themselves are `lora_words`: they need the adapters' paths, which no setting has."""
    _rank(plan)  # both are refused where they are planned, before anything starts
    _paths(plan, contained=plan.image is not None)
    return Answer("equal", "--lora-modules", None, "each answers under its model name, in the base's own batches")


ROW = Row("adapters", _row, "LoRA adapters, in PEFT's form")


def served_name(plan: Plan) -> str:
    """What vLLM calls its base: the model's name, or where that is an adapter's, one that no client can send."""
    return f"{plan.name}@base" if any(one.name == plan.name for one in plan.adapters) else plan.name


def lora_words(plan: Plan, *, contained: bool = False) -> tuple[Word, ...]:
    """The flags for a plan's adapters, none for a plan without. `contained`: as seen from inside a container.

    Raises Failure `adapter-rank` for a rank that vLLM can't have, `adapter-unpinned` for an adapter that a container
    would fetch without a revision.
    """
    if not plan.adapters:
        return ()
    said = plan.setting("adapters")
    asked = said.origin if said is not None else plan.adapters[0].origin
    rank, why = _rank(plan)
    at_once = min(len(plan.adapters), MOST_AT_ONCE)
    modules = tuple(_module(name, path) for name, path in _paths(plan, contained=contained).items())
    words = [Word("--enable-lora", None, asked, "the base takes adapters", "adapters"),
             Word("--lora-modules", modules, asked, "each adapter answers under its own model name", "adapters"),
             Word("--max-lora-rank", str(rank), Origin(kind="model"), why, "adapters"),
             Word("--max-loras", str(at_once), asked, "adapters whose requests are computed together", "adapters")]
    if len(plan.adapters) > at_once:
        words.append(Word("--max-cpu-loras", str(len(plan.adapters)), asked, "the others wait in memory", "adapters"))
    return tuple(words)


def lora_mounts(plan: Plan) -> tuple[Mount, ...]:
    """What the platform must show a container of a plan's adapters. Raises Failure as `lora_words` does."""
    paths = _paths(plan, contained=True)
    return tuple(Mount(paths[one.name], one.source) for one in plan.adapters if one.source is not None)


def _rank(plan: Plan) -> tuple[int, str]:
    """The smallest of vLLM's choices that all adapters fit in: more would only take memory and time."""
    known = [one for one in plan.adapters if one.rank is not None]
    if not known:
        return _UNKNOWN_RANK, "vLLM's default: the adapters' ranks are not known yet"
    largest = max(known, key=lambda one: one.rank or 0)
    rank = largest.rank or 1
    fitting = next((choice for choice in RANKS if choice >= rank), None)
    if fitting is None:
        raise Failure("adapter-rank", f"the adapter {largest.reference} ({largest.origin.where}) has rank {rank}, and "
                      f"vLLM takes {RANKS[-1]} at most",
                      "merge it into its base and name the result in FROM, or train one of a smaller rank")
    of = f"{largest.reference} has rank {rank}"
    return fitting, of if rank == fitting else f"{of}; vLLM's next choice"


def _paths(plan: Plan, *, contained: bool) -> dict[str, str]:
    """Where vLLM finds each adapter, by name."""
    if not contained:
        return {one.name: one.path or "" for one in plan.adapters}
    found: dict[str, str] = {}
    for one in plan.adapters:
        if one.source is not None and one.source.kind == "hub":
            engine = _CALLED.get(plan.engine_name, plan.engine_name)
            raise Failure("adapter-unpinned", f"{engine} would fetch the adapter {one.reference} "
                          f"({one.origin.where}) from the Hub by itself, whatever it is by then: its flags have no "
                          "place for a revision",
                          f"run `modelkit push {one.reference} oci://…` and write `ADAPTER oci://… AS {one.name}`")
        folder = re.sub(r"[^A-Za-z0-9._-]", "-", one.name)
        while f"{ADAPTERS}/{folder}" in found.values():
            folder += "-"
        found[one.name] = f"{ADAPTERS}/{folder}"
    return found


def _module(name: str, path: str) -> str:
    """`name=path`; as JSON where vLLM would read that otherwise."""
    return json.dumps({"name": name, "path": path}) if "," in path else f"{name}={path}"
