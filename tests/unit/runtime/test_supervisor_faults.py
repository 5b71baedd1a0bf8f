"""What the world can do to a run: one clear Failure each, and nothing left behind."""

from __future__ import annotations

import contextlib
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from modelkit.failure import Failure
from modelkit.runtime import client
from modelkit.runtime.identity import Identity
from modelkit.runtime.project import Lock, Project
from tests.unit.runtime.support import MODELFILE, Home, bundle, kill, post, within


def failure_of(home: Home, *vices: str, **options: float) -> Failure:
    with home.ensure() as connected, pytest.raises(Failure) as failed:
        connected.apply(bundle(*vices, **options))
    return failed.value


@pytest.fixture
def gone(home: Home) -> Iterator[None]:
    """After the failure nothing is left, without any further command."""
    yield
    assert within(30, lambda: not home.leftovers())
    assert not home.project.directory.exists()


@pytest.mark.usefixtures("gone")
class TestAnEngineThatDoesNotStart:
    def test_dies(self, home: Home) -> None:
        failure = failure_of(home, "--say", "first words", "--die-at-start", "CUDA error: no device")
        assert (failure.code, failure.message) == ("engine-exited", "the engine exited with status 1")
        assert failure.detail == ("first words", "CUDA error: no device")

    def test_is_not_there(self, home: Home) -> None:
        what = bundle()
        missing = type(what)(what.plan, type(what.launch)(("/nowhere/engine",)))
        with home.ensure() as connected, pytest.raises(Failure) as failed:
            connected.apply(missing)
        assert failed.value.code == "engine-not-startable"
        assert "/nowhere/engine" in failed.value.message

    def test_is_never_ready(self, home: Home) -> None:
        failure = failure_of(home, "--never-ready", start=2.0)
        assert failure.code == "engine-not-ready"
        assert "/health answers 503" in failure.message

    def test_listens_elsewhere(self, home: Home) -> None:
        failure = failure_of(home, "--wrong-socket", start=0.5)
        assert failure.code == "engine-not-ready"
        assert "does not listen" in failure.message

    def test_is_spoken_for_by_a_stranger(self, home: Home) -> None:
        failure = failure_of(home, "--impostor", start=3)
        assert failure.code == "engine-not-ready"
        assert "another process answers on its socket" in failure.message

    def test_lies_about_its_health(self, home: Home) -> None:
        failure = failure_of(home, "--lying-health")
        assert failure.code == "engine-not-working"
        assert "EngineCore is dead" in "".join(failure.detail)

    def test_dies_of_the_first_request(self, home: Home) -> None:
        failure = failure_of(home, "--die-on-request", "1")
        assert failure.message == "the engine was killed by SIGKILL"
        assert "memory ran out" in str(failure.hint)

    def test_leaves_a_grandchild(self, home: Home) -> None:
        assert failure_of(home, "--spawn-grandchild", "--lying-health").code == "engine-not-working"


@pytest.mark.usefixtures("gone")
def test_a_busy_port_is_found_before_any_engine_starts(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Failure) as busy:
            home.ensure(port=taken.getsockname()[1])
    assert busy.value.code == "port-busy"
    assert f"pid {psutil.Process().pid}" in busy.value.message
    assert home.said() == ""


def test_an_unusable_run_directory(home: Home) -> None:
    (home.path / "run").write_text("a file is in the way")
    with pytest.raises(Failure) as failed:
        home.ensure()
    assert failed.value.code == "run-directory"
    assert str(home.path / "run") in failed.value.message


def test_a_run_directory_that_is_a_link(home: Home) -> None:
    elsewhere = home.path / "elsewhere"
    elsewhere.mkdir()
    (home.path / "run").mkdir()
    home.project.directory.symlink_to(elsewhere)
    with pytest.raises(Failure) as failed:
        home.ensure()
    assert failed.value.code == "run-directory"
    assert list(elsewhere.iterdir()) == []


@pytest.mark.usefixtures("gone")
def test_a_full_disk_at_start(home: Home) -> None:
    """No process below may write a byte into a file: as on a full disk, with another errno."""
    script = ("import resource, signal, sys\n"
              "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
              "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
              "from modelkit.runtime import client\n"
              "from modelkit.runtime.edge import Access\n"
              "from modelkit.failure import Failure\n"
              "try:\n"
              "    client.ensure(client.project_id(sys.argv[1]), host='127.0.0.1', port=0, access=Access())\n"
              "except Failure as failure:\n"
              "    print(failure.code, '|', failure.message)\n")
    done = subprocess.run([sys.executable, "-c", script, MODELFILE], capture_output=True, text=True, check=False)
    assert (done.stdout.partition(" ")[0], done.stderr) == ("run-directory", "")


