"""A share of the conversations goes to a candidate: which ones, how they stay, and what when it fails."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from modelkit.runtime.edge import EdgeLimits
from tests.unit.runtime.edge.harness import (
    END,
    EVENTS,
    OK,
    VERSION,
    Bench,
    Call,
    Engine,
    Response,
    Script,
    always,
    bench,
    event,
    get,
    post,
    until,
)

NEW = "ba9876543210"
MODELS = frozenset({"tiny"})
SIDES = {VERSION: "stable", NEW: "candidate"}


def talk(first: str = "hello", *later: str, **more: Any) -> bytes:
    """A chat's body: every turn of a conversation begins with the same words."""
    said = [{"role": "system", "content": "be kind"}, {"role": "user", "content": first}]
    for turn in later:
        said += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": turn}]
    return json.dumps({"model": "tiny", "messages": said, **more}).encode()


async def candidate(made: Bench, share: float, script: Script | None = None) -> Engine:
    engine = await made.engine(script or always(OK), NEW)
    made.edge.split(engine.upstream, share, models=MODELS)
    return engine


def side(answer: Response) -> str:
    assert answer.status == 200
    found = SIDES[answer.headers["x-modelkit-version"]]
    assert answer.headers["x-modelkit-track"] == found
    return found


async def sides(made: Bench, requests: list[bytes]) -> list[str]:
    async with made.client() as client:
        return [side(await client.ask(request)) for request in requests]


async def test_a_share_of_the_conversations_goes_to_the_candidate_and_stays_there() -> None:
    first = [post(talk(f"question {n}")) for n in range(200)]
    later = [post(talk(f"question {n}", "and now?", temperature=1)) for n in range(200)]
    async with bench(always(OK)) as made:
        await candidate(made, 0.25)
        found = await sides(made, first)
        assert 30 <= found.count("candidate") <= 70  # of 200 draws at 0.25: four standard deviations are 24
        assert await sides(made, later) == found
        await candidate(made, 0.5)
        wider = await sides(made, later)
        assert 70 <= wider.count("candidate") <= 130
        assert {side for side, before in zip(wider, found, strict=True) if before == "candidate"} == {"candidate"}


@pytest.mark.parametrize(("share", "expected"), [(0.0, "stable"), (1.0, "candidate")])
async def test_none_and_all(share: float, expected: str) -> None:
    async with bench(always(OK)) as made:
        await candidate(made, share)
        assert set(await sides(made, [post(talk(f"question {n}")) for n in range(20)])) == {expected}


@pytest.mark.parametrize(("word", "expected"), [
    (b"candidate", "candidate"), (b"Candidate ", "candidate"), (NEW.encode(), "candidate"),
    (b"stable", "stable"), (VERSION.encode(), "stable")])
@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_a_request_may_ask_for_its_side(share: float, word: bytes, expected: str) -> None:
    async with bench(always(OK)) as made:
        engine = await candidate(made, share)
        asked = await sides(made, [post(talk(f"question {n}"), b"X-Modelkit-Version: " + word) for n in range(3)])
        assert set(asked) == {expected}
        if expected == "candidate":
            assert b"x-modelkit-version" not in engine.requests[0].lower(), "the header is for the edge"
            assert (await made.ask(get(b"/v1/models", b"X-Modelkit-Version: " + word))).headers[
                "x-modelkit-version"] == NEW


async def test_an_unknown_side_is_as_if_none_was_named() -> None:
    async with bench(always(OK)) as made:
        await candidate(made, 1.0)
        assert await sides(made, [post(talk(), b"X-Modelkit-Version: 000000000000")]) == ["candidate"]
        made.edge.split(None)
        answer = await made.ask(post(talk(), b"X-Modelkit-Version: candidate"))
        assert (answer.headers["x-modelkit-version"], "x-modelkit-track" in answer.headers) == (VERSION, False)


