"""The parts of the supervisor that need no supervisor: identity, lock, state, patience, environment, wire."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.runtime import state
from modelkit.runtime.environment import passed_on
from modelkit.runtime.identity import Identity, boot_id, command_of, in_session
from modelkit.runtime.kept import Patience
from modelkit.runtime.process import describe_exit
from modelkit.runtime.project import Lock, Project, projects
from modelkit.runtime.state import GenerationState, ProcessState, RunState
from modelkit.runtime.timing import Timing
from modelkit.runtime.wire import decode, encode, failure_as_json, failure_from_json
from tests.unit.runtime.support import Home, within

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STATE = RunState(run_id="f00d", modelfiles=("/x/Modelfile",), pid=1, start=2, boot_id="b", since=3.5, endpoint="http://x",
                 generations=(GenerationState(1, "dev", "stub", "sha256:00", "ready", 4.5, "/s", (
                     ProcessState(1, "ready", 4.5, 5, 6, 7, "/s"),)),), routed=(1,))


class TestIdentity:
    def test_is_the_pid_and_the_start(self) -> None:
        with subprocess.Popen(SLEEP) as child:
            who = Identity.of(child.pid)
            assert who is not None and who.alive()
            assert not Identity(who.pid, who.start + 1).alive()
            child.kill()
            assert within(30, lambda: not who.alive()), "a zombie runs nothing"
        assert Identity.of(child.pid) is None

    def test_signals_only_the_one_it_names(self) -> None:
        with subprocess.Popen(SLEEP) as child:
            who = Identity.of(child.pid)
            assert who is not None
            assert not Identity(who.pid, who.start + 1).signal(signal.SIGKILL)
            assert child.poll() is None
            assert who.signal(signal.SIGKILL)
            child.wait()
        assert not who.signal(signal.SIGKILL)

    def test_survives_any_name_of_a_process(self, tmp_path: Path) -> None:
        odd = tmp_path / "a) R 1 (b"
        odd.symlink_to(sys.executable)
        with subprocess.Popen([str(odd), *SLEEP[1:]], executable=str(odd)) as child:
            assert Identity.of(child.pid) == Identity.of(child.pid) is not None
            child.kill()

    def test_a_boot_has_one_name(self) -> None:
        assert boot_id() == boot_id() != ""

    def test_who_belongs_to_a_session(self) -> None:
        with subprocess.Popen(SLEEP, start_new_session=True) as leader, subprocess.Popen(SLEEP) as stranger:
            assert in_session(leader.pid, leader.pid)
            assert not in_session(stranger.pid, leader.pid)
            assert in_session(stranger.pid, os.getpid()), "a descendant"
            assert not in_session(2 ** 22 + 1, leader.pid)
            assert "time.sleep" in command_of(leader.pid)
            leader.kill()
            stranger.kill()


class TestLock:
    def test_is_held_by_one(self, home: Home) -> None:
        home.project.make()
        lock = Lock.take(home.project, "one")
        assert lock is not None and not Lock.free(home.project)
        assert Lock.take(home.project, "two") is None
        said = json.loads(home.project.lock.read_text())
        assert (said["pid"], said["verb"]) == (os.getpid(), "one")
        lock.release()
        assert Lock.free(home.project) and not home.project.lock.exists()

    def test_lives_on_in_a_child_that_inherits_it(self, home: Home) -> None:
        home.project.make()
        lock = Lock.take(home.project, "parent")
        assert lock is not None
        with subprocess.Popen(SLEEP, pass_fds=(lock.fd,)) as child:
            lock.release(remove=False)
            assert not Lock.free(home.project)
            child.kill()
            child.wait()
        assert Lock.free(home.project)

    def test_follows_no_link(self, home: Home) -> None:
        home.project.make()
        precious = home.path / "precious"
        precious.write_text("keep me")
        home.project.lock.symlink_to(precious)
        with pytest.raises(Failure) as refused:
            Lock.take(home.project, "link")
        assert refused.value.code == "run-directory"
        assert precious.read_text() == "keep me"

    def test_knows_when_it_was_removed(self, home: Home) -> None:
        home.project.make()
        old = Lock.take(home.project, "old")
        assert old is not None and old.in_place()
        home.project.lock.unlink()
        new = Lock.take(home.project, "new")
        assert new is not None and new.in_place() and not old.in_place()
        old.release()
        assert new.in_place(), "releasing the old one leaves the new one alone"
        new.release()


class TestProject:
    def test_directories_are_private(self, home: Home) -> None:
        home.project.make()
        assert [path.stat().st_mode & 0o777 for path in (home.project.directory, home.project.logs)] == [0o700, 0o700]
        assert list(projects()) == [home.project]

    def test_an_open_directory_is_closed(self, home: Home) -> None:
        home.project.directory.mkdir(parents=True, mode=0o777)
        home.project.directory.chmod(0o777)
        home.project.make()
        assert home.project.directory.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("length", range(20, 110, 6))
    def test_sockets_fit_whatever_the_home(self, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODELKIT_HOME", "/" + "h" * length)
        project = Project("0123456789ab")
        assert len(str(project.generation(999999) / "r1024" / "engine.sock")) < 104
        assert project.directory == Project("0123456789ab").directory

    def test_somebody_elses_directory_is_refused(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        home.project.make()
        monkeypatch.setattr(os, "getuid", lambda: 4242)
        with pytest.raises(Failure) as refused:
            home.project.make()
        assert "belongs to another user" in refused.value.message


class TestState:
    def test_comes_back_as_it_was(self, tmp_path: Path) -> None:
        path = tmp_path / "state.json"
        state.write(path, STATE)
        assert state.read(path) == STATE
        assert [p.name for p in tmp_path.iterdir()] == ["state.json"]
        assert path.stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": "modelkit.run/1"}', "\0\0\0",
                                      '{"schema": "modelkit.run/2"}',
                                      '{"schema": "modelkit.run/2", "generations": [{"id": 1}]}'])
    def test_nonsense_is_no_state(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "state.json"
        path.write_text(text)
        assert state.read(path) is None

    def test_a_full_disk_leaves_the_old_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "state.json"
        state.write(path, STATE)

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            state.write(path, RunState(**{**STATE.__dict__, "run_id": "new"}))
        assert state.read(path) == STATE
        assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


class TestPatience:
    def waits(self, crashes: list[tuple[float, float]], **timing: float) -> list[float | None]:
        patience = Patience(Timing(**timing), jitter=lambda: 1.0)  # type: ignore[arg-type]
        return [patience.crashed(now, healthy_for) for now, healthy_for in crashes]

    def test_doubles_up_to_a_limit(self) -> None:
        often = [(1000.0 * n, 1.0) for n in range(9)]
        assert self.waits(often, crash_window=1) == [1, 2, 4, 8, 16, 32, 60, 60, 60]

    def test_gives_up_after_five_in_ten_minutes(self) -> None:
        assert self.waits([(10.0 * n, 0.0) for n in range(5)]) == [1, 2, 4, 8, None]
        assert self.waits([(160.0 * n, 0.0) for n in range(6)])[-1] is not None

    def test_forgets_after_ten_healthy_minutes(self) -> None:
        assert self.waits([(0, 0), (1, 0), (2, 0), (3, 0), (700, 600)]) == [1, 2, 4, 8, 1]

    def test_waits_are_spread(self) -> None:
        waits = {Patience(Timing()).crashed(0, 0) for _ in range(20)}
        assert len(waits) > 1
        assert all(wait is not None and 0.5 <= wait <= 1 for wait in waits)


def test_an_environment_is_an_allow_list() -> None:
    passed = {"PATH", "HOME", "LANG", "LC_CTYPE", "TMPDIR", "CUDA_VISIBLE_DEVICES", "NVIDIA_DRIVER"}
    kept = {"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "LD_PRELOAD", "MODELKIT_API_KEY", "MODELKIT_RUN_ID",
            "VLLM_SERVER_DEV_MODE", "PATHS", "MY_PATH"}
    assert set(passed_on(dict.fromkeys(passed | kept, "x"))) == passed


def test_a_failure_crosses_the_wire_whole() -> None:
    failure = Failure("a-code", "what happened", "do this", ("one", "two"), 1, {"port": 8})
    assert failure_from_json(decode(encode(failure_as_json(failure)))) == failure


@pytest.mark.parametrize(("code", "words"), [(0, "exited with status 0"), (3, "exited with status 3"),
                                             (-9, "was killed by SIGKILL"), (-200, "was killed by signal 200")])
def test_an_exit_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words


def test_what_commands_import_is_light() -> None:
    """`modelkit --help` and `modelkit ps` must not pay for an event loop, for pydantic or for psutil."""
    script = "import sys, modelkit.runtime.client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "pydantic", "psutil", "uvloop"} & set(loaded)
