"""Models in Ollama's form: from the store that Ollama keeps on this machine, else from a registry of its kind.

Both hold a Docker manifest whose layers are files of known types (`layouts`). The local store is asked first, so what
`ollama pull` brought is not fetched again. Its files are checked against their digests and linked. Where the disk or
the system allows neither a hard link nor a reflink (a store of the service's own user, another disk), ours points to
them in place: a second copy of gigabytes would be the worse surprise, and a file that Ollama removes is only fetched
again. Whatever is missing or damaged there comes from the registry, file by file.

Facts: github.com/ollama/ollama, `manifest/paths.go`, `envconfig/config.go`, `server/images.go`, `types/model/name.go`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from modelkit.failure import Failure
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.reference import Reference
from modelkit.models.sources import layouts
from modelkit.models.sources.manifests import LARGEST, Layer, Manifest, parse
from modelkit.models.sources.registry import Registry
from modelkit.models.store import Progress, Store

_TENSOR = "application/vnd.ollama.image.tensor"
_SERVICES = ("/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models", "/var/lib/ollama/models",
             "/var/lib/ollama")


def resolve(reference: Reference, store: Store, on_progress: Progress) -> Artifact:
    """What a name means now: what Ollama has under it here, else what the registry has."""
    local = _local(reference)
    if local is None:
        on_progress(0, None, f"asking {reference.host}")
    return _artifact(reference, local or _remote(reference))


def fetch(artifact: Artifact, store: Store, on_progress: Progress) -> Artifact:
    """The same artifact with all of its files in the store."""
    missing = [piece for piece in artifact.files if not store.intact(store.blob(piece.digest), piece.digest)]
    missing = [piece for piece in missing if not _adopted(piece, store, on_progress)]
    if missing:
        store.need_space(sum(piece.size for piece in missing), artifact.resolved)
    reference = Reference.parse(artifact.resolved, Path.cwd())
    registry = Registry(reference.host, reference.name)
    for piece in missing:
        label = f"downloading {piece.path}"
        try:
            registry.fetch(Layer("", piece.digest, piece.size), store, on_progress, label)
        except Failure as failure:
            if failure.code != "not-found":
                raise
            raise Failure("model-missing", f"{artifact.resolved}: {registry.host} does not have {piece.path} any more",
                          f"pull it again: `{artifact.reference}`", data={"digest": piece.digest}) from None
    return artifact


def _artifact(reference: Reference, manifest: Manifest) -> Artifact:
    where = reference.text
    found = layouts.contents(manifest, where)
    types = {layer.media_type for layer in manifest.layers}
    if not any(piece.role in ("weights", "adapter") for piece in found.pieces):
        if _TENSOR in types:
            raise Failure("model-unsupported", f"{where} is a model for MLX: its tensors are layers of their own",
                          "choose a tag without `mlx`")
        raise Failure("model-missing", f"{where} has no weights: it runs only in Ollama's cloud, or is empty",
                      "choose a tag without `cloud`")
    layouts.presume_distinct(found.pieces, where)
    pin = reference.text if reference.digest else f"{reference.text}@{manifest.digest}"
    return Artifact(reference.text, pin, layouts.form_of(found.pieces, manifest, where), tuple(sorted(found.pieces)),
                    manifest.digest)


def _remote(reference: Reference) -> Manifest:
    """The registry's manifest. Ollama's own registry serves it by its tag alone; others by its digest too."""
    registry = Registry(reference.host, reference.name)
    manifest = registry.manifest(reference.tag)
    if reference.digest in ("", manifest.digest):
        return manifest
    try:
        return registry.manifest(reference.digest)
    except Failure as failure:
        if failure.code == "network":
            raise
    raise Failure("digest-mismatch", f"{reference.host} has another model under {reference.name}:{reference.tag} now: "
                  f"{manifest.digest}", "pull the tag without its digest if you want that one",
                  data={"expected": reference.digest, "found": manifest.digest})


def _local(reference: Reference) -> Manifest | None:
    """What Ollama has under this name here, if all of its files seem to be there."""
    for root in stores():
        file = root.joinpath("manifests", reference.host, *reference.name.split("/"), reference.tag)
        try:
            if not 0 < file.stat().st_size <= LARGEST:
                continue
            manifest = parse(file.read_bytes(), str(file))
        except (OSError, Failure):
            continue
        if isinstance(manifest, Manifest) and reference.digest in ("", manifest.digest) and all(
                _size(_blob(root, layer.digest)) == layer.size for layer in manifest.layers):
            return manifest
    return None


def _adopted(piece: Piece, store: Store, on_progress: Progress) -> bool:
    """Is this file in a store of Ollama's, unchanged, and now in ours too?"""
    for root in stores():
        file = _blob(root, piece.digest)
        try:
            if _size(file) == piece.size and store.digest(file, on_progress) == piece.digest:
                store.adopt(file, piece.digest, copy=False)
                return store.intact(store.blob(piece.digest), piece.digest)
        except OSError:
            continue
    return False


def stores() -> Iterator[Path]:
    """Where Ollama keeps models: where it is told to, else under the user's home or that of its service."""
    if named := os.environ.get("OLLAMA_MODELS"):
        yield Path(named).expanduser()
        return
    yield Path(os.path.expanduser("~/.ollama/models"))  # noqa: PTH111 - Path.home() raises where there is none
    yield from map(Path, _SERVICES)


def _blob(root: Path, digest: str) -> Path:
    return root / "blobs" / digest.replace(":", "-")


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size if file.is_file() else None
    except OSError:
        return None
