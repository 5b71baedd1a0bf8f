"""GGUF files at an address of their own: `https://host/path/model.gguf`, pinned with `#sha256=…`."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from modelkit.failure import Failure
from modelkit.models.artifact import Artifact, Piece, presume_inside
from modelkit.models.reference import Reference
from modelkit.models.sources.download import Remote, RemoteFile, download
from modelkit.models.sources.ranges import State, ask
from modelkit.models.sources.transport import patiently, trouble
from modelkit.models.store import Progress, Store

_MAGIC = b"GGUF"


def resolve(reference: Reference, store: Store, on_progress: Progress) -> Artifact:
    """What is at the address. Where no digest is pinned the file comes into the store: only so is it known."""
    url, digest = _url(reference), reference.digest
    if digest and store.intact(blob := store.blob(digest), digest):
        return _artifact(reference, digest, blob.stat().st_size)
    size = patiently(lambda: _presume_gguf(Remote(url, digest or None)))
    if digest and size is not None:
        return _artifact(reference, digest, size)
    fetched = download(Remote(url, digest or None, size), store, on_progress, label=_label(reference))
    return _artifact(reference, fetched.digest, fetched.size)


def fetch(artifact: Artifact, store: Store, on_progress: Progress) -> Artifact:
    """The same artifact, its file in the store."""
    reference = Reference.parse(artifact.resolved, Path.cwd())
    (piece,) = artifact.files
    download(Remote(_url(reference), piece.digest, piece.size), store, on_progress, label=_label(reference))
    return artifact


def remote_file(artifact: Artifact, piece: Piece) -> RemoteFile:
    """The file of an artifact, read where it is: for its header before it is fetched."""
    return RemoteFile(Remote(_url(Reference.parse(artifact.resolved, Path.cwd())), size=piece.size))


def _artifact(reference: Reference, digest: str, size: int) -> Artifact:
    return Artifact(reference.text, f"{_url(reference)}#{digest.replace(':', '=')}", "gguf",
                    (Piece(_name(reference), digest, size),), revision=digest)


def _url(reference: Reference) -> str:
    return reference.text.partition("#")[0]


def _label(reference: Reference) -> str:
    return f"downloading {_name(reference)}"


def _name(reference: Reference) -> str:
    """What to call the file: its name there where that can be a file's name here."""
    name = PurePosixPath(unquote(urlsplit(reference.text).path)).name
    try:
        presume_inside(name)
    except Failure:
        return "model.gguf"
    return name if name.lower().endswith(".gguf") else f"{name}.gguf"


def _presume_gguf(remote: Remote) -> int | None:
    """Refuse, after its first bytes, what is no GGUF file. Its size if the server says it."""
    answer, offer = ask(remote, 0, len(_MAGIC), State())
    try:
        with trouble(remote):
            begin = answer.read(len(_MAGIC), decode_content=False)
    finally:
        answer.close()
    if begin == _MAGIC:
        return offer.state.size
    page = begin.lstrip()[:1] == b"<"
    raise Failure("not-a-gguf", f"{remote.shown} is {'a web page' if page else 'not a GGUF file'}",
                  "name the address of the file itself" if page else "name one GGUF file; a model of several files "
                  "comes from hf.co, oci:// or a folder", data={"url": remote.shown})
