"""A candidate beside what serves: kept warm, given a share, given copies; and what ends that."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelkit.cli.commands.ps import _rows
from modelkit.failure import Failure
from modelkit.platforms.bundle import Bundle
from modelkit.runtime.client import Client
from tests.unit.runtime.support import Home, aside, bundle, get, kill, post, within

WAIT = 30
OLD, NEW = bundle(), bundle("--token-seconds", "0.001")
SLOW = ("--token-seconds", "0.05")


def generations(client: Client) -> dict[int, dict[str, Any]]:
    return {g["id"]: g for g in client.status()["generations"]}


def ask(client: Client, session: str = "s", **headers: str) -> tuple[int, str | None]:
    """One request: its status, and which track answered."""
    connection = http.client.HTTPConnection(client.endpoint.removeprefix("http://"), timeout=WAIT)
    try:
        body = json.dumps({"model": "stub", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1})
        connection.request("POST", "/v1/chat/completions", body,
                           {"Content-Type": "application/json", "X-Session-Id": session, **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("X-Modelkit-Track")
    finally:
        connection.close()


def sides(client: Client, count: int = 20) -> set[str | None]:
    answers = [ask(client, f"session {n}") for n in range(count)]
    assert {status for status, _ in answers} == {200}
    return {track for _, track in answers}


def started(client: Client, what: Bundle = NEW) -> int:
    return int(client.start(what)["generation"])


class TestKeptWarm:
    def test_there_and_back_takes_no_start(self, home: Home) -> None:
        up = home.up(OLD)
        new = started(up)
        assert up.switch(new, keep_warm=60)["outcome"] == "switched"
        about = generations(up)
        assert about[new]["routed"] and not about[1]["routed"]
        assert about[1]["phase"] == "ready" and 0 < about[1]["warm"] <= 60
        assert about[new]["warm"] is None
        pids = set(home.engines())
        assert up.switch(1, keep_warm=60)["outcome"] == "switched"
        assert generations(up)[1]["routed"] and generations(up)[new]["warm"] > 0
        assert set(home.engines()) == pids
        assert ask(up)[0] == 200

    def test_it_ends_with_its_time(self, home: Home) -> None:
        up = home.up(OLD)
        up.switch(started(up), keep_warm=0.2)
        assert within(WAIT, lambda: len(home.engines()) == 1)
        assert within(WAIT, lambda: list(generations(up)) == [2])
        with pytest.raises(Failure, match="no generation 1"):
            up.switch(1)

    def test_streams_go_on_there(self, home: Home) -> None:
        up = home.up(bundle(*SLOW))
        with ThreadPoolExecutor(1) as pool:
            stream = pool.submit(post, up.endpoint, stream=True, max_tokens=30)
            assert within(WAIT, lambda: generations(home.connect())[1]["in_flight"] == 1)
            up.switch(started(up), keep_warm=0.01)
            assert "data: [DONE]" in stream.result(WAIT)[1]
        assert within(WAIT, lambda: list(generations(up)) == [2])

    def test_it_outlives_who_switched(self, home: Home) -> None:
        up = home.up(OLD)
        with home.connect() as promoting:
            new = started(promoting)
            promoting.switch(new, keep_warm=60)
            promoting.switch(1, keep_warm=60)  # now what this client has started is the warm one
        assert not within(0.5, lambda: len(generations(up)) == 1)
        assert up.switch(new)["outcome"] == "switched"

    def test_back_at_the_very_end_of_its_time(self, home: Home) -> None:
        up = home.up(OLD)
        for seconds in (0.0005, 0.001, 0.002, 0.004):
            before = up.status()["routed"]
            with home.connect() as other:
                up.switch(started(up, bundle("--token-seconds", str(seconds))), keep_warm=seconds)
                with contextlib.suppress(Failure):
                    other.switch(before, keep_warm=seconds)
            assert ask(up)[0] == 200
            assert within(WAIT, lambda: len(generations(up)) == 1)
            assert ask(up)[0] == 200

    def test_one_is_kept_at_most(self, home: Home) -> None:
        up = home.up(OLD)
        up.switch(started(up), keep_warm=60)
        up.switch(started(up, bundle("--token-seconds", "0.002")), keep_warm=60)
        assert within(WAIT, lambda: set(generations(up)) == {2, 3})

    def test_one_that_crashes_is_not_kept(self, home: Home) -> None:
        up = home.up(OLD)
        old = home.engines()[0]
        up.switch(started(up), keep_warm=60)
        kill(old)
        assert within(WAIT, lambda: list(generations(up)) == [2])
        assert len(home.engines()) == 1

    def test_an_apply_takes_the_warm_one(self, home: Home) -> None:
        up = home.up(OLD)
        up.switch(started(up), keep_warm=60)
        assert up.apply(OLD)["generation"] == 1
        assert within(WAIT, lambda: list(generations(up)) == [1])

    def test_down_ends_it_too(self, home: Home) -> None:
        up = home.up(OLD)
        up.switch(started(up), keep_warm=60)
        up.down()
        assert home.leftovers() == []


class TestSplit:
    def test_a_share_grows_to_all_of_it(self, home: Home) -> None:
        up = home.up(OLD)
        new, events = started(up), list[dict[str, Any]]()
        before = up.counts(1)
        up.split(new, 0.5, events.append)
        assert sides(up) == {"stable", "candidate"}
        assert generations(up)[new]["split"] == 0.5
        shares = [line.rpartition(" ")[2] for line in get(up.endpoint, "/metrics")[2].splitlines()
                  if line.startswith("modelkit_share{")]
        assert shares == ["0.5", "0.5"]
        assert [row[3] for row in _rows(up.status())] == ["ready, serving", "ready, canary 50%"]
        up.split(new, 1.0)
        assert sides(up) == {"candidate"}
        counted = [up.counts(1, before), up.counts(new)]
        assert [one["served"]["errors"] for one in counted] == [0, 0]
        assert sum(one["served"]["requests"] for one in counted) == 40
        up.switch(new)
        assert sides(up) == {None}
        assert generations(up)[new]["split"] is None

    def test_back_to_none(self, home: Home) -> None:
        up = home.up(OLD)
        new = started(up)
        up.split(new, 0.0)
        assert sides(up) == {"stable"}
        assert ask(up, **{"X-Modelkit-Version": "candidate"})[1] == "candidate"
        up.split(new, None)
        assert sides(up) == {None}
        assert up.split(new, None)["outcome"] == "ended"

    def test_a_candidate_that_crashes_costs_no_request(self, home: Home) -> None:
        up = home.up(OLD)
        new, events, answers = started(up), list[dict[str, Any]](), list[int]()
        old = set(home.engines())
        up.split(new, 1.0)
        watching = threading.Thread(target=lambda: home.connect().watch(events.append), daemon=True)
        watching.start()
        assert within(WAIT, lambda: any(event["event"] == "attached" for event in events))
        with ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(lambda: [ask(up, f"{n}")[0] for n in range(30)]) for _ in range(4)]
            kill(next(pid for pid in old if pid == generations(home.connect())[new]["pid"]))
            for load in loads:
                answers += load.result(WAIT)
        assert set(answers) == {200}
        assert within(WAIT, lambda: any(event["event"] == "split" and event["share"] is None for event in events))
        assert generations(up)[new]["split"] is None
        assert sides(up) == {None}

    def test_it_ends_with_who_asked_and_cuts_no_stream(self, home: Home) -> None:
        up = home.up(OLD)
        promoting = home.connect()
        new = started(promoting, bundle(*SLOW))
        promoting.split(new, 1.0)
        with ThreadPoolExecutor(1) as pool:
            stream = pool.submit(post, up.endpoint, stream=True, max_tokens=30)
            assert within(WAIT, lambda: generations(up)[new]["in_flight"] == 1)
            promoting.close()
            assert within(WAIT, lambda: generations(up).get(new, {"phase": ""})["phase"] in ("draining", ""))
            assert ask(up) == (200, None)
            assert "data: [DONE]" in stream.result(WAIT)[1]
        assert within(WAIT, lambda: list(generations(up)) == [1])

    def test_a_stop_of_the_candidate_ends_it_first(self, home: Home) -> None:
        up = home.up(OLD)
        new = started(up)
        up.split(new, 1.0)
        ended = threading.Event()

        def load() -> list[int]:
            found = []
            while not ended.is_set():
                found.append(ask(up)[0])
            return found

        with ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(load) for _ in range(4)]
            assert within(WAIT, lambda: home.connect().counts(new)["served"]["requests"] > 10)
            with home.connect() as other:
                other.stop(new)
            ended.set()
            assert {status for one in loads for status in one.result(WAIT)} == {200}
        assert list(generations(up)) == [1]

    @pytest.mark.parametrize(("share", "code"), [(1.5, "usage"), (-0.1, "usage"), ("half", "usage"), (True, "usage"),
                                                 (float("nan"), "usage")])
    def test_what_is_no_share(self, home: Home, share: Any, code: str) -> None:
        up = home.ensure()
        with pytest.raises(Failure) as refused:
            up.split(1, share)
        assert refused.value.code == code

    def test_what_can_have_none(self, home: Home) -> None:
        up = home.up(OLD)
        codes = []
        for number in (1, 7):
            with pytest.raises(Failure) as refused:
                up.split(number, 0.5)
            codes.append(refused.value.code)
        assert codes == ["nothing-beside", "no-such-generation"]


def test_copies_are_counted_and_not_seen(home: Home) -> None:
    up = home.up(OLD)
    new = started(up)
    up.mirror(new, 1.0)
    assert generations(up)[new]["mirror"] == 1.0
    assert sides(up) == {None}
    assert within(WAIT, lambda: up.counts(new)["mirrored"]["requests"] + up.counts(new)["mirrored"]["skipped"] == 20)
    counted = up.counts(new)
    assert (counted["mirrored"]["errors"], counted["served"]["requests"]) == (0, 0)
    scraped = get(up.endpoint, "/metrics")[2].splitlines()
    lines = {line.partition("{")[0]: line.rpartition(" ")[2] for line in scraped if 'generation="2"' in line}
    assert lines["modelkit_mirrored_total"] == str(counted["mirrored"]["requests"])
    assert lines["modelkit_mirrored_skipped_total"] == str(counted["mirrored"]["skipped"])
    assert _rows(up.status())[1][3] == "ready, mirrored 100%"
    up.mirror(new, None)
    assert sides(up) == {None}
    assert up.counts(new, counted)["mirrored"]["requests"] == 0


class TestHold:
    def test_requests_wait_while_one_makes_room_for_the_other(self, home: Home) -> None:
        up = home.up(OLD)
        with ThreadPoolExecutor(4) as pool:
            up.stop(1, hold=True)
            assert home.engines() == []
            waiting = [pool.submit(ask, up, f"{n}") for n in range(4)]
            up.switch(started(up))
            assert {answer.result(WAIT)[0] for answer in waiting} == {200}

    def test_who_held_them_goes_away(self, home: Home) -> None:
        up = home.up(OLD)

        def swap() -> None:
            with home.connect() as promoting:
                promoting.stop(1, hold=True)
                threading.Event().wait(60)

        swapping = aside(swap)
        assert within(WAIT, lambda: not home.engines())
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, up)
            assert not within(0.3, waiting.done)
            kill(swapping.pid or -1)
            assert waiting.result(WAIT)[0] == 503
        assert [one["stage"] for one in up.restore()] == ["dev"]
        assert ask(up)[0] == 200
