"""kill -9 of anybody at any point: the next command puts it right, and no process of the run is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from modelkit.runtime import client, state
from modelkit.runtime.identity import GENERATION, MARKER, Identity, command_of
from modelkit.runtime.state import GenerationState
from modelkit.runtime.sweep import end_run, kill_marked, sweep
from tests.unit.runtime.support import Home, aside, bundle, kill, post, within

WAIT = 30


def supervisor_of(home: Home) -> int | None:
    """Who holds the project's lock."""
    try:
        return int(json.loads(home.project.lock.read_text())["pid"])
    except (OSError, ValueError):
        return None


def reaper_of(home: Home) -> int:
    """The reaper's pid; 0 while there is none."""
    return next((pid for pid in home.leftovers() if "modelkit.runtime.reaper" in command_of(pid)), 0)


def converges(home: Home) -> None:
    """The next command serves, with exactly one engine; after `down` nothing is left."""
    up = home.up()
    assert post(up.endpoint, max_tokens=1)[0] == 200
    assert within(WAIT, lambda: len(home.engines()) == 1)
    up.down()
    assert home.leftovers() == []


def _engine(home: Home) -> int | None:
    return next(iter(home.engines()), None)


def _of(generation: GenerationState, *, pid: int, start: int) -> GenerationState:
    return replace(generation, processes=(replace(generation.processes[0], pid=pid, start=start),))


@pytest.mark.parametrize("after", [0.0, 0.2, 0.7])
@pytest.mark.parametrize("victim", [None, supervisor_of, _engine], ids=["client", "supervisor", "engine"])
def test_killed_while_it_starts(home: Home, victim: Callable[[Home], int | None] | None, after: float) -> None:
    starting = aside(lambda: home.up(bundle("--load-seconds", "0.4"), keep=after > 0.5))
    within(WAIT, lambda: victim is None or victim(home))
    time.sleep(after)  # the point at which it hits; any point must do
    pid = starting.pid if victim is None else victim(home)
    if pid:
        kill(pid)
    starting.join(WAIT)
    converges(home)


@pytest.mark.parametrize("after", [0.0, 0.2])
def test_killed_while_it_stops(home: Home, after: float) -> None:
    home.up(bundle("--ignore-sigterm", grace=0.5))
    stopping = aside(lambda: home.connect().down())
    time.sleep(after)
    if (pid := supervisor_of(home)) is not None:
        kill(pid)
    stopping.join(WAIT)
    converges(home)


def test_a_dead_supervisors_engines_are_ended_without_another_command(home: Home) -> None:
    up = home.up(bundle("--spawn-grandchild", "--ignore-sigterm"))
    assert len(home.engines()) == 2
    kill(up.hello["pid"])
    assert within(WAIT, lambda: not home.leftovers())


def test_the_next_command_waits_for_the_clean_up(home: Home) -> None:
    up = home.up(bundle("--ignore-sigterm"))
    old = home.engines()
    kill(up.hello["pid"])
    again = home.up()
    assert again.hello["pid"] != up.hello["pid"]
    assert not set(old) & set(home.engines())


def test_supervisor_and_reaper_both_killed(home: Home) -> None:
    up = home.up(bundle("--spawn-grandchild", "--ignore-sigterm"))
    kill(reaper_of(home))
    kill(up.hello["pid"])
    assert within(WAIT, lambda: len(home.engines()) == 2 and len(home.leftovers()) == 2)
    assert [(r["project"], r["alive"]) for r in client.runs()] == [(home.project.id, False)]
    converges(home)


def test_sweep_ends_what_dead_runs_left(home: Home) -> None:
    up = home.up(bundle("--spawn-grandchild", "--ignore-sigterm"))
    kill(reaper_of(home))
    kill(up.hello["pid"])
    left = home.engines()
    assert set(left) <= set(sweep(grace=0.2))
    assert home.leftovers() == []
    assert client.runs() == []


def test_sweep_leaves_living_runs_alone(home: Home) -> None:
    up = home.up()
    assert sweep() == []
    assert up.status()["routed"] == 1


def test_a_killed_reaper_is_replaced(home: Home) -> None:
    up = home.up(bundle("--spawn-grandchild", "--ignore-sigterm"))
    first = reaper_of(home)
    kill(first)
    assert within(WAIT, lambda: reaper_of(home) not in (0, first))
    kill(up.hello["pid"])
    assert within(WAIT, lambda: not home.leftovers())


def test_a_killed_engine_is_restarted_behind_the_same_address(home: Home) -> None:
    up = home.up()
    old = home.engines()
    kill(old[0])
    assert within(WAIT, lambda: home.engines() not in ([], old))
    assert within(WAIT, lambda: up.status()["generations"][0]["phase"] == "ready")
    assert up.status()["generations"][0]["restarts"] == 1
    assert post(up.endpoint, max_tokens=1)[0] == 200


def test_a_stranger_with_a_recorded_pid_is_never_signalled(home: Home) -> None:
    """A pid of the state that has passed to another program: same number, another start."""
    up = home.up()
    written = state.read(home.project.state)
    assert written is not None
    kill(reaper_of(home))
    kill(up.hello["pid"])
    for pid in home.engines():
        kill(pid)
    assert within(WAIT, lambda: not home.leftovers())
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        generations = (_of(written.generations[0], pid=stranger.pid, start=1),)
        state.write(home.project.state, replace(written, generations=generations))
        assert sweep(grace=0.1) == []
        assert stranger.poll() is None
        stranger.kill()


def test_after_a_reboot_nobody_is_signalled(home: Home) -> None:
    """Same pid, same start, another boot: a coincidence, not our engine."""
    up = home.up()
    written = state.read(home.project.state)
    assert written is not None
    up.down()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        who = Identity.of(stranger.pid)
        assert who is not None
        generations = (_of(written.generations[0], pid=who.pid, start=who.start),)
        home.project.make()
        state.write(home.project.state, replace(written, boot_id="another boot", generations=generations))
        assert client.runs()[0]["alive"] is False
        assert home.up().status()["routed"] == 1
        assert stranger.poll() is None
        stranger.kill()


def test_kill_marked_finds_those_who_left_the_session() -> None:
    environment = {**os.environ, MARKER: "f00d" * 8, GENERATION: "7.1"}
    with subprocess.Popen([sys.executable, "-c", "import os, time; os.fork(); os.setsid(); time.sleep(60)"],
                          env=environment, stdout=subprocess.DEVNULL) as leader:
        assert kill_marked("f00d" * 8, generation="7.2") == []
        assert leader.poll() is None
        assert leader.pid in kill_marked("f00d" * 8, generation="7.1")
        assert leader.wait() == -signal.SIGKILL


def test_end_run_asks_before_it_kills() -> None:
    polite = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print(flush=True); time.sleep(60)"
    environment = {**os.environ, MARKER: "beef" * 8}
    with subprocess.Popen([sys.executable, "-c", polite], env=environment, stdout=subprocess.PIPE) as leader:
        assert leader.stdout is not None
        leader.stdout.readline()
        who = Identity.of(leader.pid)
        assert who is not None
        assert end_run("beef" * 8, [who], grace=20) == [leader.pid]
        assert leader.wait() == 7
