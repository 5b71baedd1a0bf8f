"""Orders to a supervisor: up, up again, many at once, another stage, promote's steps, down."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.runtime import client, state
from modelkit.runtime.edge import Access, key_hash
from tests.unit.runtime.support import Home, aside, bundle, get, kill, post, within


def test_up_serves_and_down_leaves_nothing(home: Home) -> None:
    up = home.ensure()
    events: list[client.Event] = []
    result = up.apply(bundle(), events.append)
    assert result["outcome"] == "started"
    assert [e["phase"] for e in events if e["event"] == "phase"] == ["starting", "ready"]
    assert post(result["endpoint"], max_tokens=2)[0] == 200
    assert get(result["endpoint"], "/readyz")[0] == 200
    up.down()
    assert home.leftovers() == []
    assert not home.project.directory.exists()
    assert client.connect(home.project) is None
    assert client.runs() == []


def test_up_twice_changes_nothing(home: Home) -> None:
    first = home.up()
    before = home.engines()
    assert first.apply(bundle())["outcome"] == "unchanged"
    assert home.ensure().apply(bundle())["outcome"] == "unchanged"
    assert home.engines() == before


def test_twenty_at_once_start_one_engine(home: Home) -> None:
    def up(_: int) -> str:
        with home.ensure() as connected:
            return str(connected.apply(bundle("--load-seconds", "0.3"), keep=True)["outcome"])

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(up, range(20)))
    assert outcomes.count("started") == 1
    assert set(outcomes) <= {"started", "joined", "unchanged"}
    assert len(home.engines()) == 1
    assert [g["id"] for g in home.connect().status()["generations"]] == [1]


def test_ten_processes_at_once_start_one_engine(home: Home) -> None:
    racing = [aside(lambda: home.up(keep=True).close()) for _ in range(10)]
    for process in racing:
        process.join(60)
    assert [process.exitcode for process in racing] == [0] * 10
    assert len(home.engines()) == 1


def test_who_joins_is_told_where_it_is(home: Home) -> None:
    slow = bundle("--say", "hello", "--load-seconds", "1")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(home.ensure().apply, slow, keep=True)
        assert within(30, lambda: "hello" in home.said())
        events: list[client.Event] = []
        assert home.connect().apply(slow, events.append)["outcome"] == "joined"
        first.result(30)
    assert [e["phase"] for e in events if e["event"] == "phase"] == ["starting", "ready"]


def test_who_waits_for_another_change_is_told(home: Home) -> None:
    up = home.ensure()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(home.connect().apply, bundle("--say", "hello", "--load-seconds", "1"), keep=True)
        assert within(30, lambda: "hello" in home.said())
        events: list[client.Event] = []
        assert up.apply(bundle(), events.append)["outcome"] == "switched"
        first.result(30)
    assert events[0]["event"] == "waiting"


@pytest.mark.parametrize("wanted", [False, True])
def test_readiness_is_one_real_generation(home: Home, wanted: bool) -> None:
    home.up(bundle("--say-requests", ready_logprobs=wanted))
    requests = [json.loads(line.partition(" | ")[2]) for line in home.said().splitlines()]
    assert [(r["model"], r["max_tokens"], r.get("logprobs", False)) for r in requests] == [("stub", 1, wanted)]


def test_stopping_what_serves_ends_the_run(home: Home) -> None:
    up = home.up()
    up.stop(1)
    assert up.status()["routed"] is None
    assert get(up.endpoint, "/readyz")[0] == 503
    up.close()
    assert within(30, lambda: not home.leftovers())


def test_a_changed_bundle_takes_the_address_over(home: Home) -> None:
    up = home.up()
    result = up.apply(bundle("--token-seconds", "0.001"))
    assert result["outcome"] == "switched"
    status = up.status()
    assert [(g["id"], g["routed"], g["phase"]) for g in status["generations"]] == [(2, True, "ready")]
    assert len(home.engines()) == 1
    assert not home.project.generation(1).exists()
    assert post(up.endpoint, max_tokens=1)[0] == 200


def test_another_stage_is_refused_unless_allowed(home: Home) -> None:
    up = home.up()
    with pytest.raises(Failure) as refused:
        up.apply(bundle(stage="prod"))
    assert refused.value.code == "stage-busy"
    assert "modelkit promote dev prod" in str(refused.value.hint)
    assert up.apply(bundle(stage="prod"), allow_switch=True)["outcome"] == "switched"


def test_a_candidate_runs_beside_and_is_switched_to(home: Home) -> None:
    up = home.up()
    candidate = up.start(bundle(stage="prod"))
    assert {g["stage"]: g["routed"] for g in up.status()["generations"]} == {"dev": True, "prod": False}
    assert os.path.exists(candidate["socket"])  # noqa: PTH110
    assert up.switch(candidate["generation"])["outcome"] == "switched"
    assert [g["stage"] for g in up.status()["generations"]] == ["prod"]
    assert up.switch(candidate["generation"])["outcome"] == "unchanged"


def test_a_candidate_goes_with_who_asked_for_it(home: Home) -> None:
    up = home.up()
    other = home.connect()
    other.start(bundle(stage="prod"))
    other.close()
    assert within(30, lambda: [g["stage"] for g in up.status()["generations"]] == ["dev"])
    assert len(home.engines()) == 1


def test_a_candidate_can_be_stopped(home: Home) -> None:
    up = home.up()
    candidate = up.start(bundle(stage="prod"))
    up.stop(candidate["generation"])
    assert [g["stage"] for g in up.status()["generations"]] == ["dev"]
    with pytest.raises(Failure) as unknown:
        up.switch(candidate["generation"])
    assert unknown.value.code == "no-such-generation"


def test_an_interrupted_apply_leaves_what_served(home: Home) -> None:
    up = home.up()
    impatient = aside(lambda: home.connect().apply(bundle("--load-seconds", "30", stage="prod"), allow_switch=True))
    assert within(30, lambda: len(home.engines()) == 2)
    kill(impatient.pid or -1)
    assert within(30, lambda: [(g["stage"], g["phase"]) for g in up.status()["generations"]] == [("dev", "ready")])
    assert len(home.engines()) == 1
    assert post(up.endpoint, max_tokens=1)[0] == 200


def test_an_interrupted_first_apply_leaves_nothing(home: Home) -> None:
    impatient = aside(lambda: home.up(bundle("--load-seconds", "30")))
    assert within(30, lambda: len(home.engines()) == 1)
    kill(impatient.pid or -1)
    assert within(30, lambda: not home.leftovers())
    assert not home.project.directory.exists()


@pytest.mark.parametrize("after", [0.0, 0.2])
def test_up_again_right_after_an_interrupted_up(home: Home, after: float) -> None:
    """It joins the one that is under way, but not one that is being undone."""
    slow = bundle("--say", "hello", "--load-seconds", "1", "--ignore-sigterm", grace=1)
    stay = home.ensure()
    impatient = aside(lambda: home.connect().apply(slow))
    assert within(30, lambda: "hello" in home.said())
    kill(impatient.pid or -1)
    time.sleep(after)  # the point at which it comes; any point must do
    assert stay.apply(slow)["outcome"] in ("started", "joined")
    assert len(home.engines()) == 1


def test_an_apply_that_is_kept_goes_on_alone(home: Home) -> None:
    impatient = aside(lambda: home.up(bundle("--load-seconds", "1"), keep=True))
    assert within(30, lambda: len(home.engines()) == 1)
    kill(impatient.pid or -1)
    assert within(30, lambda: home.connect().status()["routed"] == 1)


def test_the_run_ends_with_its_owner(home: Home) -> None:
    def own() -> None:
        connected = home.ensure()
        connected.own()
        connected.apply(bundle())
        connected.watch(print)

    owner = aside(own)
    assert within(30, lambda: len(home.engines()) == 1)
    assert within(30, lambda: home.connect().status()["routed"] == 1)
    kill(owner.pid or -1)
    assert within(30, lambda: not home.leftovers())


def test_an_owner_that_goes_while_it_drains_hurries_nothing(home: Home) -> None:
    up = home.up(bundle("--token-seconds", "0.05"))
    up.own()
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(post, up.endpoint, stream=True, max_tokens=40)
        assert within(30, lambda: home.connect().status()["generations"][0]["in_flight"] == 1)
        stopping = pool.submit(home.connect().down)
        assert within(30, lambda: up.status()["closing"])
        up.close()
        assert "[DONE]" in stream.result(30)[1]
        stopping.result(30)


def test_a_supervisor_told_to_end_drains_and_leaves_nothing(home: Home) -> None:
    up = home.up()
    kill(int(up.hello["pid"]), signal.SIGTERM)
    assert within(30, lambda: not home.leftovers())
    assert not home.project.directory.exists()


def test_a_supervisor_with_nothing_to_do_goes_away(home: Home) -> None:
    home.ensure().close()
    assert within(30, lambda: not home.leftovers())


def test_watching_tells_each_phase(home: Home) -> None:
    up = home.up()
    seen: list[client.Event] = []
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(home.connect().watch, seen.append)
        assert within(30, lambda: bool(seen))
        up.down()
        watching.result(10)
    assert [e["phase"] for e in seen if e["event"] == "phase"] == ["stopping", "stopped"]


def test_progress_lines_reach_who_waits(home: Home) -> None:
    events: list[client.Event] = []
    home.ensure().apply(bundle("--say", "loading weights 50%", "--say", "boring", "--load-seconds", "0.2",
                               log_progress=("loading weights",)), events.append)
    assert [e["line"] for e in events if e["event"] == "log"] == ["loading weights 50%"]
    assert "boring" in home.said()


def test_files_and_words_are_filled_in(home: Home) -> None:
    files = (File("etc/profile.json", '{"here": "@RUN@"}'),)
    up = home.up(bundle("--say", "in @RUN@", files=files))
    directory = home.project.generation(1) / "r1"
    written = directory / "etc" / "profile.json"
    assert json.loads(written.read_text()) == {"here": str(directory)}
    assert written.stat().st_mode & 0o777 == 0o600
    assert f"in {directory}" in home.said()
    up.down()


def test_an_engine_sees_an_allowed_environment_only(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MY_SECRET": "s3cr3t", "PYTHONPATH": "/x", "CUDA_VISIBLE_DEVICES": "0", "LC_ALL": "C"}.items():
        monkeypatch.setenv(name, value)
    asked = ("MY_SECRET", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "LC_ALL", "MODELKIT_HOME", "FROM_LAUNCH", "PATH")
    words = [word for name in asked for word in ("--say-env", name)]
    home.up(bundle(*words, env={"FROM_LAUNCH": "given"}))
    said = home.said()
    for expected in ("MY_SECRET=None", "PYTHONPATH=None", "CUDA_VISIBLE_DEVICES=0", "LC_ALL=C", "MODELKIT_HOME=None",
                     "FROM_LAUNCH=given", f"PATH={os.environ['PATH']}"):
        assert expected in said


def test_status_says_how_much_memory_and_work(home: Home) -> None:
    up = home.up(bundle("--memory", "60", "--token-seconds", "0.05"))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(post, up.endpoint, max_tokens=1000)
        assert within(30, lambda: up.status()["generations"][0]["in_flight"] == 1)
        engine = up.status()["generations"][0]
        up.down(0, fast=True)
    assert engine["rss"] > 60 * 1024 * 1024
    assert engine["uptime"] >= 0 and engine["restarts"] == 0 and engine["stage"] == "dev"


def test_runs_lists_every_project(home: Home) -> None:
    home.up()
    listed = [(run["project"], run["alive"], run["modelfile"]) for run in client.runs()]
    assert listed == [(home.project.id, True, "/nowhere/Modelfile")]


def test_keys_are_asked_for_and_can_change(home: Home) -> None:
    up = home.ensure(access=Access((key_hash("first-key"),)))
    up.apply(bundle())
    assert [post(up.endpoint, key=key)[0] for key in (None, "first-key", "second-key")] == [401, 200, 401]
    home.ensure(access=Access((key_hash("second-key"),)))
    assert [post(up.endpoint, key=key)[0] for key in (None, "first-key", "second-key")] == [401, 401, 200]
    home.ensure(access=Access())  # who says no key does not open what another command has locked
    assert post(up.endpoint)[0] == 401


def test_no_key_is_written_down(home: Home) -> None:
    up = home.ensure(access=Access((key_hash("sk-very-secret"),)))
    up.apply(bundle("--say", "Authorization: Bearer abc123xyz", "--say", "key='sk-very-secret' ok"))
    said = home.said()
    assert "sk-very-secret" not in said and "abc123xyz" not in said
    assert "key='[redacted]' ok" in said
    assert key_hash("sk-very-secret").hex() not in home.project.state.read_text()


def test_the_state_says_what_runs(home: Home) -> None:
    up = home.up()
    written = state.read(home.project.state)
    assert written is not None
    assert written.endpoint == up.endpoint and written.routed == (1,) and written.identity.alive()
    assert [(g.id, g.stage, g.phase) for g in written.generations] == [(1, "dev", "ready")]
    assert [p.pid for g in written.generations for p in g.processes] == home.engines()
    assert home.project.state.stat().st_mode & 0o777 == 0o600
    assert home.project.directory.stat().st_mode & 0o777 == 0o700


def test_a_second_address_is_refused(home: Home) -> None:
    up = home.up()
    port = int(up.endpoint.rpartition(":")[2])
    assert home.ensure(port=port).endpoint == up.endpoint
    with pytest.raises(Failure) as refused:
        home.ensure(port=port + 1 if port < 65535 else port - 1)
    assert refused.value.code == "other-address"


def test_strangers_words_end_the_connection_only(home: Home) -> None:
    up = home.up()
    for noise in (b"GET / HTTP/1.1\r\n\r\n", b"[1,2]\n", b"\xff\xfe\n", b'{"id":1,"op":"fly"}\n', b'{"op":"apply"}\n'):
        other = home.connect()
        other._socket.sendall(noise)
        other._socket.settimeout(0.5)
        other.close()
    assert up.status()["routed"] == 1