@pytest.mark.parametrize(("one", "same"), [
    pytest.param(post(talk("a"), b"X-Session-Id: 17"), post(talk("b", user="x"), b"X-Session-Id: 17"), id="session"),
    pytest.param(post(talk("a", user="u17")), post(talk("b", user="u17")), id="user"),
    pytest.param(post(talk("a", safety_identifier="s1")), post(talk("b", safety_identifier="s1")), id="identifier"),
    pytest.param(post(talk("a", metadata={"user_id": "m"}), path=b"/v1/messages"),
                 post(talk("b", metadata={"user_id": "m"}), path=b"/v1/messages"), id="anthropic"),
    pytest.param(post(b'{"input": "a"}', b"Authorization: Bearer k1", path=b"/v1/embeddings"),
                 post(b'{"input": "b"}', b"Authorization: Bearer k1", path=b"/v1/embeddings"), id="key"),
    pytest.param(post(b'{"input": "a"}', path=b"/v1/embeddings"), post(b'{"input": "b"}', path=b"/v1/embeddings"),
                 id="address"),
    pytest.param(post(b'{"input": "a"}', path=b"/v1/responses"), post(b'{"input": "a", "temperature": 0}',
                                                                     path=b"/v1/responses"), id="responses"),
    pytest.param(post(b"not JSON"), post(b"[1, 2"), id="unreadable"),
])
async def test_what_a_conversation_is_known_by(one: bytes, same: bytes) -> None:
    """At every share the two requests are on one side: there is nothing else by which they are told apart."""
    async with bench(always(OK)) as made:
        engine = await made.engine(always(OK), NEW)
        seen = set()
        for step in range(1, 16):
            made.edge.split(engine.upstream, step / 16, models=MODELS)
            pair = await sides(made, [one, same])
            assert len(set(pair)) == 1
            seen |= set(pair)
        assert seen == {"stable", "candidate"}


async def test_other_sessions_users_and_keys_are_others() -> None:
    requests = {
        "sessions": [post(talk(), b"X-Session-Id: %d" % n) for n in range(60)],
        "users": [post(talk(user=f"u{n}")) for n in range(60)],
        "keys": [post(b'{"input": "a"}', b"x-api-key: k%d" % n, path=b"/v1/embeddings") for n in range(60)],
    }
    async with bench(always(OK)) as made:
        await candidate(made, 0.5)
        for kind, asked in requests.items():
            assert set(await sides(made, asked)) == {"stable", "candidate"}, kind


async def test_an_end_of_the_split_leaves_streams_where_they_are() -> None:
    go_on = asyncio.Event()

    async def slow(call: Call) -> None:
        await call.request()
        await call.say(EVENTS + event("1"))
        await go_on.wait()
        await call.say(event("2") + END)

    async with bench(always(OK)) as made:
        engine = await candidate(made, 1.0, slow)
        async with made.client() as client:
            await client.send(post(talk()))
            await client.reader.readuntil(event("1"))
            made.edge.split(None)
            assert (await made.ask(post(talk()))).headers["x-modelkit-version"] == VERSION
            assert made.edge.in_flight[engine.upstream] == 1
            go_on.set()
            assert await client.reader.readuntil(END) == event("2") + END
        await until(lambda: engine.upstream not in made.edge.in_flight)


async def dies(call: Call) -> None:
    await call.request()


async def lies(call: Call) -> None:
    await call.request()
    await call.say(b"nonsense\r\n\r\n")


@pytest.mark.parametrize("script", [dies, lies])
@pytest.mark.parametrize("request_", [
    pytest.param(post(talk()), id="length"),
    pytest.param(b"\r\n".join([b"POST /v1/chat/completions HTTP/1.1", b"Host: localhost",
                               b"Content-Type: application/json", b"Transfer-Encoding: chunked", b"", b"2", b"{}",
                               b"0", b"", b""]), id="chunked")])
async def test_what_a_candidate_does_not_begin_to_answer_is_answered_all_the_same(script: Script,
                                                                                  request_: bytes) -> None:
    async with bench(always(OK)) as made:
        engine = await candidate(made, 1.0, script)
        for _ in range(3):
            assert (await made.ask(request_)).headers["x-modelkit-version"] == VERSION
        assert (engine.upstream.tallies.served.requests, engine.upstream.tallies.served.errors) == (3, 3)
        body = made.engines[0].requests[-1].rpartition(b"\r\n\r\n")
        assert made.engines[0].upstream.tallies.served.requests == 3
        assert (body[2] or made.engines[0].requests[-1]).endswith((talk(), b"2\r\n{}\r\n0\r\n\r\n"))


