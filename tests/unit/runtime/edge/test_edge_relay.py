"""Bytes both ways: unbuffered, bounded, and each side learns how the other ended."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from modelkit.runtime.edge import EdgeLimits, Upstream
from tests.unit.runtime.edge.harness import (
    END,
    EVENTS,
    OK,
    Bench,
    Call,
    always,
    bench,
    event,
    get,
    post,
    until,
)


async def test_each_chunk_passes_before_the_next_is_made() -> None:
    seen = asyncio.Queue[None]()

    async def one_by_one(call: Call) -> None:
        await call.request()
        await call.say(EVENTS)
        for number in range(3):
            await seen.get()
            await call.say(event(str(number)))
        await seen.get()
        await call.say(END)

    async with bench(one_by_one) as made, made.client() as client:
        await client.send(post())
        assert b"event-stream" in await client.reader.readuntil(b"\r\n\r\n")
        for number in range(3):
            seen.put_nowait(None)
            assert await client.reader.readexactly(len(event("0"))) == event(str(number))
        seen.put_nowait(None)
        assert await client.reader.readexactly(len(END)) == END


async def test_a_request_body_passes_piece_by_piece() -> None:
    got = asyncio.Queue[bytes]()

    async def reads(call: Call) -> None:
        await call.reader.readuntil(b"\r\n\r\n")
        for _ in range(3):
            got.put_nowait(await call.reader.readexactly(4))
        await call.say(OK)

    async with bench(reads) as made, made.client() as client:
        await client.send(post(b"", length=12))
        for piece in (b"aaaa", b"bbbb", b"cccc"):
            await client.send(piece)
            assert await got.get() == piece
        assert (await client.response()).status == 200


@pytest.mark.parametrize("request_", [post(), get(b"/v1/models"), post(b"", length=10)])
@pytest.mark.parametrize("said", [b"", EVENTS + event("1"), OK[:-1]])
async def test_a_client_that_leaves_frees_the_engine_at_once(request_: bytes, said: bytes) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def endless(call: Call) -> None:
        await call.reader.readuntil(b"\r\n\r\n")
        await call.say(said)
        begun.set()
        await call.gone()
        gone.set()

    async with bench(endless) as made:
        async with made.client() as client:
            await client.send(request_)
            await begun.wait()
            if said:
                await client.reader.readuntil(b"\r\n\r\n")
        await gone.wait()
        await until(lambda: not any(made.edge.in_flight.values()))
        line = json.loads(made.log[-1])
        assert line["outcome"] == "client_gone" and line["status"] == (200 if said else 499)


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="only Linux tells")
@pytest.mark.parametrize("request_", [post(b"", length=50_000_000), post() + post(b"", length=200_000)])
async def test_a_client_that_leaves_while_it_is_not_read_frees_the_engine_too(request_: bytes) -> None:
    async def reads_nothing_more(call: Call) -> None:
        await call.reader.readexactly(10)
        call.writer.transport.pause_reading()
        await asyncio.Event().wait()

    limits = EdgeLimits(body_bytes=50_000_000, pool_seconds=0.1)
    async with bench(reads_nothing_more, limits=limits) as made:
        async with made.client() as client:
            client.writer.write(request_)
            while not any(connection.held for connection in made.edge.connections):
                client.writer.write(b"x" * 60_000)
                await asyncio.sleep(0.001)
        await until(lambda: not made.edge.connections)
        assert not any(made.edge.in_flight.values())
        assert json.loads(made.log[-1])["outcome"] == "client_gone"


async def test_a_client_that_leaves_before_there_is_a_connection_leaves_nothing() -> None:
    async with bench() as made:
        full = socket.socket(socket.AF_UNIX)
        path = f"{made.folder}/full.sock"
        full.bind(path)
        full.listen(0)
        fillers = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for filler in fillers:
            filler.setblocking(False)
            try:
                filler.connect(path)
            except BlockingIOError:
                break
        upstream = Upstream(path, "0" * 12, "dev", "stub")
        made.edge.route(upstream)
        async with made.client() as client:
            await client.send(post())
            await until(lambda: made.edge.in_flight[upstream] == 1)
        await until(lambda: made.edge.in_flight[upstream] == 0)
        for opened in (full, *fillers):
            opened.close()


async def test_a_full_accept_queue_is_waited_for() -> None:
    async with bench() as made:
        engine = await made.engine(always(OK))
        engine._server.close()
        narrow = socket.socket(socket.AF_UNIX)
        path = f"{made.folder}/narrow.sock"
        narrow.bind(path)
        narrow.listen(0)
        narrow.setblocking(False)
        made.edge.route(Upstream(path, "0" * 12, "dev", "stub"))
        asking = [asyncio.create_task(made.ask(post())) for _ in range(20)]
        await asyncio.sleep(0.1)  # most of them now find the queue full
        server = await asyncio.start_unix_server(engine._serve, sock=narrow)
        assert {(await answer).status for answer in asking} == {200}
        server.close()


async def test_a_slow_reader_slows_the_engine_and_fills_no_memory() -> None:
    sent = 0
    piece = b"%x\r\n%b\r\n" % (60_000, b"x" * 60_000)

    async def firehose(call: Call) -> None:
        nonlocal sent
        await call.request()
        await call.say(EVENTS)
        for _ in range(1000):
            await call.say(piece)
            sent += len(piece)
        await call.say(END)

    async with bench(firehose) as made, made.client(receive_buffer=65536) as client:
        await client.send(post())
        await client.reader.readuntil(b"\r\n\r\n")
        before = -1
        while sent != before:  # until it stands still
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 20_000_000  # of 60: what the kernel's buffers took
        (connection,) = made.edge.connections
        assert connection.transport.get_write_buffer_size() < 1_000_000
        total = 0
        while total < 1000 * len(piece) + len(END):
            total += len(await client.reader.read(1_000_000))
        assert (await client.ask(get(b"/healthz"))).status == 200


async def test_a_slow_engine_slows_the_sender_and_fills_no_memory() -> None:
    allowed = asyncio.Event()

    async def lazy(call: Call) -> None:
        await allowed.wait()
        await call.request()
        await call.say(OK)

    size = 60_000_000
    async with bench(lazy, limits=EdgeLimits(body_bytes=size)) as made, made.client() as client:
        await client.send(post(b"", length=size))
        sent = 0

        async def upload() -> None:
            nonlocal sent
            while sent < size:
                await client.send(b"x" * 60_000)
                sent += 60_000

        uploading = asyncio.create_task(upload())
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 20_000_000
        (backend,) = made.edge._backends.values()
        (exchange,) = backend.exchanges
        assert exchange.link is not None and exchange.waiting < 1_000_000
        assert exchange.link.transport.get_write_buffer_size() < 1_000_000
        allowed.set()
        await uploading
        assert (await client.response()).status == 200
        assert made.engines[0].requests[0].endswith(b"x" * 1000)


async def test_a_client_that_reads_nothing_for_too_long_is_dropped() -> None:
    async def firehose(call: Call) -> None:
        await call.request()
        await call.say(EVENTS)
        while True:
            await call.say(event("x" * 60_000))

    limits = EdgeLimits(stall_seconds=0.2)
    async with bench(firehose, limits=limits) as made, made.client(receive_buffer=4096) as client:
        await client.send(post())
        await until(lambda: bool(made.log))
        assert json.loads(made.log[0])["outcome"] == "stalled"
        assert not any(made.edge.in_flight.values())


async def test_engine_connections_are_used_again() -> None:
    async with bench(always(OK)) as made:
        for _ in range(5):
            assert (await made.ask(post())).status == 200
        assert made.engines[0].connections == 1


@pytest.mark.parametrize("answer", [
    OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
    b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}",
])
async def test_an_engine_that_closes_is_connected_to_again(answer: bytes) -> None:
    async def once(call: Call) -> None:
        await call.request()
        await call.say(answer)

    async with bench(once) as made:
        for _ in range(3):
            response = await made.ask(post())
            assert (response.status, response.body) == (200, b"{}")
        assert made.engines[0].connections == 3


async def test_a_stale_connection_is_retried_once_on_a_fresh_one() -> None:
    first = True

    async def stale(call: Call) -> None:
        nonlocal first
        await call.request()
        await call.say(OK)
        if first:
            first = False
            await call.request()  # and dies of it
        else:
            await always(OK)(call)

    async with bench(stale) as made, made.client() as client:
        assert (await client.ask(post(b'{"n":1}'))).status == 200
        assert (await client.ask(post(b'{"n":2}'))).status == 200
        assert [request[-7:] for request in made.engines[0].requests] == [b'{"n":1}', b'{"n":2}', b'{"n":2}']
        assert made.engines[0].connections == 2


@pytest.mark.parametrize("partial", [b"", b"HTTP/1.1 200", OK[:-1]])
async def test_a_fresh_connection_that_dies_is_not_retried(partial: bytes) -> None:
    async def dies(call: Call) -> None:
        await call.request()
        await call.say(partial)

    async with bench(dies) as made, made.client() as client:
        await client.send(post())
        if partial == OK[:-1]:
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await client.rest() == b"{"
        else:
            response = await client.response()
            assert (response.status, response.error["code"]) == (502, "engine_stopped")
        assert made.engines[0].connections == 1


async def test_a_body_too_large_to_keep_is_not_retried() -> None:
    async def stale(call: Call) -> None:
        await call.request()
        await call.say(OK)
        await call.request()

    async with bench(stale, limits=EdgeLimits(replay_bytes=100)) as made, made.client() as client:
        assert (await client.ask(post())).status == 200
        assert (await client.ask(post(b"x" * 101))).status == 502
        assert made.engines[0].connections == 1


async def test_no_engine_at_the_socket_is_502() -> None:
    async with bench() as made:
        made.edge.route(Upstream(f"{made.folder}/none.sock", "0" * 12, "dev", "stub"))
        async with made.client() as client:
            response = await client.ask(post())
            assert (response.status, response.error["code"]) == (502, "engine_stopped")
            assert (await client.ask(get(b"/healthz"))).status == 200


async def last_words(made: Bench, request: bytes = post()) -> bytes:
    """What a client gets after the head, up to the answer's end or the close."""
    async with made.client() as client:
        await client.send(request)
        await client.reader.readuntil(b"\r\n\r\n")
        return await client.ending()


