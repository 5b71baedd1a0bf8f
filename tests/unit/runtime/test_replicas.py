"""Several engines behind one address: shared out by Envoy, killed, restarted, added and taken away under load."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.platforms import envoy
from modelkit.platforms.bundle import Bundle
from modelkit.runtime import balancer, environments
from modelkit.runtime.devices import share
from modelkit.runtime.kept import Phase
from tests.unit.runtime.support import Home, bundle, get, kill, post, refused_by, within
from tests.unit.runtime.test_supervisor_swap import DONE, chunks

TOKENS = 20
SLOW = ("--token-seconds", "0.02", "--say-requests")


def replicas(count: int, *vices: str, **more: Any) -> Bundle:
    return bundle(*vices, serve={"replicas": count}, **more)


def engines(home: Home) -> dict[int, int]:
    """The pids of the engines that are ready, by replica."""
    with home.connect() as connected:
        return {r["replica"]: r["pid"] for g in connected.status()["generations"] for r in g["replicas"]
                if r["phase"] == "ready"}


def front(home: Home) -> dict[str, Any]:
    with home.connect() as connected:
        found = connected.status()["generations"][0]["balancer"]
    assert found is not None
    return dict(found)


@contextmanager
def load(endpoint: str, *, stream: bool, clients: int = 8) -> Iterator[list[tuple[int, str]]]:
    """Requests all the time; the list is complete when the block has ended."""
    ended = threading.Event()
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        while not ended.is_set():
            answers.append(post(endpoint, stream=stream, max_tokens=TOKENS))

    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(ask) for _ in range(clients)]
        try:
            assert within(30, lambda: len(answers) >= clients)
            yield answers
        finally:
            ended.set()
            for one in asking:
                one.result(60)


def lost(answers: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The answers that are not what was asked for."""
    def whole(text: str) -> bool:
        if "data:" in text:
            return chunks(text) == TOKENS and DONE in text
        return f'"completion_tokens": {TOKENS}' in text

    return [(status, text) for status, text in answers if status != 200 or not whole(text)]


def test_both_answer_and_nothing_is_left(home: Home) -> None:
    up = home.ensure()
    assert up.apply(replicas(2, *SLOW))["replicas"] == 2
    with load(up.endpoint, stream=False) as answers:
        pass
    assert lost(answers) == []
    assert "g1 dev r1 | {" in home.said() and "g1 dev r2 | {" in home.said()
    assert "g1 dev balancer | Envoy 1." in home.said()
    status = up.status()["generations"][0]
    assert (status["phase"], status["ready"], status["wanted"]) == ("ready", 2, 2)
    assert status["socket"] == front(home)["socket"]
    metrics = get(up.endpoint, "/metrics")[2]
    assert 'modelkit_replicas_ready{' in metrics
    up.down()
    assert home.leftovers() == []
    assert not home.project.directory.exists()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_one_killed_under_load_loses_only_what_had_begun(home: Home, stream: bool) -> None:
    up = home.ensure()
    up.apply(replicas(2, *SLOW))
    with load(up.endpoint, stream=stream) as answers:
        for _ in range(3):
            victim, pid = min(engines(home).items())
            kill(pid)
            assert within(30, lambda: engines(home).get(victim, pid) != pid), "it comes back"  # noqa: B023
            done = len(answers)
            assert within(30, lambda: len(answers) > done + 8)  # noqa: B023
    for status, text in lost(answers):
        assert stream and status == 200 and '"engine_stopped"' in text, (status, text)  # it had begun to answer
    assert len(answers) > len(lost(answers))
    assert up.status()["generations"][0]["restarts"] == 3


def test_while_none_is_there_requests_are_told_to_come_again(home: Home) -> None:
    up = home.ensure(backoff_first=30, backoff_most=30)
    up.apply(replicas(2))
    first, second = engines(home).values()
    kill(first)
    assert within(30, lambda: len(engines(home)) == 1)
    assert post(up.endpoint, max_tokens=1)[0] == 200
    assert get(up.endpoint, "/readyz")[0] == 200
    kill(second)
    assert within(30, lambda: up.status()["generations"][0]["phase"] == "backoff")
    status, body = post(up.endpoint, max_tokens=1)
    assert (status, json.loads(body)["error"]["code"]) == (503, "engine_unavailable")
    assert up.apply(replicas(2))["outcome"] == "switched"
    assert post(up.endpoint, max_tokens=1)[0] == 200


def test_one_that_crashes_too_often_is_given_up_and_the_other_goes_on(home: Home) -> None:
    up = home.ensure(backoff_first=0.01, backoff_most=0.01, crashes=2)
    up.apply(replicas(2))

    def hit_until_given_up() -> bool:
        if (pid := engines(home).get(1)) is not None:
            kill(pid)
        return failed(home)

    assert within(30, hit_until_given_up)
    assert [post(up.endpoint, max_tokens=1)[0] for _ in range(5)] == [200] * 5
    assert up.status()["generations"][0]["phase"] == "ready"


def failed(home: Home) -> bool:
    with home.connect() as connected:
        return any(r["phase"] == "failed" for r in connected.status()["generations"][0]["replicas"])


def test_without_envoy_one_engine_has_the_address(home: Home) -> None:
    up = home.ensure(backoff_first=1, backoff_most=1)
    up.apply(replicas(2))
    kill(front(home)["pid"])
    assert within(30, lambda: front(home)["phase"] == "backoff")
    assert [post(up.endpoint, max_tokens=1)[0] for _ in range(5)] == [200] * 5
    assert within(30, lambda: front(home)["phase"] == "ready")
    assert within(30, lambda: up.status()["generations"][0]["socket"] == front(home)["socket"])
    assert [post(up.endpoint, max_tokens=1)[0] for _ in range(5)] == [200] * 5


