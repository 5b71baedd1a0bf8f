"""Files over HTTP from a server that knows every vice: what arrives is what is promised, or nothing is kept."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.models.sources import receive, transport
from modelkit.models.sources.download import Remote, RemoteFile, download, get
from modelkit.models.store import Store, quiet
from tests.unit.models.servers import File, Server, observer, serving, sha256

DATA = random.Random(1).randbytes(3_000_000)
OTHER = random.Random(2).randbytes(3_000_000)
DIGEST = sha256(DATA)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(transport, "_PAUSE_S", 0.001)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is large and every connection slow."""
    monkeypatch.setattr(receive, "SEGMENT", 300_000)
    monkeypatch.setattr(receive, "_ROOM_FOR_ALL", 1_000_000)
    monkeypatch.setattr(receive, "_JUDGE_AFTER", (1, 0.0))
    monkeypatch.setattr(receive, "_FAST", 1 << 60)


def presume_untouched(store: Store) -> None:
    assert not (store.root / "blobs").exists()
    assert [path for path in (store.root / "partial").rglob("data") if path.stat().st_size] == []
    assert [thread.name for thread in threading.enumerate() if thread.name in ("sha256", "fdatasync")] == []


@pytest.mark.parametrize("digest", [DIGEST, None])
@pytest.mark.parametrize("file", [
    File(DATA), File(DATA, ranges=False), File(DATA, chunked=True), File(DATA, chunked=True, ranges=False),
    File(DATA, etag=""), File(DATA, etag='W/"weak"'), File(DATA, cut_after=[100_000, 200_000]),
    File(DATA, ranges=False, cut_after=[1_500_000]), File(DATA, statuses=[(503, {}), (429, {"Retry-After": "0"})]),
])
def test_what_arrives(file: File, digest: str | None, server: Server, store: Store) -> None:
    server.files["/file"] = File(**vars(file) | {"cut_after": [*file.cut_after], "statuses": [*file.statuses]})
    seen, on_progress = observer()
    fetched = download(Remote(f"{server.url}/file", digest), store, on_progress, label="downloading file")
    assert (fetched.digest, fetched.size, fetched.path) == (DIGEST, len(DATA), store.blob(DIGEST))
    assert fetched.path.read_bytes() == DATA
    assert not fetched.path.stat().st_mode & 0o222
    assert seen[-1] == (len(DATA), None if file.chunked and not file.ranges else len(DATA), "downloading file")
    assert list((store.root / "partial").iterdir()) == []


def test_an_empty_file(server: Server, store: Store) -> None:
    server.files["/file"] = File(b"")
    assert download(Remote(f"{server.url}/file"), store, quiet, label="x").digest == sha256(b"")
    assert download(Remote(f"{server.url}/file", sha256(b""), 0), Store(store.root / "2"), quiet, label="x").size == 0


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("cuts", [[], [10_000, 20_000, 250_000, 1, 299_999]])
def test_several_connections(cuts: list[int], server: Server, store: Store) -> None:
    server.files["/file"] = File(DATA, cut_after=cuts)
    seen, on_progress = observer()
    download(Remote(f"{server.url}/file", DIGEST), store, on_progress, label="x")
    asked = [headers.get("Range", "") for headers in server.requests("/file")]
    assert len(asked) >= 9 + len(cuts) or not cuts
    assert len({*asked}) > 8
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert store.blob(DIGEST).read_bytes() == DATA


@pytest.mark.usefixtures("several")
def test_several_connections_fail_as_one(server: Server, store: Store) -> None:
    server.files["/file"] = File(DATA, changes=[OTHER] * 100)
    with pytest.raises(Failure) as failed:
        download(Remote(f"{server.url}/file", DIGEST), store, quiet, label="x")
    assert failed.value.code in ("digest-mismatch", "changed-meanwhile")
    presume_untouched(store)


