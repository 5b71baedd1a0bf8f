"""LoRA adapters by reference: found, or fetched. Everything that FROM takes a model from, ADAPTER takes one from."""

from __future__ import annotations

from collections.abc import Iterable
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


def adapter_of(artifact: Artifact, store: Store) -> Weights:
    """An artifact of the form `adapter` that is here, as the rest of modelkit works with it."""
    return _of(artifact, store)[1]


def is_adapter_at(path: Path) -> bool:
    """Is what lies at a path an adapter rather than a model?"""
    from modelkit.models.formats.gguf_reader import read_header

    if path.is_dir():
        return (path / CONFIG).is_file() and not (path / "config.json").is_file()
    try:
        return path.is_file() and read_header(path, model=False).get("general.type", str, "") == "adapter"
    except Failure:
        return False


def peft_digest(pieces: Iterable[Piece]) -> str | None:
    """The digest that recipes call an adapter in PEFT's form by; None unless both of its files are there."""
    from modelkit.models.digests import digest

    named = {piece.path.rpartition("/")[2]: piece for piece in pieces}
    if CONFIG not in named or WEIGHTS not in named:
        return None
    return digest({"files": {name: {"sha256": named[name].digest.removeprefix("sha256:"), "size": named[name].size}
                             for name in (CONFIG, WEIGHTS)}})


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
    from modelkit.models.local import adapter_at
    from modelkit.models.weights import Weights

    if (known := peft_digest(artifact.files)) is not None:
        two = {name: piece for piece in artifact.files if (name := piece.path.rpartition("/")[2]) in (CONFIG, WEIGHTS)}
        place = store.folder(artifact) / two[WEIGHTS].path
        weights = Weights(reference=artifact.resolved, form="safetensors", path=str(place.parent), digest=known,
                          size=sum(piece.size for piece in two.values()))
        return replace(artifact, form="adapter"), weights
    tensors = ([piece for piece in artifact.files if piece.role == "adapter"]  # beside a model, in Ollama's artifacts
               or [piece for piece in artifact.files if piece.role == "weights"])
    if artifact.form == "safetensors" or not tensors:
        raise Failure("adapter-missing", f"{artifact.resolved} is no LoRA adapter", _INSTEAD)
    if len(tensors) > 1:
        raise Failure("adapter-ambiguous", f"{artifact.resolved} holds {len(tensors)} adapters",
                      "name one file of it", tuple(piece.path for piece in tensors[:8]))
    found = adapter_at(store.path(artifact, tensors[0]), store)
    return replace(artifact, form="adapter"), found.model_copy(update={"reference": artifact.resolved,
                                                                       "digest": tensors[0].digest})