def said(error: bytes) -> dict[str, object]:
    assert error.startswith(b"data: ") and error.endswith(b"\n\n")
    return dict(json.loads(error[6:])["error"])


def dying(*pieces: bytes):  # type: ignore[no-untyped-def]
    async def script(call: Call) -> None:
        await call.request()
        await call.say(*pieces)
    return script


@pytest.mark.parametrize("pieces", [
    (event("1"), event("2")), (event("1") + event("2"),), (event("1")[:5], event("1")[5:]), (),
    (event("1")[:-1], b"\n"), (b"b\r\ndata: 1\r\n\r\n\r\n",)])
async def test_an_engine_that_dies_between_events_leaves_a_last_event(pieces: tuple[bytes, ...]) -> None:
    async with bench(dying(EVENTS, *pieces)) as made:
        rest = await last_words(made)
        before = b"".join(pieces)
        assert rest.startswith(before) and rest.endswith(END)
        size, _, error = rest[len(before):-len(END)].partition(b"\r\n")
        assert int(size, 16) == len(error) - 2
        assert said(error[:-2])["code"] == "engine_stopped"
        assert json.loads(made.log[0])["outcome"] == "engine_stopped"


async def test_a_stream_that_was_ended_leaves_its_connection() -> None:
    """The head promised to keep it: a client that sends its next request there must not be met by a reset."""
    async def once(call: Call) -> None:
        await call.request()
        await call.say(EVENTS, event("1"))

    async with bench(once) as made, made.client() as client:
        await client.send(post())
        assert b"connection: close" not in (await client.reader.readuntil(b"\r\n\r\n")).lower()
        assert (await client.ending()).endswith(END)
        made.edge.route((await made.engine(always(OK), "1" * 12)).upstream)
        assert (await client.ask(post())).status == 200


