"""LoRA adapters by reference: found, or fetched. Everything that FROM takes a model from, ADAPTER takes one from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.models.adapters import CONFIG, WEIGHTS
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.reference import Reference
from modelkit.models.store import Progress, Store, quiet

if TYPE_CHECKING:
    from modelkit.models.weights import Weights

_INSTEAD = "name PEFT's folder (`adapter_config.json`, `adapter_model.safetensors`), or a GGUF adapter"


def locate_adapter(reference: Reference, store: Store) -> tuple[Artifact, Weights] | None:
    """The adapter that `reference` names if it is here, None otherwise. Fetches nothing.

    Raises Failure for what is here and is no adapter.
    """
    if reference.path is not None:
        return _at(reference.path, store) if reference.path.exists() else None
    artifact = store.find(reference.text)
    return None if artifact is None else _of(artifact, store)


def fetch_adapter(reference: Reference, store: Store, on_progress: Progress = quiet, *, refresh: bool = False,
                  ) -> tuple[Artifact, Weights]:
    """The adapter that `reference` names, fetched if it is not here. With `refresh`, what it means now.

    Raises Failure when it can't be had.
    """
    from modelkit.models.acquire import pull

    if reference.path is not None:
        return _at(reference.path, store)
    return _of(pull(reference, store=store, on_progress=on_progress, refresh=refresh), store)


def _at(path: Path, store: Store) -> tuple[Artifact, Weights]:
    """An adapter at a path of the user's own: it is used where it is."""
    from modelkit.models.local import adapter_at

    try:
        weights = adapter_at(path, store)
        folder, names = (path, (CONFIG, WEIGHTS)) if path.is_dir() else (path.parent, (path.name,))
        files = tuple(Piece(name, store.digest(folder / name), (folder / name).stat().st_size,
                            "config" if name == CONFIG else "adapter") for name in names)
    except OSError as error:
        raise Failure("model-unreadable", f"{error.filename or path} can't be read: "
                      f"{(error.strerror or str(error)).lower()}") from None
    return Artifact(str(path), str(path), "adapter", files, place=str(folder)), weights


def _of(artifact: Artifact, store: Store) -> tuple[Artifact, Weights]:
    """An artifact that is here as an adapter: the folder that holds PEFT's two files, or its one GGUF."""
    from modelkit.models.digests import digest
    from modelkit.models.local import adapter_at
    from modelkit.models.weights import Weights

    pieces = {piece.path.rpartition("/")[2]: piece for piece in artifact.files}
    if CONFIG in pieces and WEIGHTS in pieces:
        two = (pieces[CONFIG], pieces[WEIGHTS])
        known = {name: {"sha256": pieces[name].digest.removeprefix("sha256:"), "size": pieces[name].size}
                 for name in (CONFIG, WEIGHTS)}
        place = store.folder(artifact) / pieces[WEIGHTS].path
        weights = Weights(reference=artifact.resolved, form="safetensors", path=str(place.parent),
                          digest=digest({"files": known}), size=sum(piece.size for piece in two))
        return replace(artifact, form="adapter"), weights
    tensors = [piece for piece in artifact.files if piece.role in ("weights", "adapter")]
    if artifact.form == "safetensors" or not tensors:
        raise Failure("adapter-missing", f"{artifact.resolved} is no LoRA adapter", _INSTEAD)
    if len(tensors) > 1:
        raise Failure("adapter-ambiguous", f"{artifact.resolved} holds {len(tensors)} adapters or a model beside one",
                      "name one file of it", tuple(piece.path for piece in tensors[:8]))
    found = adapter_at(store.path(artifact, tensors[0]), store)
    return replace(artifact, form="adapter"), found.model_copy(update={"reference": artifact.resolved,
                                                                       "digest": tensors[0].digest})
