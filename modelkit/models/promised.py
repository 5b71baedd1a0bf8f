"""A model that is not here: which files it has, and what their headers say, without fetching its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from modelkit.failure import Failure
from modelkit.models.formats.together import together
from modelkit.models.store import Progress, Store, quiet

if TYPE_CHECKING:
    from modelkit.models.artifact import Artifact, Piece
    from modelkit.models.facts import ModelFacts
    from modelkit.models.formats.access import Access
    from modelkit.models.formats.gguf import Header
    from modelkit.models.reference import Reference
    from modelkit.models.same import Model

    Remote = Callable[[Artifact, Piece], Access]

T = TypeVar("T")

_KEPT: WeakKeyDictionary[Artifact, dict[str, Access]] = WeakKeyDictionary()
_HEADERS: WeakKeyDictionary[Artifact, list[Header]] = WeakKeyDictionary()
"""What was read of files that are far away, as long as their artifact is used: facts and anatomy need the same."""


def promised(wanted: Reference, store: Store, on_progress: Progress = quiet) -> tuple[Artifact, ModelFacts | None]:
    """What `wanted` means now at its source, and the model's facts; None where they need the weights themselves.

    Raises Failure when the source can't be asked, or offers what modelkit refuses.
    """
    from modelkit.models import supply
    from modelkit.models.sources import source

    origin = source(wanted)
    artifact = origin.resolve(wanted, store, on_progress)
    supply.presume_wanted(artifact)
    if artifact.place is None and all(store.intact(store.blob(p.digest), p.digest) for p in artifact.files):
        supply.presume_safe(artifact, store)  # it was fetched before, or had to be to be known
        store.remember(artifact)
    remote: Remote | None = getattr(origin, "remote_file", None)
    on_progress(0, None, f"reading the header of {wanted.text}")
    return artifact, _facts(artifact, store, remote)


def headers(artifact: Artifact, reference: Reference, store: Store) -> Model | None:
    """The headers of a model that may be far away, for `same.compare`; None where they can't be had alone."""
    from modelkit.models.sources import source

    remote = None if reference.path is not None else getattr(source(reference), "remote_file", None)
    opened, weights = _opener(artifact, store, remote), [piece.path for piece in artifact.weights]
    if artifact.form == "safetensors":
        from modelkit.models.formats.checkpoint import Files

        return Files(artifact.reference, opened, weights)
    try:
        parts = [access for access in together(opened, weights) if access is not None]
    except _NotHere:
        return None
    return parts[0] if len(parts) == 1 else tuple(parts) or None


def gguf_headers(artifact: Artifact, reference: Reference, store: Store) -> list[Header] | None:
    """The headers of a GGUF model's parts in order; None where they can't be had alone."""
    from modelkit.models.sources import source

    remote = None if reference.path is not None else getattr(source(reference), "remote_file", None)
    return alone(lambda: _gguf_headers(artifact, _opener(artifact, store, remote)))


def alone(read: Callable[[], T]) -> T | None:
    """What `read` makes of headers; None where a whole file would have to be fetched for it."""
    try:
        return read()
    except _NotHere:
        return None
    except Failure as failure:
        if failure.code == "ranges-unsupported":
            return None
        raise


def _gguf_headers(artifact: Artifact, opened: Callable[[str], Access | None]) -> list[Header]:
    if artifact not in _HEADERS:
        from modelkit.models.formats.gguf_reader import read_header_from

        parts = together(opened, [piece.path for piece in artifact.weights])
        _HEADERS[artifact] = together(read_header_from, [part for part in parts if part is not None])
    return _HEADERS[artifact]


def _facts(artifact: Artifact, store: Store, remote: Remote | None) -> ModelFacts | None:
    from modelkit.models.facts import facts_of_folder, facts_of_headers
    from modelkit.models.formats.checkpoint import Files

    opened = _opener(artifact, store, remote)
    if artifact.form == "safetensors":
        files = Files(artifact.reference, opened, [piece.path for piece in artifact.weights])
        return alone(lambda: facts_of_folder(files))
    return alone(lambda: facts_of_headers(_gguf_headers(artifact, opened)))


def _opener(artifact: Artifact, store: Store, remote: Remote | None) -> Callable[[str], Access | None]:
    pieces, kept = {piece.path: piece for piece in artifact.files}, _KEPT.setdefault(artifact, {})

    def opened(name: str) -> Access | None:
        from modelkit.models.formats.access import LocalFile

        if (piece := pieces.get(name)) is None:
            return None
        local: Path = store.path(artifact, piece)
        if local.is_file():
            return LocalFile(local)
        if name not in kept:
            if remote is None:
                raise _NotHere
            kept[name] = remote(artifact, piece)
        return kept[name]

    return opened


class _NotHere(Exception):
    """A file would have to be fetched."""