def test_more_and_fewer_under_load_without_a_restart(home: Home) -> None:
    up = home.ensure()
    up.apply(replicas(1, *SLOW))
    first = engines(home)
    with load(up.endpoint, stream=True) as answers:
        for count in (2, 3, 1, 2):
            result = up.apply(replicas(count, *SLOW), drain=30)
            assert (result["outcome"], result["replicas"]) == ("scaled", count)
            assert len(engines(home)) == len(home.engines()) - 1 == count  # and Envoy
            assert engines(home)[1] == first[1]
    assert lost(answers) == []
    assert up.apply(replicas(2, *SLOW))["outcome"] == "unchanged"
    assert up.status()["generations"][0]["id"] == 1
    assert home.said().count("got SIGTERM") == 2


def test_a_swap_of_several_under_load_loses_nothing(home: Home) -> None:
    up = home.ensure()
    up.apply(replicas(2, *SLOW))
    with load(up.endpoint, stream=True) as answers:
        for stage in ("prod", "dev"):
            assert up.apply(replicas(2, *SLOW, stage=stage), allow_switch=True, drain=30)["outcome"] == "switched"
    assert lost(answers) == []
    assert len(home.engines()) == 3


def test_more_that_cannot_start_leave_what_there_was(home: Home) -> None:
    up = home.ensure()
    flag = home.path / "full"
    up.apply(refused_by(flag, replicas(1)))
    flag.touch()
    with pytest.raises(Failure) as refused:
        up.apply(refused_by(flag, replicas(3)))
    assert refused.value.detail[-1] == "no memory left"
    status = up.status()["generations"][0]
    assert (status["phase"], len(status["replicas"]), status["wanted"], status["balancer"]) == ("ready", 1, 1, None)
    assert post(up.endpoint, max_tokens=1)[0] == 200
    assert len(home.engines()) == 1


def test_a_start_that_fails_leaves_nothing(home: Home) -> None:
    with home.ensure() as up, pytest.raises(Failure) as refused:
        up.apply(replicas(3, "--lying-health"))
    assert refused.value.code == "engine-not-working"
    assert within(30, lambda: not home.leftovers())


def test_a_killed_supervisor_takes_all_of_it_along(home: Home) -> None:
    up = home.ensure()
    up.apply(replicas(2, "--ignore-sigterm", grace=0.3))
    kill(int(up.hello["pid"]))
    assert within(30, lambda: not home.leftovers())
    up = home.ensure()
    up.apply(replicas(2))
    assert post(up.endpoint, max_tokens=1)[0] == 200


def test_a_full_disk_is_not_the_end(home: Home) -> None:
    """The file of endpoints can't be written: what runs goes on, and Envoy finds out about the dead by itself."""
    import resource

    up = home.ensure()
    up.apply(replicas(2))
    resource.prlimit(int(up.hello["pid"]), resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    kill(engines(home)[2])
    assert within(30, lambda: len(engines(home)) == 1)
    assert [post(up.endpoint, max_tokens=1)[0] for _ in range(10)] == [200] * 10
    resource.prlimit(int(up.hello["pid"]), resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_envoy_is_asked_for_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "find_tool", lambda name: None)
    with pytest.raises(Failure, match="need Envoy") as missing:
        balancer.envoy_command()
    assert missing.value.hint == "modelkit tool install balancer"


@pytest.mark.parametrize("kind", ["sockets", "names"])
def test_envoy_itself_takes_the_configuration(kind: str, tmp_path: Path) -> None:
    (tmp_path / "engines.json").write_text(json.dumps(envoy.endpoints({"/tmp/a.sock": True, "/tmp/b.sock": False})))
    configuration = envoy.bootstrap(
        envoy.pipe("/tmp/a.sock"), envoy.from_file(str(tmp_path / "engines.json")), body_bytes=8 << 20,
        admin=envoy.pipe("/tmp/b")) if kind == "sockets" else envoy.bootstrap(
        {"socket_address": {"address": "0.0.0.0", "port_value": 8000}},
        envoy.from_names({"engine-1": 8000, "engine-2": 8000}), body_bytes=8 << 20)
    (tmp_path / "envoy.json").write_text(json.dumps(configuration))
    done = subprocess.run([balancer.envoy_command(), "--mode", "validate", "-c", str(tmp_path / "envoy.json"), "-l",
                           "warning", "--disable-hot-restart"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "eprecated" not in done.stderr, done.stderr


def test_replicas_do_not_share_gpus() -> None:
    assert share({}, 0, 2, alone=False) == {}
    assert share({}, 2, 1, alone=True) == {}
    assert [share({}, 2, n, alone=False)["CUDA_VISIBLE_DEVICES"] for n in (1, 2)] == ["0,1", "2,3"]
    with pytest.raises(Failure, match="replica 2 needs 1 GPUs") as few:
        share({"CUDA_VISIBLE_DEVICES": "3"}, 1, 2, alone=False)
    assert few.value.hint == "SERVE replicas 1"


def test_how_many_is_no_part_of_the_digest() -> None:
    assert replicas(1).digest == replicas(7).digest
    assert (bundle().replicas, replicas(7).replicas) == (1, 7)
    assert Phase.READY == "ready"
