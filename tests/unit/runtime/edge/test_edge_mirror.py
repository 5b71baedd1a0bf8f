"""Copies of requests for a candidate: the client whose request it is must not notice."""

from __future__ import annotations

import asyncio

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
    Script,
    always,
    bench,
    event,
    get,
    post,
    until,
)
from tests.unit.runtime.edge.test_edge_division import NEW, talk

CHUNKED = b"\r\n".join([b"POST /v1/chat/completions HTTP/1.1", b"Host: localhost", b"Content-Type: application/json",
                        b"Transfer-Encoding: chunked", b"", b"2", b"{}", b"0", b"", b""])


async def mirrored(made: Bench, share: float = 1.0, script: Script | None = None) -> Engine:
    engine = await made.engine(script or always(OK), NEW)
    made.edge.mirror(engine.upstream, share, models=frozenset({"tiny"}))
    return engine


async def never(call: Call) -> None:
    await call.request()
    await call.gone()


@pytest.mark.parametrize("request_", [pytest.param(post(talk()), id="length"), pytest.param(CHUNKED, id="chunked")])
async def test_a_copy_goes_to_the_candidate_and_its_answer_nowhere(request_: bytes) -> None:
    async with bench(always(OK)) as made:
        engine = await mirrored(made, script=always(OK.replace(b"200 OK", b"500 Oh")))
        async with made.client() as client:
            for _ in range(3):
                answer = await client.ask(request_)
                assert (answer.status, answer.headers["x-modelkit-version"]) == (200, VERSION)
        await until(lambda: engine.upstream.tallies.mirrored.requests == 3)
        bodies = [[request.partition(b"\r\n\r\n")[2] for request in one.requests] for one in made.engines]
        assert bodies[0] == bodies[1]
        assert engine.upstream.tallies.mirrored.errors == 3
        assert engine.upstream.tallies.served.requests == 0


async def test_what_asks_nothing_of_a_model_is_not_copied() -> None:
    async with bench(always(OK)) as made:
        engine = await mirrored(made)
        await made.ask(get(b"/v1/models"))
        await made.ask(get(b"/healthz"))
        assert (await made.ask(post(talk()))).status == 200
        await until(lambda: engine.upstream.tallies.mirrored.requests == 1)
        assert len(engine.requests) == 1


async def test_a_share_of_the_conversations_is_copied() -> None:
    async with bench(always(OK)) as made:
        engine = await mirrored(made, 0.5)
        for _ in range(2):
            for number in range(40):
                assert (await made.ask(post(talk(f"question {number}")))).status == 200
        tallies = engine.upstream.tallies
        await until(lambda: tallies.mirrored.requests + tallies.skipped >= 2)
        await until(lambda: not made.edge._backends[engine.upstream].shadows)
        assert 0 < tallies.mirrored.requests + tallies.skipped < 80
        assert (tallies.mirrored.requests + tallies.skipped) % 2 == 0


async def test_a_candidate_that_never_answers_holds_nobody_up() -> None:
    limits = EdgeLimits(mirrored=2)
    async with bench(always(OK), limits=limits) as made:
        engine = await mirrored(made, script=never)
        for _ in range(5):
            assert (await made.ask(post(talk()))).status == 200
        assert engine.upstream.tallies.skipped == 3
        assert engine.upstream.tallies.mirrored.requests == 0
        made.edge.mirror(None)
        assert engine.upstream.tallies.mirrored.requests == 0, "what we ended says nothing about it"
        assert (await made.ask(post(talk()))).status == 200
        assert engine.upstream.tallies.skipped == 3


async def test_a_copy_that_takes_too_long_has_failed() -> None:
    async with bench(always(OK), limits=EdgeLimits(mirror_seconds=0.05, pool_seconds=0.1)) as made:
        engine = await mirrored(made, script=never)
        assert (await made.ask(post(talk()))).status == 200
        await until(lambda: engine.upstream.tallies.mirrored.errors == 1)


async def test_a_candidate_that_is_gone_is_counted() -> None:
    async with bench(always(OK)) as made:
        engine = await mirrored(made)
        await engine.stop()
        assert (await made.ask(post(talk()))).status == 200
        await until(lambda: engine.upstream.tallies.mirrored.errors == 1)


async def test_half_an_answer_is_an_error_and_a_stream_has_its_first_byte() -> None:
    async def streams(call: Call) -> None:
        await call.request()
        await call.say(EVENTS, event("1"), event("2") + END)
        await call.request()
        await call.say(EVENTS, event("1"))

    async def in_turn(call: Call) -> None:
        await (streams if len(engine.requests) == 0 else half)(call)

    async def half(call: Call) -> None:
        await call.request()
        await call.say(EVENTS, event("1"))

    async with bench(always(OK)) as made:
        engine = await mirrored(made, script=in_turn)
        tally = engine.upstream.tallies.mirrored
        assert (await made.ask(post(talk()))).status == 200
        await until(lambda: tally.requests == 1)
        assert (tally.errors, tally.ttft.count, tally.duration.count) == (0, 1, 1)
        assert (await made.ask(post(talk()))).status == 200
        await until(lambda: tally.requests == 2)
        assert tally.errors == 1


async def test_the_candidate_of_a_split_is_not_asked_twice() -> None:
    async with bench(always(OK)) as made:
        engine = await mirrored(made)
        made.edge.split(engine.upstream, 1.0)
        assert (await made.ask(post(talk()))).headers["x-modelkit-version"] == NEW
        await asyncio.sleep(0.02)
        assert len(engine.requests) == 1