def test_a_full_disk_while_it_runs(home: Home) -> None:
    up = home.up()
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux can limit another process")
    resource.prlimit(int(up.hello["pid"]), resource.RLIMIT_FSIZE, (0, 0))
    with pytest.raises(Failure) as failed:
        up.apply(bundle(stage="prod", files=(type(_file())("a.json", "{}"),)), allow_switch=True)
    assert failed.value.code == "run-directory"
    assert post(up.endpoint, max_tokens=1)[0] == 200
    up.down()
    assert home.leftovers() == []


def _file() -> object:
    from modelkit.engines.launch import File

    return File("a.json", "{}")


def test_a_run_directory_removed_under_a_running_supervisor(home: Home) -> None:
    home.up(bundle("--spawn-grandchild"))
    shutil.rmtree(home.path / "run")
    assert within(30, lambda: not home.leftovers())
    up = home.up()
    assert post(up.endpoint, max_tokens=1)[0] == 200


def test_a_lock_removed_under_a_running_supervisor(home: Home) -> None:
    old = home.up()
    home.project.lock.unlink()
    assert within(30, lambda: Identity.of(old.hello["pid"]) is None)
    assert post(home.up().endpoint, max_tokens=1)[0] == 200


def test_a_path_too_long_for_a_socket(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    long = home.path / ("long" * 30)
    monkeypatch.setenv("MODELKIT_HOME", str(long))
    far = Home(long)
    try:
        up = far.up()
        assert len(str(far.project.control)) < 100
        assert far.project.directory.stat().st_mode & 0o777 == 0o700
        assert post(up.endpoint, max_tokens=1)[0] == 200
        assert [run["project"] for run in client.runs()] == [far.project.id]
        up.down()
    finally:
        left = far.clean()
        with contextlib.suppress(OSError):
            far.project.directory.parent.rmdir()
    assert not left
    assert not far.project.directory.exists()


def test_a_flood_of_output_keeps_memory_flat(home: Home) -> None:
    up = home.up(bundle("--flood", "200"))
    supervisor = psutil.Process(up.hello["pid"])
    before = supervisor.memory_info().rss
    peak = before
    rotated = home.project.engine_log.with_name("engine.log.4")

    def grown() -> bool:
        nonlocal peak
        peak = max(peak, supervisor.memory_info().rss)
        return rotated.exists()

    assert within(120, grown)
    assert peak - before < 32 * 1024 * 1024
    assert post(up.endpoint, max_tokens=1)[0] == 200
    up.down()
    assert sum(path.stat().st_size for path in client.log_files(home.project)) <= 60 * 1024 * 1024


def test_a_supervisor_that_hangs_is_a_failure(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    up = home.up()
    monkeypatch.setattr(client, "_HELLO", 0.3)
    kill(int(up.hello["pid"]), 19)
    try:
        with pytest.raises(Failure) as deaf:
            client.connect(home.project)
        assert deaf.value.code == "supervisor-deaf"
    finally:
        kill(int(up.hello["pid"]), 18)


def test_a_supervisor_that_dies_while_it_is_asked(home: Home) -> None:
    up = home.up()
    kill(int(up.hello["pid"]))
    with pytest.raises(Failure) as died:
        up.status()
    assert died.value.code == "supervisor-died"


def test_a_lock_that_is_held_by_a_stranger(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_PATIENCE", 0.3)
    home.project.make()
    lock = Lock.take(home.project, "test")
    assert lock is not None
    with pytest.raises(Failure) as busy:
        home.ensure()
    lock.release()
    assert busy.value.code == "run-busy"
    assert f"pid {psutil.Process().pid}" in busy.value.message


def test_one_project_for_all_paths_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text("FROM x")
    (tmp_path / "link").symlink_to(tmp_path / "Modelfile")
    name = client.project_id(tmp_path / "Modelfile")
    assert name == client.project_id(tmp_path / "link") == client.project_id(str(tmp_path) + "/./Modelfile")
    assert len(name) == 12 and Project(name).id == name