@pytest.mark.parametrize("pieces", [
    (event("1")[:-1],), (event("1")[:-2],), (event("1")[:1],), (event("1")[:2],), (event("1")[:-4],),
    (b"7\r\ndata: h\r\n",), (b"8\r\ndata: h\n\r\n",)])
async def test_inside_of_a_chunk_or_an_event_nothing_is_added(pieces: tuple[bytes, ...]) -> None:
    async with bench(dying(EVENTS, *pieces)) as made:
        assert await last_words(made) == b"".join(pieces)


async def test_a_plain_client_gets_the_last_event_too() -> None:
    async with bench(dying(EVENTS, event("1"))) as made:
        rest = await last_words(made, post().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert rest.startswith(b"data: 1\n\n") and said(rest[9:])["code"] == "engine_stopped"


async def test_a_json_answer_that_breaks_off_gets_nothing_added() -> None:
    async with bench(dying(OK.replace(b"Length: 2", b"Length: 9"))) as made:
        assert await last_words(made) == b"{}"


@pytest.mark.parametrize("answer", [
    b"hello\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", b"HTTP/1.1 101 Switching\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
    EVENTS + b"nonsense\r\n\r\n", EVENTS + b"-1\r\n",
])
async def test_an_answer_that_is_not_http_is_502(answer: bytes) -> None:
    async with bench(dying(answer)) as made:
        response = await made.ask(post())
        assert (response.status, response.error["code"]) == (502, "bad_engine_response")
        assert not any(made.edge.in_flight.values())


@pytest.mark.parametrize(("relayed", "broken", "ends"), [(b"", b"zz\r\n", True), (b"", event("2") + b"zz\r\n", True),
                                                         (b"1", b"zz\r\n", False), (event("2")[:-1], b"x", False)])
async def test_broken_chunks_add_an_event_only_between_chunks(relayed: bytes, broken: bytes, ends: bool) -> None:
    async def script(call: Call) -> None:
        await call.request()
        await call.say(EVENTS, event("1"), relayed)
        await asyncio.sleep(0.05)
        await call.say(broken)

    async with bench(script) as made:
        rest = await last_words(made)
        before = event("1") + relayed
        assert rest.startswith(before)
        assert (b"bad_engine_response" in rest and rest.endswith(END)) if ends else rest == before


async def test_more_than_the_answer_never_reaches_the_client() -> None:
    async with bench(always(OK + OK)) as made, made.client() as client:
        for number in range(3):
            assert (await client.ask(post(b"%d" % number))).body == b"{}"
        assert made.engines[0].connections == 3  # none of them could be trusted again


async def test_an_engine_that_speaks_unasked_is_dropped() -> None:
    async def chatty(call: Call) -> None:
        await call.request()
        await call.say(OK)
        await asyncio.sleep(0.05)
        await call.say(OK)
        await call.gone()

    async with bench(chatty) as made, made.client() as client:
        for _ in range(2):
            assert (await client.ask(post())).body == b"{}"
            await asyncio.sleep(0.1)
        assert made.engines[0].connections == 2


async def test_interim_answers_are_kept_from_the_client() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with bench(always(interim, OK)) as made, made.client() as client:
        for _ in range(2):
            assert (await client.ask(post())).body == b"{}"
        assert made.engines[0].connections == 1


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body(status: int) -> None:
    answer = b"HTTP/1.1 %d Nothing\r\nContent-Length: 5\r\n\r\n" % status
    async with bench(always(answer)) as made, made.client() as client:
        for _ in range(2):
            assert (await client.ask(post())).status == status


async def test_an_answer_before_the_whole_request_ends_the_connection() -> None:
    async def early(call: Call) -> None:
        await call.reader.readuntil(b"\r\n\r\n")
        await call.say(OK.replace(b"200", b"400"))
        await call.gone()

    async with bench(early) as made, made.client() as client:
        await client.send(post(b"x", length=1000))
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (400, "close")
        assert await client.rest() == b""


async def test_an_error_of_the_engine_passes_as_it_is() -> None:
    body = b'{"error": {"message": "no", "type": "x", "param": "messages", "code": "context_length_exceeded"}}'
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    async with bench(always(answer)) as made:
        response = await made.ask(post())
        assert (response.status, response.body) == (400, body)


async def test_many_at_once() -> None:
    async def own(call: Call) -> None:
        while True:
            body = (await call.request()).partition(b"\r\n\r\n")[2]
            await asyncio.sleep(0)
            await call.say(EVENTS, event(body.decode()), END)

    async with bench(own) as made:
        async def several(name: int) -> None:
            async with made.client() as client:
                for number in range(10):
                    text = f"{name}-{number}"
                    assert (await client.ask(post(text.encode()))).body == f"data: {text}\n\n".encode()

        await asyncio.gather(*(several(name) for name in range(50)))
        assert made.engines[0].connections <= 50
        assert not any(made.edge.in_flight.values())