def test_a_cut_is_continued_where_it_was(server: Server, store: Store) -> None:
    server.files["/file"] = File(DATA, cut_after=[1_000_000])
    download(Remote(f"{server.url}/file"), store, quiet, label="x")
    first, second = server.requests("/file")
    assert (first["Range"], second["Range"]) == ("bytes=0-", "bytes=1000000-2999999")
    assert second["If-Range"] == server.files["/file"].tag


@pytest.mark.parametrize(("digest", "code"), [(None, None), (DIGEST, "digest-mismatch")])
def test_a_file_that_changes_meanwhile(digest: str | None, code: str | None, server: Server, store: Store) -> None:
    server.files["/file"] = File(DATA, cut_after=[1_000_000], changes=[OTHER])
    remote = Remote(f"{server.url}/file", digest)
    if code is None:
        assert download(remote, store, quiet, label="x").digest == sha256(OTHER)
        return
    with pytest.raises(Failure) as failed:
        download(remote, store, quiet, label="x")
    assert failed.value.code == code
    presume_untouched(store)


@pytest.mark.parametrize(("file", "promised", "code", "message"), [
    (File(OTHER), {"digest": DIGEST}, "digest-mismatch", "is not what it should be"),
    (File(DATA[:-1]), {"digest": DIGEST}, "digest-mismatch", "is not what it should be"),
    (File(DATA), {"digest": DIGEST, "size": 5}, "size-mismatch", "has 3000000 bytes, and 5 are promised"),
    (File(DATA, chunked=True, ranges=False), {"size": 5}, "size-mismatch", "goes on after the 5 bytes"),
    (File(DATA, chunked=True, ranges=False), {"size": 9 << 20}, "size-mismatch", "ends before"),
    (File(DATA, endless=True), {"digest": DIGEST, "size": 2_000_000}, "size-mismatch", "2000000"),
    (File(b"", endless=True, ranges=False), {"digest": DIGEST, "size": 10**6}, "size-mismatch", "goes on after"),
    (File(b"", endless=True, ranges=False), {"digest": DIGEST}, "size-mismatch", "goes on after the 10000000"),
    (File(b"", endless=True, ranges=False, chunked=True), {}, "size-mismatch", "goes on after the 10000000"),
    (File(DATA, mute=True, ranges=False), {}, "server-broken", "does not say how large"),
    (File(DATA, says_length=99 << 30, ranges=False), {}, "size-mismatch", "is larger than the 10000000"),
    (File(DATA, says_length=4_000_000, ranges=False), {}, "network", "connection was cut"),
    (File(DATA, wrong_range=True), {}, "server-broken", "another part"),
    (File(DATA, redirect="/file"), {}, "too-many-redirects", "from one address to the next"),
    (File(DATA, redirect="http://models.invalid/x"), {}, "insecure", "not encrypted"),
    (File(DATA, redirect="file:///etc/passwd"), {}, "network", "neither https nor http"),
    (File(DATA, redirect="http://[::1/x"), {}, "network", "no address"),
    (File(DATA, token="t"), {}, "unauthorized", "401"),
    (File(DATA, statuses=[(403, {})]), {}, "unauthorized", "403"),
    (File(DATA, statuses=[(404, {})]), {}, "not-found", "404"),
    (File(DATA, statuses=[(400, {})]), {}, "network", "400"),
    (File(DATA, statuses=[(500, {})] * 9), {}, "network", "500"),
    (File(DATA, statuses=[(429, {"Retry-After": "86400"})]), {}, "rate-limited", "429"),
])
def test_a_hostile_server(file: File, promised: dict[str, Any], code: str, message: str, *, server: Server,
                          store: Store) -> None:
    server.files["/file"] = File(**vars(file) | {"statuses": [*file.statuses]})
    with pytest.raises(Failure, match=message) as failed:
        download(Remote(f"{server.url}/file", **promised), store, quiet, label="x", at_most=10_000_000)
    assert failed.value.code == code
    if code != "network":  # what came before a cut is kept for the next attempt
        presume_untouched(store)
    assert not (store.root / "blobs").exists()


