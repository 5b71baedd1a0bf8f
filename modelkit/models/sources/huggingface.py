"""Models on the Hugging Face Hub: `hf.co/organization/repository[:QUANTIZATION][@commit]`.

The cache, tokens and settings of `huggingface_hub` (`HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_ENDPOINT`,
`HF_HUB_OFFLINE`) count, and other tools share the files: the artifact's place is the snapshot's folder in that cache.
Small files are fetched by the library, large ones by our own downloader, verified while they arrive.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from modelkit.failure import Failure
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.formats.together import together
from modelkit.models.reference import Reference
from modelkit.models.sources.download import download
from modelkit.models.sources.hub import Hub, expect_hub
from modelkit.models.sources.picking import Listed, pick_files
from modelkit.models.sources.remote_file import RemoteFile
from modelkit.models.store import Progress, Store

_LARGEST_SMALL = 64 << 20  # bytes of a file whose digest only its content says
_LARGEST_INDEX = 64 << 20


def resolve(reference: Reference, store: Store, on_progress: Progress) -> Artifact:
    """The commit that the reference means now, and every file of the model there with its digest."""
    hub, repo = expect_hub(), reference.repo
    where = f"hf.co/{repo}"
    on_progress(0, None, f"asking {hub.host} for {repo}")
    commit, listing = hub.listing(repo, reference.revision or None)
    picked = pick_files(listing, reference.pick, where, lambda index: _weight_map(hub, repo, commit, index))
    small = [file for file, _ in picked.files if not file.sha256]
    digests = dict(zip(small, together(lambda file: _small(hub, repo, commit, file, store), small), strict=True))
    pieces = [Piece(file.path, f"sha256:{file.sha256}" if file.sha256 else digests[file], file.size, role)
              for file, role in picked.files]
    pick = f":{picked.pick}" if picked.pick else ""
    resolved = Reference.parse(f"hf://{repo}{pick}@{commit}", Path.cwd())
    return Artifact(reference.text, resolved.text, picked.form, tuple(pieces), commit,
                    str(hub.cache.snapshot(repo, commit)))


def fetch(artifact: Artifact, store: Store, on_progress: Progress) -> Artifact:
    """The same artifact with every file in the Hub's cache, each hashed and compared with its digest."""
    hub, repo, commit = expect_hub(), Reference.parse(artifact.resolved, Path.cwd()).repo, artifact.revision
    place = hub.cache.snapshot(repo, commit)
    missing = sum(piece.size for piece in artifact.files if not (place / piece.path).exists())
    _need_space(hub.cache.folder, missing, repo)
    done, label = 0, f"downloading {repo}"
    for piece in artifact.files:
        path = place / piece.path
        if not path.exists():
            _bring(hub, artifact, piece, store, partial(_report, on_progress, done, artifact.size, label))
        _presume_same(path, piece, artifact, store, on_progress)
        done += piece.size
        on_progress(done, artifact.size, label)
    return artifact.at(str(place))


def _bring(hub: Hub, artifact: Artifact, piece: Piece, store: Store, on_bytes: Callable[[int], None]) -> None:
    """Have one file in the Hub's cache, fetched by us: what the library fetches starts anew after a kill."""
    repo, commit = Reference.parse(artifact.resolved, Path.cwd()).repo, artifact.revision
    if not hub.cache.linked(repo, commit, piece.path, piece.digest):
        remote = replace(hub.remote(repo, commit, piece.path, piece.size), digest=piece.digest)
        fetched = download(remote, store, lambda done, total, label: on_bytes(done),
                           label=f"downloading {piece.path} of {repo}")
        hub.cache.keep(repo, commit, piece.path, fetched.path, piece.digest)
        if not any(piece.digest == other.digest for known in store.artifacts() for other in known.files
                   if known.place is None):
            fetched.path.unlink(missing_ok=True)  # the cache has it now


def _report(on_progress: Progress, before: int, total: int, label: str, count: int) -> None:
    on_progress(before + count, total, label)


def remote_file(artifact: Artifact, piece: Piece) -> RemoteFile:
    """One file of an artifact, read where it is: for headers before anything is fetched."""
    hub = expect_hub()
    repo = Reference.parse(artifact.resolved, Path.cwd()).repo
    return RemoteFile(hub.remote(repo, artifact.revision, piece.path, piece.size))


def _small(hub: Hub, repo: str, commit: str, file: Listed, store: Store) -> str:
    """The digest of a file that the Hub keeps in git: it is fetched, and is what git knows by that name."""
    if file.size > _LARGEST_SMALL:
        raise Failure("server-broken", f"hf.co/{repo}: {file.path} has {file.size} bytes and no sha256",
                      "the Hub keeps files of that size under their sha256; don't use this server")
    path = hub.download(repo, commit, file, lambda count: None)
    content = path.read_bytes()
    named = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    if len(content) != file.size or (file.git is not None and named != file.git):
        raise _different(path, file.path, f"hf.co/{repo}@{commit}")
    return store.digest(path)


def _weight_map(hub: Hub, repo: str, commit: str, index: Listed) -> dict[str, str]:
    """Which file of the model holds which tensor, as its index says."""
    if index.size > _LARGEST_INDEX:
        raise Failure("server-broken", f"hf.co/{repo}: {index.path} has {index.size} bytes", "that is no index")
    path = hub.download(repo, commit, index, lambda count: None)
    try:
        said: Any = json.loads(path.read_bytes())["weight_map"]
        if not isinstance(said, dict) or not all(isinstance(name, str) for name in said.values()):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Failure("model-incomplete", f"hf.co/{repo}: {index.path} does not say which file holds which tensor",
                      "the repository is broken") from None
    return said


def _presume_same(path: Path, piece: Piece, artifact: Artifact, store: Store, on_progress: Progress) -> None:
    if path.stat().st_size != piece.size or store.digest(path, on_progress) != piece.digest:
        raise _different(path, piece.path, artifact.resolved)


def _different(path: Path, name: str, where: str) -> Failure:
    return Failure("digest-mismatch", f"{name} of {where} is not what the Hub promises",
                   f"it was changed or damaged: delete {path.resolve()} and {path}, then run it again",
                   data={"path": str(path)})


def _need_space(cache: Path, size: int, repo: str) -> None:
    folder = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    if size > free:
        raise Failure("disk-full", f"hf.co/{repo} needs {size / 1e9:.1f} GB and {cache} has {free / 1e9:.1f} GB left",
                      "make room (`hf cache ls`), or set HF_HOME to a folder on a larger disk",
                      data={"needed": size, "free": free})
