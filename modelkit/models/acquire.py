"""From a reference to weights on this machine: found, or fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.models.nearest import nearest
from modelkit.models.reference import Reference
from modelkit.models.store import Progress, Store, quiet

if TYPE_CHECKING:
    from modelkit.models.artifact import Artifact
    from modelkit.models.formats.splits import Split
    from modelkit.models.weights import Weights


def acquire(reference: Reference | str, base_dir: Path | None = None, *, store: Store | None = None,
            on_progress: Progress = quiet, offline: bool = False) -> Weights:
    """The weights that `reference` names, fetched if they are not here. Raises Failure when they can't be had."""
    wanted, store = _parsed(reference, base_dir), store or Store()
    if (found := locate(wanted, store=store, on_progress=on_progress)) is not None:
        return found
    if wanted.path is not None:
        raise _missing(wanted.path)
    return weights_of(pull(wanted, store=store, on_progress=on_progress, offline=offline), store)


def pull(wanted: Reference, *, store: Store, on_progress: Progress = quiet, offline: bool = False,
         refresh: bool = False) -> Artifact:
    """The files behind a reference that is not a path, all of them here and remembered."""
    from modelkit.models import supply
    from modelkit.models.sources import source

    refresh = refresh and wanted.mutable
    if not refresh and (known := store.find(wanted.text)) is not None:
        return known
    if offline:
        raise Failure("offline", f"{wanted.text} is not on this machine and must not be fetched now",
                      "run `modelkit pull` once with the network")
    with store.alone(wanted.text, lambda: on_progress(0, None, f"waiting for another pull of {wanted.text}")):
        if not refresh and (known := store.find(wanted.text)) is not None:
            return known
        origin = source(wanted)
        promised = origin.resolve(wanted, store, on_progress)
        supply.presume_wanted(promised)
        artifact = origin.fetch(promised, store, on_progress)
        supply.presume_safe(artifact, store)
        store.remember(artifact)
        return artifact


def locate(reference: Reference | str, base_dir: Path | None = None, *, store: Store | None = None,
           on_progress: Progress = quiet) -> Weights | None:
    """The weights that `reference` names if they are here, None otherwise. Fetches and makes nothing.

    A file that is here but is no model raises Failure: nothing that is fetched would help.
    """
    wanted, store = _parsed(reference, base_dir), store or Store()
    if wanted.path is not None:
        return _at(wanted.path, wanted, store, on_progress)
    artifact = store.find(wanted.text)
    return None if artifact is None else weights_of(artifact, store)


def weights_of(artifact: Artifact, store: Store) -> Weights:
    """An artifact that is here, as the rest of modelkit works with it."""
    from modelkit.models.digests import digest
    from modelkit.models.weights import Weights

    if artifact.form == "safetensors":
        manifest = {"files": {p.path: {"sha256": p.digest.removeprefix("sha256:"), "size": p.size}
                              for p in artifact.files}}
        return Weights(reference=artifact.resolved, form="safetensors", path=str(store.folder(artifact)),
                       digest=digest(manifest), size=artifact.size)
    if artifact.form == "adapter":
        raise _adapter(artifact.resolved)
    if not artifact.weights:
        raise Failure("model-missing", f"{artifact.resolved} holds no weights that modelkit can use")
    first, *others = artifact.weights
    _presume_one_model(artifact)
    path = store.folder(artifact) / first.path if others else store.path(artifact, first)
    check_gguf(path)
    return Weights(reference=artifact.resolved, form="gguf", path=str(path),
                   digest=first.digest if not others else digest({p.path: p.digest for p in artifact.weights}),
                   size=sum(piece.size for piece in artifact.weights))


def _presume_one_model(artifact: Artifact) -> None:
    """Refuse several GGUFs that are not the parts of one: which of them is meant nobody said."""
    from modelkit.models.formats.splits import part_names

    names = [piece.path for piece in artifact.weights]
    folder, _, name = names[0].rpartition("/")
    parts = {f"{folder}/{part}" if folder else part for part in part_names(name)}
    if len(names) > 1 and parts != set(names):
        raise Failure("model-ambiguous", f"{artifact.resolved} holds {len(names)} GGUF files that are not one model",
                      "name one of them: " + ", ".join(f"`{name}`" for name in names[:5]), data={"files": names})


def _parsed(reference: Reference | str, base_dir: Path | None) -> Reference:
    return reference if isinstance(reference, Reference) else Reference.parse(reference, base_dir or Path.cwd())


def _at(path: Path, wanted: Reference, store: Store, on_progress: Progress) -> Weights | None:
    """What is at a path of the user's own: it is used where it is. One part of a split model means all of it."""
    from modelkit.models import supply
    from modelkit.models.digests import digest
    from modelkit.models.weights import Weights

    try:
        if path.is_dir():
            from modelkit.models.convert.folder import users_folder

            if (path / "adapter_config.json").is_file() and not (path / "config.json").is_file():
                raise _adapter(str(path))
            if (path / "config.json").is_file():
                supply.presume_safe_folder(path)
            return users_folder(path, wanted.text, store, on_progress)
        if not path.exists():
            return None
        if not path.is_file():
            raise Failure("model-unreadable", f"{path} is not a file")
        supply.presume_safe_file(path)
        model = check_gguf(path)
        for part in model.paths:
            supply.presume_safe_file(part)
        digests = {part.name: store.digest(part, on_progress) for part in model.paths}
        return Weights(reference=wanted.text, form="gguf", path=str(model.paths[0]), size=model.size,
                       digest=digest(digests) if len(digests) > 1 else digests[path.name])
    except OSError as error:
        raise Failure("model-unreadable", f"{path} can't be read: {(error.strerror or str(error)).lower()}") from None


def check_gguf(path: Path) -> Split:
    """The model that a GGUF file is, or is a part of. Raises Failure for what no engine should be given to read."""
    from modelkit.models.formats.splits import read_split

    model = read_split(path)
    if model.first.get("general.type", str, "") == "adapter":
        raise _adapter(str(path))
    return model


def _adapter(name: str) -> Failure:
    return Failure("model-is-adapter", f"{name} is a LoRA adapter, not a model",
                   "name it in ADAPTER, and the model that it is for in FROM")


def _missing(path: Path) -> Failure:
    folder = path.parent
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return Failure("model-missing", f"there is no file {path}", f"the folder {folder} does not exist")
    models = [name for name in names if name.endswith(".gguf")]
    like = nearest(path.name, models) or nearest(path.name, names)
    if like is None and len(models) == 1:
        (like,) = models
    return Failure("model-missing", f"there is no file {path}",
                   f"did you mean `{folder / like}`?" if like else "name a GGUF file that is there",
                   data={"path": str(path), "nearest": like})
