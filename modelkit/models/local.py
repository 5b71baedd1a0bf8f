"""A model at a path of the user's own, as an artifact: used where it is, its files known by digest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.models.artifact import Artifact, Piece, Role

if TYPE_CHECKING:
    from modelkit.models.store import Store
    from modelkit.models.weights import Weights


def artifact_at(path: Path, weights: Weights, store: Store) -> Artifact:
    """The artifact of weights that were located at `path`. Raises Failure when a file went away meanwhile."""
    try:
        if weights.form == "safetensors":
            from modelkit.models.convert.folder import files_of

            pieces = [_piece(file, store, "weights" if file.suffix == ".safetensors" else "config", path)
                      for file in files_of(path)]
            return Artifact(str(path), str(path), "safetensors", tuple(pieces), place=str(path))
        from modelkit.models.formats.splits import part_names

        pieces = [_piece(path.with_name(name), store, "weights", path.parent) for name in part_names(path.name)]
        return Artifact(str(path), str(path), "gguf", tuple(pieces), place=str(path.parent))
    except OSError as error:
        raise Failure("model-unreadable", f"{error.filename}: {(error.strerror or str(error)).lower()}") from None


def adapter_at(path: Path, store: Store) -> Weights:
    """A LoRA adapter at a path: PEFT's folder, or a GGUF. Raises Failure for what is none."""
    from modelkit.models import supply
    from modelkit.models.digests import digest
    from modelkit.models.weights import Weights

    path = path.expanduser().absolute()
    if path.is_dir():
        files = [path / name for name in ("adapter_config.json", "adapter_model.safetensors")]
        if missing := next((file for file in files if not file.is_file()), None):
            raise Failure("adapter-missing", f"{path} is no LoRA adapter: it has no {missing.name}",
                          "name PEFT's folder, or a GGUF adapter")
        supply.presume_safe_folder(path)
        known = {file.name: {"sha256": store.digest(file).removeprefix("sha256:"), "size": file.stat().st_size}
                 for file in files}
        return Weights(reference=str(path), form="safetensors", path=str(path), digest=digest({"files": known}),
                       size=sum(file.stat().st_size for file in files))
    if not path.is_file():
        raise Failure("adapter-missing", f"there is no adapter {path}", "name PEFT's folder, or a GGUF adapter")
    from modelkit.models.formats.gguf_reader import read_header

    if read_header(path).get("general.type", str, "") != "adapter":
        raise Failure("adapter-missing", f"{path} is a GGUF, and no adapter", "name PEFT's folder, or a GGUF adapter")
    return Weights(reference=str(path), form="gguf", path=str(path), digest=store.digest(path),
                   size=path.stat().st_size)


def _piece(file: Path, store: Store, role: Role, folder: Path) -> Piece:
    return Piece(file.relative_to(folder).as_posix(), store.digest(file), file.stat().st_size, role)
