"""Models in OCI registries: `oci://host/namespace/name[:tag][@sha256:…]`, read and written.

What is written is ModelPack with one raw layer for each file. So a layer is the same bytes as the blob in the store,
nothing is packed or copied, and the same files under the same names always give the same manifest: it holds no time,
no tool and no host.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.digests import canonical_json
from modelkit.models.reference import Reference
from modelkit.models.sources import layouts
from modelkit.models.sources.manifests import OCI_MANIFEST, digest_of
from modelkit.models.sources.registry import Registry
from modelkit.models.store import Progress, Store, quiet

if TYPE_CHECKING:
    from modelkit.models.weights import Weights

_ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
_CONFIG = "application/vnd.cncf.model.config.v1+json"


def resolve(reference: Reference, store: Store, on_progress: Progress) -> Artifact:
    """What a tag or a digest means now. Layers that are archives come here for that: only so are their files known."""
    registry = Registry(reference.host, reference.name)
    on_progress(0, None, f"asking {reference.host}")
    manifest = registry.manifest(reference.digest or reference.tag)
    found = layouts.contents(manifest, registry.where)
    layouts.presume_distinct(found.pieces, registry.where)
    pieces, new = list(found.pieces), list[str]()
    try:
        for archive in found.archives:
            held, unknown = _unpacked(registry, archive, store, on_progress)
            pieces += held
            new += unknown
        layouts.presume_distinct(pieces, registry.where)
        form = layouts.form_of(pieces, manifest, registry.where)
    except Failure:
        _drop(new, store)
        raise
    return Artifact(reference.text, _pinned(reference, manifest.digest), form, tuple(sorted(pieces)), manifest.digest)


def fetch(artifact: Artifact, store: Store, on_progress: Progress) -> Artifact:
    """The same artifact with all of its files in the store."""
    missing = [piece for piece in artifact.files if not store.intact(store.blob(piece.digest), piece.digest)]
    if not missing:
        return artifact
    reference = Reference.parse(artifact.resolved, Path.cwd())
    registry = Registry(reference.host, reference.name)
    manifest = registry.manifest(reference.digest)
    layers = {layer.digest: layer for layer in manifest.layers}
    store.need_space(sum(piece.size for piece in missing), artifact.resolved)
    for piece in missing:
        if piece.digest in layers:
            registry.fetch(layers[piece.digest], store, on_progress, f"downloading {piece.path.rpartition('/')[2]}")
    packed = {piece.digest for piece in missing} - layers.keys()
    for archive in layouts.contents(manifest, registry.where).archives if packed else ():
        packed -= {piece.digest for piece in _unpacked(registry, archive, store, on_progress)[0]}
    if packed:
        raise Failure("digest-mismatch", f"{artifact.resolved} does not hold {min(packed)} any more",
                      "pull its tag again", data={"reference": artifact.resolved})
    return artifact


def push(model: Weights | Artifact, reference: Reference, store: Store, on_progress: Progress = quiet) -> Artifact:
    """Have a model in a registry. The artifact says what it is called there, and where its files are here.

    Blobs that the registry has are not sent again. The tag comes last, so nobody ever sees half a model.
    """
    if reference.kind != "oci" or reference.digest:
        raise Failure("reference-invalid", f"{reference.text} is no place to push to",
                      "write `oci://host/namespace/name:tag`")
    artifact = model if isinstance(model, Artifact) else _artifact_of(model, store, on_progress)
    from modelkit.models.sources.upload import send_bytes, upload

    files = sorted(artifact.files)
    layouts.presume_distinct(files, artifact.reference)
    registry = Registry(reference.host, reference.name, writing=True)
    registry.ping()
    for piece in files:
        path = store.path(artifact, piece)
        try:
            if not store.intact(path, piece.digest):
                raise Failure("model-changed", f"{path} is not what it was", f"pull {artifact.reference} again")
            upload(registry, path, piece, store, on_progress)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise Failure("model-unreadable", f"{path} can't be read: {why}") from None
    config = canonical_json(_config(artifact.form, files))
    send_bytes(registry, config, digest_of(config))
    digest = registry.write_manifest(reference.tag, canonical_json(_manifest(config, files)))
    return Artifact(reference.text, _pinned(reference, digest), artifact.form, tuple(files), digest, artifact.place)


def _pinned(reference: Reference, digest: str) -> str:
    tag = f":{reference.tag}" if reference.tag else ""
    return f"oci://{reference.host}/{reference.name}{tag}@{digest}"


def _unpacked(registry: Registry, archive: layouts.Archive, store: Store,
              on_progress: Progress) -> tuple[list[Piece], list[str]]:
    """The files of an archive, in the store, and which of them are new there. The archive itself goes again."""
    from modelkit.models.sources.unpack import unpack

    layer = archive.layer
    with store.alone(f"archive {layer.digest}", lambda: on_progress(0, None, "waiting for another unpacking")):
        registry.fetch(layer, store, on_progress, "downloading an archive")
        try:
            return unpack(archive, registry.where, store, on_progress)
        finally:
            _drop([layer.digest], store)


def _drop(digests: Iterable[str], store: Store) -> None:
    """Remove blobs from the store, but for those that a model there means."""
    meant = {piece.digest for known in store.artifacts() for piece in known.files}
    for digest in set(digests) - meant:
        store.blob(digest).unlink(missing_ok=True)


def _artifact_of(weights: Weights, store: Store, on_progress: Progress) -> Artifact:
    """The files of weights that are here, wherever they came from."""
    known = store.find(weights.reference) if weights.recipe is None else None
    if known is not None:
        return known
    path = Path(weights.path)
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and not layouts.left_out(file.name)
                           and not any(part.startswith(".") for part in file.relative_to(path).parts))
            return Artifact(weights.reference, weights.reference, weights.form,
                            tuple(_piece(file, path, store, on_progress) for file in files), place=str(path))
        return Artifact(weights.reference, weights.reference, weights.form,
                        (_piece(path, path.parent, store, on_progress),), place=str(path.parent))
    except OSError as error:
        raise Failure("model-unreadable", f"{error.filename or path} can't be read: "
                      f"{(error.strerror or str(error)).lower()}") from None


def _piece(file: Path, folder: Path, store: Store, on_progress: Progress) -> Piece:
    path = file.relative_to(folder).as_posix()
    return Piece(path, store.digest(file, on_progress), file.stat().st_size, layouts.role_of(path))


def _config(form: str, files: Iterable[Piece]) -> dict[str, Any]:
    return {"descriptor": {}, "config": {"format": form},
            "modelfs": {"type": "layers", "diffIds": [piece.digest for piece in files]}}


def _manifest(config: bytes, files: Iterable[Piece]) -> dict[str, Any]:
    layers = [{"mediaType": layouts.written(piece.role), "digest": piece.digest, "size": piece.size,
               "annotations": {layouts.FILE_PATH: piece.path, layouts.TITLE: piece.path}} for piece in files]
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": _ARTIFACT, "layers": layers,
            "config": {"mediaType": _CONFIG, "digest": digest_of(config), "size": len(config)}}
