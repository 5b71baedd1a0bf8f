"""A blob sent to a registry: in one request while it is small, else in one that goes on where it was cut.

The OCI distribution specification 1.1, "Pushing blobs". Where an upload is going on is kept in the store, so that even
after a kill the next push continues it where the registry can (Docker's registry 2.8 begins anew in that case).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from modelkit.failure import Failure
from modelkit.models.artifact import Piece
from modelkit.models.sources.manifests import broken
from modelkit.models.sources.registry import Registry
from modelkit.models.sources.transport import PassingTrouble, Patience, Remote, Response, request
from modelkit.models.store import Progress, Store

_SMALL = 4 << 20
_BLOCK = 1 << 20
_COMMIT_S = 900.0  # a registry may copy what it was sent before it answers
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


def upload(registry: Registry, file: Path, piece: Piece, store: Store, on_progress: Progress) -> bool:
    """Have the content of `file` in the registry; False when it was there. Raises Failure, OSError for the file."""
    label = f"uploading {piece.path.rpartition('/')[2]}"
    if registry.has(piece.digest, piece.size):
        return False
    if piece.size <= _SMALL:
        _send_at_once(registry, file.read_bytes(), piece.digest)
        on_progress(piece.size, piece.size, label)
    else:
        key = f"upload {registry.base} {registry.name} {piece.digest}"
        with store.partial(key, lambda: on_progress(0, None, f"waiting for another {label}")) as folder:
            _send(registry, file, piece, folder / "location", lambda done: on_progress(done, piece.size, label))
    return True


def send_bytes(registry: Registry, body: bytes, digest: str) -> None:
    """Have a small blob in the registry."""
    if not registry.has(digest, len(body)):
        _send_at_once(registry, body, digest)


def _send_at_once(registry: Registry, body: bytes, digest: str) -> None:
    url = _with_digest(_begin(registry), digest)
    answer = registry.ask("PUT", url, {"Content-Type": "application/octet-stream"}, body)
    _presume_taken(registry, answer, digest)


def _send(registry: Registry, file: Path, piece: Piece, record: Path, on_bytes: Callable[[int], None]) -> None:
    """Send what the registry has not got yet, until it has all."""
    patience, furthest, anew = Patience(), 0, False
    while True:
        url, start = _continued(registry, record, piece.size)
        if url is None:
            url, start = _begin(registry), 0
            record.write_text(url)
        if start >= furthest + _BLOCK:
            patience.progressed()
            furthest = start
        try:
            if start < piece.size:
                url = _patch(registry, url, _Content(file, start, piece.size, on_bytes))
                record.write_text(url)
        except PassingTrouble as passing:
            patience.wait(passing)
            continue
        answer = registry.ask("PUT", _with_digest(url, piece.digest), {"Content-Length": "0"}, b"", stall_s=_COMMIT_S)
        if answer.status != 201 and registry.has(piece.digest, piece.size):
            return  # the answer to an earlier request was lost
        if answer.status == 201 or anew:
            _presume_taken(registry, answer, piece.digest)
            return
        anew = True  # perhaps only what another process had sent is wrong
        record.unlink(missing_ok=True)


def _begin(registry: Registry) -> str:
    answer = registry.ask("POST", f"{registry.base}/v2/{registry.name}/blobs/uploads/", {"Content-Length": "0"}, b"")
    registry.presume(answer, 202, f"nothing can be uploaded to {registry.where}")
    return registry.location(answer)


def _continued(registry: Registry, record: Path, size: int) -> tuple[str | None, int]:
    """Where an earlier upload goes on and what is there of it, or nothing."""
    try:
        url = record.read_text()
    except (OSError, ValueError):
        return None, 0
    with suppress(Failure):
        answer = registry.ask("GET", url)
        said = _RANGE.fullmatch(answer.headers.get("Range", ""))
        if answer.status == 204:
            there = int(said[1]) + 1 if said is not None and said[1] != "0" else 0
            if there <= size:
                return (registry.location(answer) if "Location" in answer.headers else url), there
    record.unlink(missing_ok=True)
    return None, 0


def _patch(registry: Registry, url: str, body: _Content) -> str:
    """Send the rest of a blob. Gives where its upload ends. Raises PassingTrouble, Failure."""
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(body.size - body.start)}
    if body.start:
        headers["Content-Range"] = f"{body.start}-{body.size - 1}"
    with request(Remote(url, headers=registry.authorized(url)), headers, method="PATCH",
                 body=cast(bytes, body)) as answer:
        whole = Response(answer.status, answer.headers, b"", url)
    if whole.status in (401, 404, 416):  # a token that ran out, or an upload that the registry gave up
        raise PassingTrouble(Failure("registry-refused", f"an upload to {registry.where} was given up: the registry "
                                     f"answers with {whole.status}", "run it again"))
    registry.presume(whole, 202, f"an upload to {registry.where} failed")
    return registry.location(whole)


def _presume_taken(registry: Registry, answer: Response, digest: str) -> None:
    registry.presume(answer, 201, f"{registry.where} does not take {digest}")
    if answer.headers.get("Docker-Content-Digest", digest) != digest:
        broken(registry.where, f"it took {digest} for something else")


def _with_digest(url: str, digest: str) -> str:
    parts = urlsplit(url)
    return parts._replace(query=urlencode([*parse_qsl(parts.query, keep_blank_values=True),
                                           ("digest", digest)])).geturl()


@dataclass
class _Content:
    """The rest of a file as the body of a request, from the beginning whenever it is asked for."""

    file: Path
    start: int
    size: int
    on_bytes: Callable[[int], None]

    def __iter__(self) -> Iterator[bytes]:
        with self.file.open("rb", buffering=0) as file:
            done = file.seek(self.start)
            while block := file.read(min(_BLOCK, self.size - done)):
                yield block
                done += len(block)
                self.on_bytes(done)
