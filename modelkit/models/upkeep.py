"""What the store holds, and how it is checked and cleared. Nothing here fetches or makes anything."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelkit.failure import Failure
from modelkit.models.artifact import Artifact
from modelkit.models.digests import digest
from modelkit.models.nearest import nearest
from modelkit.models.store import Progress, Store, quiet

DAY = 86400.0


@dataclass(frozen=True)
class Made:
    """A derived form in the store."""

    digest: str  # of its recipe: its name in the store
    recipe: dict[str, Any]
    size: int
    path: Path
    output: str  # what a step after it calls its input


@dataclass(frozen=True)
class Holding:
    """A model in the store under its pinned spelling. `whole` is False when a file is missing or was changed."""

    artifact: Artifact
    references: tuple[str, ...]
    whole: bool
    made: tuple[Made, ...] = ()

    @property
    def size(self) -> int:
        return self.artifact.size


@dataclass
class Cleared:
    """What was removed."""

    files: int = 0
    size: int = 0
    paths: list[str] = field(default_factory=list)

    def add(self, path: Path, size: int) -> None:
        self.files += 1
        self.size += size
        self.paths.append(str(path))


@dataclass(frozen=True)
class Damage:
    """A file that is not what its name says."""

    path: str
    reference: str
    why: str


def holdings(store: Store) -> list[Holding]:
    """Every model in the store, each with what was made from it."""
    grouped: dict[str, list[Artifact]] = {}
    for artifact in store.artifacts():
        grouped.setdefault(artifact.resolved, []).append(artifact)
    made = list(_made(store))
    return [Holding(same[0], tuple(sorted({one.reference for one in same} | {resolved})),
                    whole=store.find(same[0].reference) is not None,
                    made=tuple(_line(identity(same[0]), made)))
            for resolved, same in sorted(grouped.items())]


def find(word: str, store: Store) -> Holding:
    """The model that a word names: a spelling that the store knows, or the only one that ends in it."""
    held = holdings(store)
    exact = [one for one in held if word in one.references]
    near = exact or [one for one in held if any(_tail(reference, word) for reference in one.references)]
    if len(near) == 1:
        return near[0]
    if near:
        raise Failure("reference-ambiguous", f"`{word}` may be any of {len(near)} models in the store",
                      "name one of " + ", ".join(f"`{one.artifact.resolved}`" for one in near))
    known = [reference for one in held for reference in one.references]
    like = nearest(word, known)
    raise Failure("not-in-store", f"the store has no `{word}`",
                  f"did you mean `{like}`?" if like else "`modelkit list` shows what it has", exit_code=1)


def _tail(reference: str, word: str) -> bool:
    """`SmolLM2.gguf` names `pypi://dist==1/path/SmolLM2.gguf`, `llama3` names `ollama://llama3:latest`."""
    plain = reference.partition("@")[0]
    return plain.rpartition("/")[2].partition(":")[0] == word or plain.endswith(f"/{word}")


def identity(artifact: Artifact) -> str:
    """The digest that recipes call an artifact by; that of its `Weights`."""
    if artifact.form == "adapter":
        from modelkit.models.adapter_files import peft_digest

        tensors = sorted(piece.digest for piece in artifact.files if piece.role in ("weights", "adapter"))
        return peft_digest(artifact.files) or tensors[0]
    weights = artifact.weights
    if artifact.form == "safetensors":
        return digest({"files": {p.path: {"sha256": p.digest.removeprefix("sha256:"), "size": p.size}
                                 for p in artifact.files}})
    return weights[0].digest if len(weights) == 1 else digest({piece.path: piece.digest for piece in weights})


def remove(holding: Holding, store: Store) -> Cleared:
    """Forget a model and clear what only it needed. Files that another tool keeps stay where they are."""
    with store.cleaning():
        for reference in holding.references:
            store.forget(reference)
        cleared = Cleared()
        if not any(identity(other) == identity(holding.artifact) for other in store.artifacts()):
            for made in holding.made:
                shutil.rmtree(made.path, ignore_errors=True)
                cleared.add(made.path, made.size)
        _sweep_blobs(store, cleared)
    return cleared


def collect(store: Store, *, unused_days: float = 30.0, everything_made: bool = False) -> Cleared:
    """Clear what no reference means any more, derived forms that nobody used for `unused_days`, and old pieces of work.

    `everything_made` clears all derived forms: they can be made again.
    """
    cleared, now = Cleared(), time.time()
    with store.cleaning():
        for made in list(_made(store)):
            if everything_made or now - (made.path / "manifest.json").stat().st_mtime > unused_days * DAY:
                shutil.rmtree(made.path, ignore_errors=True)
                cleared.add(made.path, made.size)
        _sweep_blobs(store, cleared)
        for folder in _entries(store.root / "partial"):
            if now - _newest(folder) > 7 * DAY:
                cleared.add(folder, _size(folder))
                shutil.rmtree(folder, ignore_errors=True)
        for file in _entries(store.root / "seen"):
            path = _json(file).get("path")
            if not isinstance(path, str) or not Path(path).exists():
                file.unlink(missing_ok=True)
    return cleared


def verify(store: Store, on_progress: Progress = quiet, only: Holding | None = None) -> list[Damage]:
    """Read every byte again, of the store or of one model, and say what is not what it was. Changes nothing."""
    damages: list[Damage] = []
    for holding in [only] if only else holdings(store):
        artifact = holding.artifact
        for piece in artifact.files:
            damages += _damage(store, store.path(artifact, piece), piece.digest, artifact.resolved, on_progress)
        for made in holding.made:
            damages += _damaged_folder(store, made, artifact.resolved, on_progress)
    if only is None:
        listed = {made.path for holding in holdings(store) for made in holding.made}
        for made in _made(store):
            if made.path not in listed:
                damages += _damaged_folder(store, made, str(made.recipe.get("tool")), on_progress)
        for blob in _entries(store.root / "blobs"):
            wanted = blob.name.replace("-", ":", 1)
            damages += [d for d in _damage(store, blob, wanted, "no reference", on_progress)
                        if d.path not in {known.path for known in damages}]
    return damages


def _damaged_folder(store: Store, made: Made, reference: str, on_progress: Progress) -> Iterator[Damage]:
    for name, said in _json(made.path / "manifest.json")["files"].items():
        yield from _damage(store, made.path / name, f"sha256:{said['sha256']}", reference, on_progress)


def _damage(store: Store, path: Path, wanted: str, reference: str, on_progress: Progress) -> Iterator[Damage]:
    try:
        found = store.digest(path, on_progress, verify=True)
    except FileNotFoundError:
        yield Damage(str(path), reference, "it is missing")
    except OSError as error:
        yield Damage(str(path), reference, (error.strerror or str(error)).lower())
    else:
        if found != wanted:
            yield Damage(str(path), reference, f"its content is {found}, not {wanted}")


def _made(store: Store) -> Iterator[Made]:
    for folder in _entries(store.root / "derived"):
        manifest = _json(folder / "manifest.json")
        recipe, files = manifest.get("recipe"), manifest.get("files")
        if isinstance(recipe, dict) and isinstance(files, dict):
            names = list(files)
            output = f"sha256:{files[names[0]]['sha256']}" if [n for n in names if n.endswith(".gguf")] == names \
                else digest(manifest)
            yield Made(folder.name.replace("-", ":", 1), recipe, sum(f["size"] for f in files.values()), folder, output)


def _line(root: str, made: list[Made]) -> Iterator[Made]:
    """What was made from `root`, and what was made from that."""
    for one in made:
        if one.recipe.get("input") == root:
            yield one
            yield from _line(one.output, [other for other in made if other is not one])


def _sweep_blobs(store: Store, cleared: Cleared) -> None:
    """Clear blobs and views that no reference leads to."""
    kept: set[str] = set()
    views: set[Path] = set()
    for artifact in store.artifacts():
        if artifact.place is None:
            kept |= {piece.digest.replace(":", "-") for piece in artifact.files}
            views.add(store.view(artifact))
    blobs = _entries(store.root / "blobs")
    intact = {blob: digest_ for blob in blobs if store.intact(blob, digest_ := blob.name.replace("-", ":", 1))}
    for view in _entries(store.root / "views"):
        if view not in views:
            shutil.rmtree(view, ignore_errors=True)
            cleared.add(view, 0)  # links: the blobs are counted
    for blob, digest_ in intact.items():
        store.linked(blob, digest_)
    for blob in blobs:
        if blob.name not in kept:
            size = blob.lstat().st_size  # one that points elsewhere may point to nothing
            blob.unlink(missing_ok=True)
            cleared.add(blob, size)


def _entries(room: Path) -> Iterable[Path]:
    return sorted(path for path in room.iterdir() if not path.name.startswith(".")) if room.is_dir() else []


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _newest(folder: Path) -> float:
    return max([folder.stat().st_mtime, *(file.stat().st_mtime for file in folder.rglob("*"))])


def _json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
