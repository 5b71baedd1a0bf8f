"""Requests in flight while engines change, crash and stop."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from modelkit.failure import Failure
from tests.unit.runtime.support import Home, aside, bundle, get, kill, post, within

DONE = "data: [DONE]"
TOKENS = 40
SLOW = ("--token-seconds", "0.02")


def in_flight(home: Home) -> int:
    with home.connect() as connected:
        return sum(g["in_flight"] for g in connected.status()["generations"])


def chunks(text: str) -> int:
    return text.count('"delta": {"content"')


def test_a_swap_under_streaming_load_loses_nothing(home: Home) -> None:
    up = home.up(bundle(*SLOW))
    ended = threading.Event()
    answers: list[tuple[int, str]] = []

    def load() -> None:
        while not ended.is_set():
            answers.append(post(up.endpoint, stream=True, max_tokens=TOKENS))

    with ThreadPoolExecutor(8) as pool:
        loads = [pool.submit(load) for _ in range(8)]
        assert within(30, lambda: in_flight(home) == 8)
        for stage in ("prod", "dev", "prod"):
            result = up.apply(bundle(*SLOW, stage=stage), allow_switch=True, drain=30)
            assert result["outcome"] == "switched"
        ended.set()
        for done in loads:
            done.result(60)
    assert [status for status, _ in answers if status != 200] == []
    assert [text for _, text in answers if DONE not in text or chunks(text) != TOKENS] == []
    assert len(home.engines()) == 1


def test_down_lets_streams_finish_and_refuses_new_ones(home: Home) -> None:
    up = home.up(bundle("--token-seconds", "0.05"))
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(post, up.endpoint, stream=True, max_tokens=TOKENS)
        assert within(30, lambda: in_flight(home) == 1)
        stopping = pool.submit(home.connect().down, 30)
        status, text = stream.result(60)
        stopping.result(60)
    assert (status, chunks(text)) == (200, TOKENS) and DONE in text
    assert home.leftovers() == []


def test_a_stream_that_outlives_the_drain_is_told_so(home: Home) -> None:
    up = home.up(bundle("--token-seconds", "0.2"))
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(post, up.endpoint, stream=True, max_tokens=1000)
        assert within(30, lambda: in_flight(home) == 1)
        up.down(0.3)
        status, text = stream.result(30)
    assert status == 200
    assert DONE not in text
    last = text.rstrip().rpartition("\n\n")[2]
    assert last.startswith('data: {"error"')
    assert home.leftovers() == []


def test_a_swap_cuts_what_outlives_its_drain(home: Home) -> None:
    up = home.up(bundle("--token-seconds", "0.2"))
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(post, up.endpoint, stream=True, max_tokens=1000)
        assert within(30, lambda: in_flight(home) == 1)
        up.apply(bundle("--token-seconds", "0.1"), drain=0.3)
        assert '"error"' in stream.result(30)[1]
    assert len(home.engines()) == 1
    assert post(up.endpoint, max_tokens=1)[0] == 200


def test_a_second_down_hurries_the_first(home: Home) -> None:
    up = home.up(bundle("--token-seconds", "0.2", "--ignore-sigterm", grace=60))
    with ThreadPoolExecutor(3) as pool:
        stream = pool.submit(post, up.endpoint, stream=True, max_tokens=10000)
        assert within(30, lambda: in_flight(home) == 1)
        patient = pool.submit(home.connect().down, 600)
        assert within(30, lambda: get_closing(home))
        up.down(fast=True)
        patient.result(30)
        assert '"error"' in stream.result(30)[1]
    assert home.leftovers() == []


def get_closing(home: Home) -> bool:
    with home.connect() as connected:
        return bool(connected.status()["closing"])


def test_an_engine_is_told_once_and_given_its_time(home: Home) -> None:
    """A second SIGTERM has been seen to kill vLLM's core in the middle of its clean-up."""
    up = home.up(bundle("--slow-sigterm", "1", grace=30))
    with ThreadPoolExecutor(2) as pool:
        stopping = [pool.submit(home.connect().down) for _ in range(2)]
        for done in stopping:
            done.result(60)
    assert home.said().count("got SIGTERM") == 1
    assert home.leftovers() == []
    up.close()