def test_a_server_that_stalls(server: Server, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "STALL_S", 0.2)
    server.files["/file"] = File(DATA, stall_after=1 << 20)
    download(Remote(f"{server.url}/file", DIGEST), store, quiet, label="x")  # each attempt brings some
    assert len(server.requests("/file")) == 3
    server.files["/file"] = File(DATA, stall_after=0)
    with pytest.raises(Failure, match="nothing came for") as failed:
        download(Remote(f"{server.url}/file"), store, quiet, label="x")
    assert failed.value.code == "network"


def test_authorization_stays_at_home(server: Server, store: Store) -> None:
    with serving({"/there": File(DATA)}) as other:
        server.files |= {"/near": File(redirect="/file"), "/file": File(redirect=f"{other.url}/there", token="secret")}
        download(Remote(f"{server.url}/near", DIGEST, headers={"Authorization": "Bearer secret"}), store, quiet,
                 label="x")
        assert [headers["Authorization"] for _, _, headers in server.seen] == ["Bearer secret"] * 2
        assert [headers.get("Authorization") for _, _, headers in other.seen] == [None]
    assert "secret" not in repr(Remote("https://a/b", headers={"Authorization": "Bearer secret"}))


@pytest.mark.usefixtures("several")
def test_a_signed_address_is_kept_until_it_runs_out(server: Server, store: Store) -> None:
    with serving({"/signed": File(DATA)}) as other:
        server.files["/file"] = File(redirect=f"{other.url}/signed?signature=x")
        download(Remote(f"{server.url}/file", DIGEST), store, quiet, label="x")
        assert (len(server.seen), len(other.seen) > 8) == (1, True)
        other.files["/signed"] = File(DATA, runs_out=[1])
        download(Remote(f"{server.url}/file", DIGEST), Store(store.root / "2"), quiet, label="x")
        assert len(server.seen) > 2


def test_a_proxy_of_the_environment(server: Server, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["http://models.invalid/file"] = File(DATA)
    monkeypatch.setenv("HTTP_PROXY", server.url.replace("http://", "http://me:pw@"))
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "http://me:pw@"))
    download(Remote("http://models.invalid/file", DIGEST, insecure=True), store, quiet, label="x")
    assert server.seen[0][2]["Proxy-Authorization"].startswith("Basic ")


def test_too_little_room(server: Server, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=65 << 20))
    server.files["/file"] = File(DATA)
    with pytest.raises(Failure) as failed:
        download(Remote(f"{server.url}/file", DIGEST), store, quiet, label="x")
    assert failed.value.code == "disk-full"
    presume_untouched(store)


@pytest.mark.usefixtures("several")
def test_an_interrupt_ends_everything_and_is_continued(server: Server, store: Store) -> None:
    def interrupt(done: int, total: int | None, label: str) -> None:
        if done > 1_000_000:
            raise KeyboardInterrupt

    server.files["/file"] = File(DATA, slow=0.001)
    with pytest.raises(KeyboardInterrupt):
        download(Remote(f"{server.url}/file", DIGEST), store, interrupt, label="x")
    assert [thread.name for thread in threading.enumerate() if thread.name in ("receive", "sha256", "fdatasync")] == []
    before = len(server.requests("/file"))
    download(Remote(f"{server.url}/file", DIGEST), store, quiet, label="x")
    asked = server.requests("/file")[before]["Range"]
    assert int(asked.removeprefix("bytes=").partition("-")[0]) > 900_000


CHILD = """
import sys
from pathlib import Path
from modelkit.models.sources.download import Remote, download
from modelkit.models.store import Store, quiet
url, digest, root = sys.argv[1:]
print(download(Remote(url, digest or None), Store(Path(root)), quiet, label="x").digest)
"""


