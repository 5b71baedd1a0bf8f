"""An engine that nobody asks is stopped and its address stays; the next request starts it, once, and waits for it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.planning.plan import Plan
from modelkit.platforms import process
from modelkit.platforms.bundle import Bundle
from tests.unit.runtime.support import Home, aside, bundle, get, kill, post, refused_by, within
from tests.unit.runtime.test_supervisor_swap import DONE, in_flight


def brief(*vices: str, keep_alive: float = 0.3, **more: Any) -> Bundle:
    return bundle(*vices, serve={"keep_alive": keep_alive, **more.pop("serve", {})}, **more)


def phase(home: Home) -> str:
    with home.connect() as connected:
        return str(connected.status()["generations"][0]["phase"])


def unloaded(home: Home) -> bool:
    with home.connect() as connected:
        (generation,) = connected.status()["generations"]
    return generation["phase"] == "unloaded" and not generation["replicas"] and not home.engines()


def test_idle_is_unloaded_and_the_next_request_waits(home: Home) -> None:
    up = home.up(brief("--load-seconds", "0.3"))
    assert within(30, lambda: unloaded(home))
    status = up.status()
    assert (status["routed"], status["generations"][0]["pid"], status["generations"][0]["rss"]) == (1, None, 0)
    assert get(up.endpoint, "/readyz")[0] == 200
    assert [m["id"] for m in json.loads(get(up.endpoint, "/v1/models")[2])["data"]] == ["stub"]
    assert get(up.endpoint, "/v1/models/other")[0] == 404
    assert unloaded(home), "none of these needs an engine"
    status, text = post(up.endpoint, stream=True, max_tokens=5)
    assert status == 200 and DONE in text
    assert within(30, lambda: unloaded(home))
    assert post(up.endpoint, max_tokens=1)[0] == 200
    up.down()
    assert home.leftovers() == []


def test_many_at_once_start_it_once(home: Home) -> None:
    up = home.up(brief("--load-seconds", "0.5", "--say", "hello", keep_alive=1))
    assert within(30, lambda: unloaded(home))
    big = "x" * 300_000  # more than is read before there is an engine
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: post(up.endpoint, max_tokens=2, user=big if n % 2 else ""), range(12)))
    assert [status for status, _ in answers] == [200] * 12
    assert home.said().count("hello") == 2


def test_a_request_under_way_keeps_it(home: Home) -> None:
    up = home.up(brief("--token-seconds", "0.1", keep_alive=0))
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(post, up.endpoint, stream=True, max_tokens=20)
        status, text = stream.result(60)
    assert status == 200 and DONE in text
    assert within(30, lambda: unloaded(home)), "0 is at once"


def test_those_who_say_nothing_or_for_ever_stay(home: Home) -> None:
    assert bundle().keep_alive is None and brief(keep_alive=-1).keep_alive is None and brief().keep_alive == 0.3
    up = home.up(brief(keep_alive=-1))
    ticks = threading.Event()
    assert not ticks.wait(1)  # ten looks
    assert phase(home) == "ready"
    assert up.apply(brief())["outcome"] == "unchanged", "it is no part of what runs"
    assert within(30, lambda: unloaded(home))


def test_prod_is_never_unloaded() -> None:
    plan: Plan = brief().plan.model_copy(update={"kind": "prod"})
    assert Bundle(plan, brief().launch).keep_alive is None
    (lowered,) = process.lower(plan)
    assert (lowered.verdict, lowered.reason) == ("lost", "prod is never unloaded")
    assert process.lower(brief().plan)[0].verdict == "equal"


def test_a_client_that_leaves_is_let_go(home: Home) -> None:
    up = home.up(brief("--load-seconds", "1"))
    assert within(30, lambda: unloaded(home))
    leaving = aside(lambda: post(up.endpoint, max_tokens=1))
    assert within(30, lambda: phase(home) == "starting")
    kill(leaving.pid or -1)
    assert within(30, lambda: phase(home) == "ready")
    assert in_flight(home) == 0
    assert within(30, lambda: unloaded(home))


def test_an_engine_that_does_not_wake_is_said(home: Home) -> None:
    flag = home.path / "full"
    up = home.up(refused_by(flag, brief()))
    assert within(30, lambda: unloaded(home))
    flag.touch()
    status, body = post(up.endpoint, max_tokens=1)
    assert status == 503
    assert "could not be started again: the engine exited with status 1" in json.loads(body)["error"]["message"]
    assert within(30, lambda: phase(home) == "unloaded")
    assert up.status()["generations"][0]["failure"]["detail"][-1] == "no memory left"
    flag.unlink()
    assert post(up.endpoint, max_tokens=1)[0] == 200
    assert up.status()["generations"][0]["failure"] is None


def test_down_and_swaps_while_it_sleeps_and_wakes(home: Home) -> None:
    up = home.up(brief())
    assert within(30, lambda: unloaded(home))
    assert up.apply(brief("--say", "second", "--load-seconds", "1"))["outcome"] == "switched"
    assert within(30, lambda: unloaded(home))
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(post, up.endpoint, max_tokens=1)
        assert within(30, lambda: phase(home) == "starting")
        assert up.apply(brief("--say", "third"))["outcome"] == "switched"
        assert waiting.result(30)[0] == 200, "it is answered by who came instead"
        assert within(30, lambda: unloaded(home))
        slow = up.apply(brief("--load-seconds", "1", "--say", "fourth"))
        assert slow["outcome"] == "switched" and within(30, lambda: unloaded(home))
        waiting = pool.submit(post, up.endpoint, max_tokens=1)
        assert within(30, lambda: phase(home) == "starting")
        up.down(fast=True)
        assert waiting.result(30)[0] == 503
    assert home.leftovers() == []


def test_several_replicas_sleep_and_wake_together(home: Home) -> None:
    up = home.up(brief(serve={"replicas": 2}))
    assert within(30, lambda: unloaded(home))
    assert post(up.endpoint, max_tokens=1)[0] == 200
    assert up.status()["generations"][0]["ready"] == 2
    assert within(30, lambda: unloaded(home))


def test_a_killed_supervisor_leaves_nothing_of_a_sleeper(home: Home) -> None:
    up = home.up(brief())
    assert within(30, lambda: unloaded(home))
    kill(int(up.hello["pid"]))
    assert within(30, lambda: not home.leftovers())
    with pytest.raises(Failure):
        up.status()
    assert post(home.up(brief()).endpoint, max_tokens=1)[0] == 200
