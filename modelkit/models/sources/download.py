"""The one way files come over HTTP: verified while they arrive, continued after a cut or a kill, as fast as the link.

A download belongs to its digest (to its address where no digest is promised), so two processes that want one file fetch
it once. What is there of it lies in the store's `partial`, and is gone when it turns out to be something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from modelkit.failure import Failure
from modelkit.models.sources.partial import Partial
from modelkit.models.sources.ranges import Offer, ask
from modelkit.models.sources.receive import Changed, Receiving
from modelkit.models.sources.remote_file import RemoteFile
from modelkit.models.sources.transport import PassingTrouble, Patience, Remote, Response, get
from modelkit.models.store import Progress, Store

__all__ = ["Fetched", "Remote", "RemoteFile", "Response", "download", "get"]

_ENDLESS = 1 << 42  # bytes: 4 TiB, more than any model has
_CHECK_ROOM_EVERY = 256 << 20


@dataclass(frozen=True)
class Fetched:
    """A file that is in the store now."""

    digest: str
    size: int
    path: Path


def download(remote: Remote, store: Store, on_progress: Progress, *, label: str, at_most: int = _ENDLESS) -> Fetched:
    """Have a remote file in the store, with the digest and size that are promised for it.

    Raises Failure: `network`, `not-found`, `unauthorized`, `digest-mismatch`, `size-mismatch`, `disk-full` and others.
    """
    waiting = f"waiting for another process that is {label}"
    with store.partial(f"download {remote.digest or remote.url}", lambda: on_progress(0, None, waiting)) as folder:
        if remote.digest is not None and store.intact(store.blob(remote.digest), remote.digest):
            return _fetched(store, remote.digest)
        with Partial(folder) as partial:
            digest = _Download(remote, store, partial, on_progress, label, at_most).bring()
        store.add(partial.path, digest)
        return _fetched(store, digest)


def _fetched(store: Store, digest: str) -> Fetched:
    path = store.blob(digest)
    return Fetched(digest, path.stat().st_size, path)


@dataclass(frozen=True)
class _Download:
    remote: Remote
    store: Store
    partial: Partial
    on_progress: Progress
    label: str
    at_most: int

    def bring(self) -> str:
        """Receive what is missing, from the start if need be, and give the digest of all of it."""
        remote, partial, patience = self.remote, self.partial, Patience()
        doubtful = self._take_up()
        while True:
            try:
                self._receive()
            except PassingTrouble as passing:
                patience.wait(passing)
                continue
            except Changed:
                patience.wait(PassingTrouble(Failure(
                    "changed-meanwhile", f"{remote.shown} changes while it is fetched", "run it again later")))
                partial.drop()
                continue
            digest = partial.digest()
            if remote.digest in (None, digest):
                return digest
            partial.drop()
            if not doubtful:
                raise Failure("digest-mismatch", f"{remote.shown} is not what it should be: it has {digest}, and "
                              f"{remote.digest} is promised", "it was damaged on the way or changed at its place; "
                              "nothing of it was kept", data={"url": remote.shown})
            doubtful = False  # perhaps only what was here before is wrong

    def _take_up(self) -> bool:
        """Take up what an earlier download left, where it can be trusted: is there any?

        With a promised digest anything may be tried. Without one, only what was surely on the disk, of a file with a
        validator; and its last byte is asked for again so that the server says whether it is still that file.
        """
        remote, partial, length = self.remote, self.partial, self.partial.length
        if remote.digest is None:
            named = partial.state.validator is not None and partial.state.url == remote.url
            length = max(0, min(partial.durable(), (partial.state.size or length) - 1)) if named else 0
        if remote.size is not None and length > remote.size:
            length = 0
        partial.resume(length, self.on_progress, remote.size, self.label)
        return length > 0

    def _receive(self) -> None:
        """Append what is missing. Raises PassingTrouble when it can go on later, Changed when it has to begin again."""
        remote, partial = self.remote, self.partial
        if partial.length and partial.length == remote.size:
            return
        answer, offer = ask(remote, partial.length, None, partial.state)
        try:
            total = self._presume_size(offer)
            if offer.start != partial.length:
                partial.drop()
            partial.begin(offer.state)
            if total is not None:
                self.store.need_space(total - partial.length, remote.shown)
            with Receiving(remote, answer, offer) as blocks:
                self._append(blocks, total)
        finally:
            answer.close()
        if total is not None and partial.length != total:
            raise self._wrong_size(total, "ends before")

    def _append(self, blocks: Iterable[bytes], total: int | None) -> None:
        partial, checked = self.partial, self.partial.length
        self.on_progress(checked, total, self.label)
        for block in blocks:
            if partial.length + len(block) > (self.at_most if total is None else total):
                raise self._wrong_size(total or self.at_most, "goes on after")
            partial.write(block)
            self.on_progress(partial.length, total, self.label)
            if total is None and partial.length - checked >= _CHECK_ROOM_EVERY:
                self.store.need_space(_CHECK_ROOM_EVERY, self.remote.shown)
                checked = partial.length

    def _presume_size(self, offer: Offer) -> int | None:
        """How large the whole file is, None where nobody says."""
        remote, said = self.remote, offer.state.size
        if remote.size is not None and said is not None and said != remote.size:
            raise Failure("size-mismatch", f"{remote.shown} has {said} bytes, and {remote.size} are promised",
                          "the server is broken or hostile; don't use it", data={"url": remote.shown})
        total = said if said is not None else remote.size
        if total is None and not offer.chunked and remote.digest is None:
            raise Failure("server-broken", f"{remote.shown}: the server does not say how large it is, so a cut would "
                          "not be seen", "pin its digest (`#sha256=…`), or take it from another server")
        if total is not None and total > self.at_most:
            raise self._wrong_size(self.at_most, "is larger than")
        return total

    def _wrong_size(self, size: int, how: str) -> Failure:
        """The Failure about a body of another size, with nothing of it left."""
        self.partial.drop()
        return Failure("size-mismatch", f"{self.remote.shown} {how} the {size} bytes that it should have",
                       "the server is broken or hostile; don't use it", data={"url": self.remote.shown})
