"""Other checkpoints of a model's base on the Hub, as its tags name them. Knows tags and headers, not which is good."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.models.reference import Reference

if TYPE_CHECKING:
    from modelkit.models.anatomy import Anatomy
    from modelkit.models.sources.hub import Offered
    from modelkit.models.store import Store

MOST = 40
"""Repositories that are asked for; popular bases have some hundreds, most of them copies."""

_QUANTIZED = "base_model:quantized:"


@dataclass(frozen=True)
class Base:
    """A base on the Hub and the repositories that say that they are it, quantized."""

    repo: str
    offered: tuple[Offered, ...]


def base_of(reference: Reference) -> Base:
    """The base of a model of the Hub: itself, or what its card says that it was quantized from.

    Raises Failure `siblings-unknown` for a model that is not of the Hub, and where the Hub can't be asked.
    """
    from modelkit.models.sources.hub import expect_hub

    if reference.kind != "hf":
        raise Failure("siblings-unknown", f"{reference.text} is not from the Hub, which alone says what else was made "
                      "of one base", "name its repository: `modelkit fit hf.co/organization/repository --siblings`")
    hub = expect_hub()
    said = [tag.removeprefix(_QUANTIZED) for tag in hub.tags(reference.repo) if tag.startswith(_QUANTIZED)]
    repo = next((one for one in said if _is_repository(one)), reference.repo)
    found = [one for one in hub.tagged(_QUANTIZED + repo, MOST) if _is_repository(one.repo)]
    return Base(repo, tuple(one for one in found if one.repo != reference.repo))


def types_in(repo: str) -> dict[str, int]:
    """The GGUF types that a repository has, as its files are called, with their bytes."""
    from modelkit.models.sources.hub import expect_hub
    from modelkit.models.sources.picking import quantized

    return {one.quantization: one.size for one in quantized(expect_hub().listing(repo, None)[1]) if one.quantization}


def inspected(repo: str, store: Store) -> tuple[Reference, Anatomy]:
    """A repository's model as its headers show it, at the commit that it is at now; `repo:TYPE` is one of several.
    Fetches no weights."""
    from modelkit.models.anatomy.far import anatomy_far
    from modelkit.models.sources import source

    wanted = Reference.parse(f"hf.co/{repo}", Path.cwd())
    artifact = source(wanted).resolve(wanted, store, lambda done, total, label: None)
    anatomy = anatomy_far(artifact, Reference.parse(artifact.resolved, Path.cwd()), store)
    if anatomy is None:
        raise Failure("siblings-unknown", f"the headers of hf.co/{repo} can't be read without its weights")
    return wanted, anatomy


def _is_repository(repo: str) -> bool:
    try:
        return Reference.parse(f"hf.co/{repo}", Path.cwd()).repo == repo
    except Failure:
        return False