def test_a_swapped_out_engine_is_told_once(home: Home) -> None:
    up = home.up()
    up.apply(bundle("--token-seconds", "0.001"))
    assert home.said().count("got SIGTERM") == 1


def test_an_interrupted_start_is_told_once(home: Home) -> None:
    stay = home.ensure()
    loading = bundle("--say", "hello", "--load-seconds", "30", "--slow-sigterm", "0.3")
    impatient = aside(lambda: home.connect().apply(loading))
    assert within(30, lambda: "hello" in home.said())
    kill(impatient.pid or -1)
    assert within(30, lambda: stay.status()["generations"] == [])
    assert home.said().count("got SIGTERM") == 1


def test_an_engine_deaf_to_sigterm_is_killed(home: Home) -> None:
    up = home.up(bundle("--ignore-sigterm", "--spawn-grandchild", grace=0.3))
    assert len(home.engines()) == 2
    up.down()
    assert home.leftovers() == []


def test_an_engine_deaf_to_sigterm_does_not_survive_a_swap(home: Home) -> None:
    up = home.up(bundle("--ignore-sigterm", "--spawn-grandchild", grace=0.3))
    old = set(home.engines())
    up.apply(bundle())
    assert len(home.engines()) == 1
    assert not old & set(home.engines())


def test_while_an_engine_is_down_requests_are_told_to_come_again(home: Home) -> None:
    up = home.ensure(backoff_first=30, backoff_most=30)
    up.apply(bundle())
    kill(home.engines()[0])
    assert within(30, lambda: up.status()["generations"][0]["phase"] == "backoff")
    status, headers, body = get(up.endpoint, "/v1/models")
    assert status == 503
    assert int(headers["retry-after"]) > 0
    assert '"error"' in body
    assert get(up.endpoint, "/readyz")[0] == 503
    assert get(up.endpoint, "/healthz")[0] == 200
    failure = up.status()["generations"][0]["failure"]
    assert failure["message"] == "the engine was killed by SIGKILL"


def test_an_apply_replaces_an_engine_that_is_down(home: Home) -> None:
    up = home.ensure(backoff_first=30, backoff_most=30)
    up.apply(bundle())
    kill(home.engines()[0])
    assert within(30, lambda: up.status()["generations"][0]["phase"] == "backoff")
    assert up.apply(bundle())["outcome"] == "switched"
    assert post(up.endpoint, max_tokens=1)[0] == 200


def test_an_engine_that_crashes_too_often_is_given_up(home: Home) -> None:
    up = home.ensure(backoff_first=0.01, backoff_most=0.01, crashes=3)
    up.apply(bundle("--die-after", "0.1", "--say", "I was here"))
    assert within(60, lambda: up.status()["generations"][0]["phase"] == "failed")
    engine = up.status()["generations"][0]
    assert engine["restarts"] == 2
    assert engine["failure"]["message"] == "the engine exited with status 3"
    assert "dying now" in engine["failure"]["detail"]
    assert get(up.endpoint, "/readyz")[0] == 503
    assert up.apply(bundle())["outcome"] == "switched"
    assert post(up.endpoint, max_tokens=1)[0] == 200


def test_a_crash_in_the_middle_of_a_stream_is_an_error_event(home: Home) -> None:
    up = home.up(bundle("--token-seconds", "0.1"))
    with ThreadPoolExecutor(1) as pool:
        stream: Future[tuple[int, str]] = pool.submit(post, up.endpoint, stream=True, max_tokens=1000)
        assert within(30, lambda: in_flight(home) == 1)
        kill(home.engines()[0])
        status, text = stream.result(30)
    assert status in (200, 502)
    assert '"error"' in text


def test_a_failed_swap_leaves_what_served(home: Home) -> None:
    up = home.up()
    with pytest.raises(Failure) as failed:
        up.apply(bundle("--die-at-start", "no such weights", stage="prod"), allow_switch=True)
    assert failed.value.code == "engine-exited"
    assert failed.value.detail[-1] == "no such weights"
    assert [(g["stage"], g["phase"]) for g in up.status()["generations"]] == [("dev", "ready")]
    assert post(up.endpoint, max_tokens=1)[0] == 200