def child(server: Server, store: Store, digest: str | None = DIGEST) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CHILD, f"{server.url}/file", digest or "", str(store.root)],
                            stdout=subprocess.PIPE, text=True)


def _partial_size(store: Store) -> int:
    return sum(path.stat().st_size for path in (store.root / "partial").rglob("data"))


@pytest.mark.parametrize("digest", [DIGEST, None])
def test_a_kill_and_another_attempt(digest: str | None, server: Server, store: Store) -> None:
    server.files["/file"] = File(DATA, slow=0.01)
    with child(server, store, digest) as process:
        while process.poll() is None and _partial_size(store) < 1_000_000:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    was = _partial_size(store)
    assert 1_000_000 <= was < len(DATA)
    server.files["/file"].slow = 0.0
    assert download(Remote(f"{server.url}/file", digest), store, quiet, label="x").digest == DIGEST
    begin = int(server.requests("/file")[-1]["Range"].removeprefix("bytes=").partition("-")[0])
    assert begin == (was if digest else 0)  # without a digest only what surely was on the disk is trusted
    assert list((store.root / "partial").iterdir()) == []


def test_what_a_kill_left_is_not_believed(server: Server, store: Store) -> None:
    server.files["/file"] = File(DATA, slow=0.01)
    with child(server, store) as process:
        while process.poll() is None and _partial_size(store) < 1_000_000:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    (data,) = (store.root / "partial").rglob("data")
    data.write_bytes(b"?" + data.read_bytes()[1:])
    (data.parent / "state.json").write_text("{")
    server.files["/file"].slow = 0.0
    assert download(Remote(f"{server.url}/file", DIGEST), store, quiet, label="x").path.read_bytes() == DATA


def test_two_processes_fetch_it_once(server: Server, store: Store) -> None:
    server.files["/file"] = File(DATA, slow=0.005)
    with child(server, store) as first, child(server, store) as second:
        assert first.communicate()[0] == second.communicate()[0] == f"{DIGEST}\n"
    assert server.sent == len(DATA)


def test_a_part_of_a_remote_file(server: Server) -> None:
    server.files["/file"] = File(DATA)
    with RemoteFile(Remote(f"{server.url}/file")) as file:
        assert file.size == len(DATA)
        for offset, count in [(0, 4), (4, 100), (262_143, 2), (2_999_990, 100), (5_000_000, 1), (100, 0),
                              (0, 3_000_000)]:
            assert file.read_at(offset, count) == DATA[offset:offset + count]
        asked = len(server.seen)
        file.read_at(1_000_000, 1_000_000)
        assert len(server.seen) == asked  # from memory


@pytest.mark.parametrize(("file", "code"), [
    (File(DATA, ranges=False), "ranges-unsupported"), (File(DATA, changes=[OTHER]), "changed-meanwhile"),
    (File(DATA, statuses=[(404, {})]), "not-found"), (File(DATA, wrong_range=True), "server-broken"),
    (File(DATA[:-5]), "size-mismatch"),
])
def test_parts_that_can_not_be_had(file: File, code: str, server: Server) -> None:
    server.files["/file"] = file
    with pytest.raises(Failure) as failed, RemoteFile(Remote(f"{server.url}/file", size=len(DATA))) as remote:
        remote.read_at(2_000_000, 10)
    assert failed.value.code == code


def test_small_documents(server: Server) -> None:
    server.files |= {"/a": File(b"{}", token="t"), "/b": File(b"", endless=True, ranges=False)}
    assert get(Remote(f"{server.url}/a"), at_most=10).status == 401
    answer = get(Remote(f"{server.url}/a", headers={"Authorization": "Bearer t"}), at_most=10)
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"{}", "2")
    with pytest.raises(Failure, match="larger than the 10 bytes"):
        get(Remote(f"{server.url}/b"), at_most=10)
    with pytest.raises(Failure, match="refused") as failed:
        get(Remote("http://127.0.0.1:9/"), at_most=10)
    assert failed.value.code == "network"