async def test_a_candidate_that_is_gone_costs_no_request() -> None:
    async with bench(always(OK)) as made:
        engine = await candidate(made, 1.0)
        await engine.stop()
        assert {(await made.ask(post(talk(f"{n}")))).status for n in range(5)} == {200}
        assert engine.upstream.tallies.served.errors == 5


async def test_whatever_changes_meanwhile_no_request_is_lost() -> None:
    """Routes, shares and mirrors change at random, and candidates die at random before they answer."""
    draw = random.Random(7)

    async def moody(call: Call) -> None:
        while draw.random() < 0.7:
            await call.request()
            await asyncio.sleep(draw.random() * 0.002)
            await call.say(OK)
        await call.request()

    async with bench(always(OK)) as made:
        stables = [made.engines[0], await made.engine(always(OK), "c" * 12)]
        moodies = [await made.engine(moody, NEW), await made.engine(moody, "d" * 12)]

        async def asks(number: int) -> set[int]:
            async with made.client() as client:
                return {(await client.ask(post(talk(f"{number} {turn}")))).status for turn in range(40)}

        asking = [asyncio.create_task(asks(number)) for number in range(8)]
        while not all(task.done() for task in asking):
            match draw.randrange(4):
                case 0:
                    made.edge.route(draw.choice(stables).upstream, models=MODELS)
                case 1:
                    made.edge.split(draw.choice(moodies).upstream, draw.random(), models=MODELS)
                case 2:
                    made.edge.mirror(draw.choice(moodies).upstream, draw.random(), models=MODELS)
                case _:
                    draw.choice((made.edge.split, made.edge.mirror))(None)
            await asyncio.sleep(0.003)
        assert set().union(*[task.result() for task in asking]) == {200}
        made.edge.mirror(None)
        made.edge.split(None)
        await until(lambda: sum(made.edge.in_flight.values()) == 0 and len(made.edge.in_flight) == 1)


async def test_with_nothing_stable_its_end_is_said() -> None:
    async with bench(always(OK)) as made:
        await candidate(made, 1.0, dies)
        made.edge.route(None)
        assert (await made.ask(post(talk()))).status == 502


async def test_a_large_body_is_read_whole_first() -> None:
    body = talk("x" * 300_000)
    async with bench(always(OK), limits=EdgeLimits(replay_bytes=1024)) as made:
        engine = await candidate(made, 1.0)
        async with made.client() as client:
            whole = post(body, b"Expect: 100-continue")
            head = whole[:-len(body)]
            await client.send(head)
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            for at in range(0, len(body), 50_000):
                await client.send(body[at:at + 50_000])
            assert side(await client.response()) == "candidate"
        assert engine.requests[0].endswith(body)


async def test_several_models_are_split_each_by_itself() -> None:
    async with bench() as made:
        made.edge.open_slots(["a", "b"])
        first, second, third = [await made.engine(always(OK), version) for version in (VERSION, "b" * 12, NEW)]
        made.edge.route(first.upstream, models=frozenset({"tiny"}), slot="a")
        made.edge.route(second.upstream, models=frozenset({"other"}), slot="b")
        made.edge.split(third.upstream, 1.0, models=frozenset({"tiny"}), slot="a")
        assert side(await made.ask(post(talk()))) == "candidate"
        answer = await made.ask(post(json.dumps({"model": "other"}).encode()))
        assert (answer.headers["x-modelkit-version"], "x-modelkit-track" in answer.headers) == ("b" * 12, False)


async def test_counts_are_of_each_side() -> None:
    async def script(call: Call) -> None:
        for answer in (OK, OK.replace(b"200 OK", b"400 Bad Request"), OK.replace(b"200 OK", b"500 Oh"),
                       EVENTS + event("1") + END):
            await call.request()
            await call.say(answer)
        await call.request()
        await call.say(EVENTS + event("1"))

    async with bench(always(OK)) as made:
        engine = await candidate(made, 1.0, script)
        async with made.client() as client:
            statuses = [(await client.ask(post(talk()))).status for _ in range(4)]
            await client.send(post(talk()))
            assert b"error" in await client.ending()
        served = engine.upstream.tallies.served
        assert statuses == [200, 400, 500, 200]
        assert (served.requests, served.errors, served.refused, served.abandoned) == (5, 2, 1, 0)
        assert served.duration.count == 2
        assert served.ttft.count == 1
        assert made.engines[0].upstream.tallies.served.requests == 0
