"""Engines come and go behind one address."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.unit.runtime.edge.harness import END, EVENTS, OK, Bench, Call, Client, always, bench, event, get, post, until

OTHER = "ba9876543210"


class Steps:
    """A script that lets the test say when a stream goes on."""

    def __init__(self, opening: bytes = EVENTS + event("1")) -> None:
        self.opening = opening
        self.pieces = asyncio.Queue[bytes]()
        self.gone = 0

    async def __call__(self, call: Call) -> None:
        await call.request()
        await call.say(self.opening)
        waiting = asyncio.create_task(call.gone())
        while True:
            piece = asyncio.create_task(self.pieces.get())
            await asyncio.wait({waiting, piece}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                piece.cancel()
                self.gone += 1
                return
            await call.say(piece.result())


async def begin(client: Client) -> None:
    """Ask for a stream; returns when its first event is here."""
    await client.send(post())
    await client.reader.readuntil(b"\r\n\r\n")
    await client.reader.readexactly(len(event("1")))


async def test_a_switch_leaves_streams_where_they_are() -> None:
    steps = Steps()
    async with bench(steps) as made:
        old = made.engines[0].upstream
        new = (await made.engine(always(OK), OTHER)).upstream
        async with made.client() as streaming, made.client() as asking:
            await begin(streaming)
            made.edge.route(new, models=frozenset({"tiny"}))
            assert (await asking.ask(post())).headers["x-modelkit-version"] == OTHER
            assert made.edge.in_flight == {old: 1, new: 0}
            assert not await made.edge.drained(old, 0.01)
            draining = asyncio.create_task(made.edge.drained(old, 20))
            await asyncio.sleep(0.01)
            assert not draining.done()
            steps.pieces.put_nowait(event("2") + END)
            assert await streaming.reader.readexactly(len(event("2") + END)) == event("2") + END
            assert await draining
            assert (await streaming.ask(post())).headers["x-modelkit-version"] == OTHER
        await until(lambda: made.edge.in_flight == {new: 0})


async def test_idle_connections_to_the_old_engine_are_closed() -> None:
    closed = asyncio.Event()

    async def once(call: Call) -> None:
        await call.request()
        await call.say(OK)
        await call.gone()
        closed.set()

    async with bench(once) as made:
        assert (await made.ask(post())).status == 200
        made.edge.route((await made.engine(always(OK), OTHER)).upstream)
        await closed.wait()


async def test_there_and_back_again() -> None:
    async with bench(always(OK)) as made:
        first = made.engines[0].upstream
        second = (await made.engine(always(OK), OTHER)).upstream
        for upstream in (second, first, second, first):
            made.edge.route(upstream)
            assert (await made.ask(post())).headers["x-modelkit-version"] == upstream.version
        made.edge.route(None)
        assert (await made.ask(post())).status == 503
        assert "x-modelkit-version" not in (await made.ask(get(b"/healthz"))).headers


async def test_requests_during_many_switches_all_get_an_answer() -> None:
    async def slow(call: Call) -> None:
        while True:
            await call.request()
            await asyncio.sleep(0.002)
            await call.say(OK)

    async with bench(slow) as made:
        upstreams = [made.engines[0].upstream, (await made.engine(slow, OTHER)).upstream]

        async def asks() -> set[int]:
            async with made.client() as client:
                return {(await client.ask(post())).status for _ in range(30)}

        asking = [asyncio.create_task(asks()) for _ in range(8)]
        number = 0
        while not all(task.done() for task in asking):
            number += 1
            made.edge.route(upstreams[number % 2])
            await asyncio.sleep(0.003)
        assert set().union(*[task.result() for task in asking]) == {200}


async def test_an_unknown_upstream_is_drained() -> None:
    async with bench(always(OK)) as made:
        other = (await made.engine(always(OK), OTHER)).upstream
        assert await made.edge.drained(other, 0)
        made.edge.cut(other)


async def test_cut_between_chunks_ends_the_stream_with_an_event() -> None:
    steps = Steps()
    async with bench(steps) as made, made.client() as client:
        await begin(client)
        made.edge.cut(made.engines[0].upstream)
        rest = await client.ending()
        last = json.loads(rest.partition(b"data: ")[2].partition(b"\n")[0])
        assert rest.endswith(END) and last["error"]["code"] == "engine_stopped"
        await until(lambda: steps.gone == 1)
        assert made.edge.in_flight == {made.engines[0].upstream: 0}


@pytest.mark.parametrize("rest_of_chunk", [event("2")[4:], event("2")[4:] + event("3"),
                                           event("2")[4:] + event("3")[:5]])
async def test_cut_inside_of_a_chunk_waits_for_its_end(rest_of_chunk: bytes) -> None:
    steps = Steps(EVENTS + event("1") + event("2")[:4])
    async with bench(steps) as made, made.client() as client:
        await begin(client)
        await client.reader.readexactly(4)
        made.edge.cut(made.engines[0].upstream)
        steps.pieces.put_nowait(rest_of_chunk)
        rest = await client.ending()
        assert rest.startswith(event("2")[4:]) and b"engine_stopped" in rest and rest.endswith(END)
        assert b"data: 3" not in rest


async def test_cut_inside_of_a_size_line_waits_too() -> None:
    steps = Steps(EVENTS + event("1") + event("2")[:1])
    async with bench(steps) as made, made.client() as client:
        await begin(client)
        await client.reader.readexactly(1)
        made.edge.cut(made.engines[0].upstream)
        for start in range(1, len(event("2"))):
            steps.pieces.put_nowait(event("2")[start:start + 1])
        rest = await client.ending()
        assert rest.startswith(event("2")[1:]) and b"engine_stopped" in rest and rest.endswith(END)


async def test_cut_does_not_wait_for_ever() -> None:
    steps = Steps(EVENTS + event("1") + event("2")[:4])
    async with bench(steps) as made, made.client() as client:
        await begin(client)
        made.edge.cut(made.engines[0].upstream)
        assert await client.rest() == event("2")[:4]
        await until(lambda: steps.gone == 1)


async def test_cut_before_an_answer_is_502() -> None:
    steps = Steps(b"")
    async with bench(steps) as made, made.client() as client:
        await client.send(post())
        await until(lambda: len(made.engines[0].requests) == 1)
        made.edge.cut(made.engines[0].upstream)
        response = await client.response()
        assert (response.status, response.error["code"]) == (502, "engine_stopped")
        await until(lambda: steps.gone == 1)
        assert (await client.ask(get(b"/healthz"))).status == 200


async def test_cut_of_a_client_that_does_not_read() -> None:
    async def firehose(call: Call) -> None:
        await call.request()
        await call.say(EVENTS)
        while True:
            await call.say(event("x" * 60_000))

    async with bench(firehose) as made, made.client(receive_buffer=4096) as client:
        await client.send(post())
        await until(lambda: any(connection.blocked for connection in made.edge.connections))
        made.edge.cut(made.engines[0].upstream)
        await until(lambda: not made.edge.connections)
        assert made.edge.in_flight == {made.engines[0].upstream: 0}


async def test_rejecting_is_not_ready_and_finishes_what_it_has() -> None:
    steps = Steps()
    async with bench(steps) as made, made.client() as client:
        await begin(client)
        made.edge.reject("the engine is being replaced")
        for request in (post(), get(b"/v1/models"), get(b"/readyz")):
            response = await made.ask(request)
            assert (response.status, response.error["code"]) == (503, "draining")
            assert response.error["message"] == "the engine is being replaced" and "retry-after" in response.headers
        assert (await made.ask(get(b"/healthz"))).status == 200
        steps.pieces.put_nowait(END)
        assert await client.reader.readexactly(len(END)) == END
        made.edge.reject(None)
        assert (await made.ask(get(b"/readyz"))).status == 200


async def test_close_waits_for_what_is_in_flight() -> None:
    steps = Steps()
    async with bench(steps) as made, made.client() as client, made.client() as idle:
        assert (await idle.ask(get(b"/healthz"))).status == 200
        await begin(client)
        closing = asyncio.create_task(made.edge.close(20))
        assert await idle.rest() == b""
        with pytest.raises(OSError):
            await made.ask(get(b"/healthz"))
        assert not closing.done()
        steps.pieces.put_nowait(event("2") + END)
        assert await client.rest() == event("2") + END
        await closing
        assert not made.edge.connections


async def test_close_cuts_what_does_not_end() -> None:
    steps, stuck = Steps(), Steps(EVENTS + event("1") + event("2")[:4])
    async with bench(steps) as made, made.client() as client, made.client() as other:
        await begin(client)
        made.edge.route((await made.engine(stuck, OTHER)).upstream)
        await begin(other)
        await made.edge.close(0.05)
        assert b"engine_stopped" in await client.rest()
        assert await other.rest() == event("2")[:4]
        await until(lambda: steps.gone == stuck.gone == 1)
        assert not made.edge.connections


async def test_a_second_close_hurries_the_first() -> None:
    steps = Steps()
    async with bench(steps) as made, made.client() as client:
        await begin(client)
        patient = asyncio.create_task(made.edge.close(100))
        await asyncio.sleep(0.01)
        await made.edge.close(0)
        assert b"engine_stopped" in await client.rest()
        await patient


async def test_a_reason_without_an_engine_is_not_called_draining() -> None:
    async with bench() as made:
        made.edge.reject("the engine crashed too often")
        response = await made.ask(post())
        assert (response.status, response.error["code"]) == (503, "engine_unavailable")
        assert response.error["message"] == "the engine crashed too often"


async def test_close_answers_the_last_request_of_a_kept_connection() -> None:
    steps = Steps(b"")

    async def answered(made: Bench, client: Client) -> None:
        await client.send(post())
        await until(lambda: len(made.engines[0].requests) == 1)
        closing = asyncio.create_task(made.edge.close(20))
        await asyncio.sleep(0.01)
        steps.pieces.put_nowait(OK)
        assert (await client.response()).headers["connection"] == "close"
        assert await client.rest() == b""
        await closing

    async with bench(steps) as made, made.client() as client:
        await answered(made, client)
