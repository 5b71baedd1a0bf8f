"""HTTP as clients speak it, badly or with intent."""

from __future__ import annotations

import asyncio

import pytest

from modelkit.runtime.edge import EdgeLimits
from tests.unit.runtime.edge.harness import END, EVENTS, JSON, OK, Call, always, bench, event, get, post, until

POST = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" + JSON
HIDDEN = b"GET /v1/models/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"

AMBIGUOUS = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + HIDDEN,
    "the same length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "an empty length": POST + b"Content-Length: \r\n\r\n",
    "an overflowing length": POST + b"Content-Length: 18446744073709551617\r\n\r\n{}",
    "a blank in the length": POST + b"Content-Length: 1 2\r\n\r\n{}",
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
    "gzip first": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then not": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "a blank in a name": POST + b"X Y: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a folded line": POST + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a header without a name": POST + b": x\r\nContent-Length: 2\r\n\r\n{}",
    "a bare LF": POST.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}",
    "a bare LF in a header": POST + b"X: y\nContent-Length: 2\r\n\r\n{}",
    "a bare CR in a header": POST + b"X: y\rContent-Length: 2\r\n\r\n{}",
    "a NUL": POST + b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "no Host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
    "two content types": POST + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    "a GET with a body": b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    "a GET with chunks": b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no such version": b"GET /v1/models HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "no such method": b"BREW /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a blank in the target": b"GET /v1/models x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303"),
    "noise": b"\xff\xfe\0\0hello\r\n\r\n",
    "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN,
    "a web socket": get(b"/v1/models", b"Connection: Upgrade", b"Upgrade: websocket") + HIDDEN,
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_what_can_be_read_two_ways_is_refused_and_nothing_after_it_is_read(name: str) -> None:
    async with bench(always(OK)) as made, made.client() as client:
        await client.send(AMBIGUOUS[name] + HIDDEN)
        response = await client.response()
        assert response.status == 400 and response.headers["connection"] == "close"
        assert response.error["type"] == "invalid_request_error" and isinstance(response.error["code"], str)
        assert await client.rest() == b""
        assert made.engines[0].connections == 0


BROKEN_CHUNKS = {"no size": b"zz\r\n", "hexadecimal mark": b"0x2\r\n{}\r\n", "too long": b"2\r\n{}}\r\n",
                 "bare LF": b"2\n{}\n", "overflow": b"FFFFFFFFFFFFFFFFF\r\n", "negative": b"-2\r\n{}\r\n",
                 "no end": b"2\r\n{}0\r\n\r\n"}


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
async def test_broken_chunks_end_the_request_on_both_sides(name: str) -> None:
    async with bench(always(OK)) as made, made.client() as client:
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", BROKEN_CHUNKS[name])
        assert (await client.response()).status == 400
        assert await client.rest() == b""
        assert made.engines[0].requests == []  # it may have seen the beginning, never an end


async def test_chunks_are_framed_anew_without_extensions_and_trailers() -> None:
    async with bench(always(OK)) as made, made.client() as client:
        await client.send(POST + b'Transfer-Encoding: chunked\r\n\r\n3;x="y"\r\n{"a\r\n00A\r\n":1,"bbb":\r\n')
        await client.send(b"2\r\n2}\r\n0\r\nX-Trailer: 1\r\nHost: evil\r\n\r\n" + get(b"/healthz"))
        assert [(await client.response()).status for _ in "12"] == [200, 200]
        (seen,) = made.engines[0].requests
        assert seen.endswith(b"0\r\n\r\n") and b"railer" not in seen and b";x" not in seen
        assert b"Transfer-Encoding: chunked\r\n" in seen and b"Content-Length" not in seen


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with bench(always(OK)) as made, made.client() as client:
        await client.send(get(b"/healthz") + post(b"{}", b"X-Request-Id: one") + get(b"/nope")
                          + get(b"/v1/models", method=b"HEAD") + post(b"{}", b"X-Request-Id: two")
                          + get(b"/readyz", b"Connection: close") + HIDDEN)
        answers = [await client.response(method) for method in (b"GET", b"POST", b"GET", b"HEAD", b"POST", b"GET")]
        assert [answer.status for answer in answers] == [200, 200, 404, 200, 200, 200]
        assert [answers[1].headers["x-request-id"], answers[4].headers["x-request-id"]] == ["one", "two"]
        assert await client.rest() == b""
        assert len(made.engines[0].requests) == 3


async def test_too_many_pipelined_requests_are_refused_after_the_ones_before() -> None:
    limits = EdgeLimits(pipelined=3)
    async with bench(always(OK), limits=limits) as made, made.client() as client:
        await client.send(post() * 50)
        statuses = [(await client.response()).status for _ in range(5)]
        assert statuses == [200] * 4 + [400]
        assert await client.rest() == b""


async def test_a_malformed_request_waits_its_turn() -> None:
    async with bench(always(OK)) as made, made.client() as client:
        await client.send(post() + b"nonsense\r\n\r\n")
        assert [(await client.response()).status for _ in "12"] == [200, 400]
        assert await client.rest() == b""
        assert len(made.engines[0].requests) == 1


@pytest.mark.parametrize("request_", [get(b"/v1/models", b"Connection: close"), get(b"/healthz", b"Connection: Close"),
                                      get(b"/v1/models", version=b"1.0"), get(b"/nope", version=b"1.0"),
                                      get(b"/v1/models", b"Connection: keep-alive", version=b"1.0"),
                                      b"GET /healthz HTTP/1.0\r\n\r\n"])
async def test_a_client_that_wants_the_connection_closed_gets_it(request_: bytes) -> None:
    async with bench(always(OK)) as made, made.client() as client:
        response = await client.ask(request_)
        assert response.headers["connection"] == "close" and response.body
        assert await client.rest() == b""


async def test_an_old_client_gets_a_stream_without_chunks() -> None:
    async with bench(always(EVENTS, event("1"), event("2"), END)) as made, made.client() as client:
        response = await client.ask(post().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert "transfer-encoding" not in response.headers
        assert response.body == b"data: 1\n\ndata: 2\n\n"


async def test_a_kept_connection_serves_many_requests() -> None:
    async with bench(always(OK)) as made, made.client() as client:
        for number in range(20):
            assert (await client.ask(post(b"%d" % number))).status == 200
            assert (await client.ask(get(b"/nope"))).status == 404
        assert made.engines[0].connections == 1


async def test_the_body_is_awaited_only_after_it_was_allowed() -> None:
    async with bench(always(OK)) as made, made.client() as client:
        await client.send(post(b"", b"Expect: 100-continue", length=2))
        assert (await client.response()).status == 100
        await client.send(b"{}")
        assert (await client.response()).status == 200
        assert b"xpect" not in made.engines[0].requests[0]


@pytest.mark.parametrize(("headers", "status"), [([b"Expect: 100-continue", b"Content-Length: 999999999"], 413),
                                                 ([b"Expect: a miracle", b"Content-Length: 2"], 417)])
async def test_what_will_be_refused_is_not_asked_for(headers: list[bytes], status: int) -> None:
    async with bench(always(OK)) as made, made.client() as client:
        await client.send(POST + b"\r\n".join(headers) + b"\r\n\r\n")
        assert (await client.response()).status == status
        assert await client.rest() == b""


@pytest.mark.parametrize("body", [b'Content-Length: 8\r\n\r\n{"a": 1}',
                                  b'Transfer-Encoding: chunked\r\n\r\n8\r\n{"a": 1}\r\n0\r\n\r\n'])
async def test_an_offer_of_http2_is_let_pass(body: bytes) -> None:
    # What Java's own client sends with each request to a plain-text server that it does not know.
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAA\r\n"
    async with bench(always(OK)) as made, made.client() as client:
        for cut in (len(POST), len(POST + upgrade + body) - 5, len(POST + upgrade + body)):
            whole = POST + upgrade + body
            await client.send(whole[:cut])
            await asyncio.sleep(0.01)
            await client.send(whole[cut:] + get(b"/v1/models", b"Connection: Upgrade", b"Upgrade: h2c"))
            assert [(await client.response()).status for _ in "12"] == [200, 200]
        seen = made.engines[0].requests[0]
        assert b'{"a": 1}' in seen and b"pgrade" not in seen and b"ettings" not in seen


async def test_other_offers_are_refused_without_their_body() -> None:
    async with bench(always(OK)) as made, made.client() as client:
        await client.send(POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\n{}")
        response = await client.response()
        assert (response.status, response.error["code"]) == (400, "upgrade_refused")
        assert await client.rest() == b""


async def test_a_body_that_is_announced_too_large_is_refused_at_once() -> None:
    async with bench(always(OK), limits=EdgeLimits(body_bytes=1000)) as made, made.client() as client:
        assert (await client.ask(post(b"x" * 1000))).status == 200
        await client.send(post(b"x", length=1001))
        response = await client.response()
        assert (response.status, response.error["code"]) == (413, "request_too_large")
        assert await client.rest() == b""
        assert len(made.engines[0].requests) == 1


async def test_a_body_that_grows_too_large_is_refused_on_the_way() -> None:
    async with bench(always(OK), limits=EdgeLimits(body_bytes=1000)) as made, made.client() as client:
        half = b"1f4\r\n%b\r\n" % (b"x" * 500)
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n", half, half, b"1\r\nx\r\n")
        response = await client.response()
        assert (response.status, response.error["code"]) == (413, "request_too_large")
        assert await client.rest() == b""
        assert made.engines[0].requests == []


async def test_a_refusal_can_be_read_while_the_body_is_still_being_sent() -> None:
    async with bench(always(OK), limits=EdgeLimits(linger_seconds=5)) as made, made.client() as client:
        await client.send(post(b"", length=50_000_000))
        for _ in range(40):
            await client.send(b"x" * 65536)
        assert (await client.response()).status == 413


@pytest.mark.parametrize("head", [
    b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5000 + b"\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 21 + b"\r\n",
    b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5000,  # never ends
    b"GET /v1/models HTTP/1.1\r\n" + b"x" * 5000, b"GET /" + b"x" * 5000, b"\r\n" * 2500,
])
@pytest.mark.parametrize("step", [100_000, 700])
async def test_a_head_that_is_too_large_is_refused(head: bytes, step: int) -> None:
    async with bench(always(OK), limits=EdgeLimits(head_bytes=4096, headers=20)) as made, made.client() as client:
        for start in range(0, len(head), step):
            client.writer.write(head[start:start + step])
            await asyncio.sleep(0.002)
        response = await client.response()
        assert (response.status, response.error["code"]) == (431, "headers_too_large")
        assert await client.rest() == b""


async def test_a_body_is_not_counted_as_head() -> None:
    async with bench(always(OK), limits=EdgeLimits(head_bytes=4096)) as made:
        assert (await made.ask(post(b"x" * 100_000))).status == 200


async def test_framing_without_a_body_does_not_go_on_for_ever() -> None:
    async with bench(always(OK)) as made, made.client() as client:
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
        for _ in range(20):
            client.writer.write(b"X-Trailer: " + b"x" * 8000 + b"\r\n")
            await asyncio.sleep(0.001)
        assert (await client.response()).status == 400


async def test_slow_headers_time_out() -> None:
    async with bench(always(OK), limits=EdgeLimits(head_seconds=0.1)) as made, made.client() as client:
        await client.send(b"GET /v1/models HTTP/1.1\r\nHost:")
        response = await client.response()
        assert (response.status, response.error["code"]) == (408, "request_timeout")
        assert await client.rest() == b""


async def test_a_trickle_of_headers_does_not_keep_a_connection() -> None:
    async with bench(always(OK), limits=EdgeLimits(head_seconds=0.2)) as made, made.client() as client:
        async def trickle() -> None:
            await client.send(b"GET /v1/models HTTP/1.1\r\nX: ")
            while True:
                await client.send(b"x")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert (await client.response()).status == 408
        trickling.cancel()


async def test_a_connection_without_a_request_is_closed() -> None:
    limits = EdgeLimits(head_seconds=0.1, idle_seconds=0.1)
    async with bench(always(OK), limits=limits) as made, made.client() as silent, made.client() as once:
        assert (await once.ask(get(b"/healthz"))).status == 200
        assert await silent.rest() == b"" and await once.rest() == b""


async def test_a_body_that_stops_coming_times_out_and_frees_the_engine() -> None:
    async with bench(always(OK), limits=EdgeLimits(body_seconds=0.1)) as made, made.client() as client:
        await client.send(post(b"{", length=10))
        assert (await client.response()).status == 408
        assert await client.rest() == b""
        assert not any(made.edge.in_flight.values())


async def test_thinking_is_not_idling() -> None:
    async def slow(call: Call) -> None:
        await call.request()
        await asyncio.sleep(0.5)
        await call.say(OK)

    limits = EdgeLimits(head_seconds=0.05, idle_seconds=0.05, body_seconds=0.05, stall_seconds=0.05)
    async with bench(slow, limits=limits) as made:
        assert (await made.ask(post())).status == 200


async def test_connections_beyond_the_limit_are_told_to_come_back() -> None:
    limits = EdgeLimits(connections=2)
    async with bench(always(OK), limits=limits) as made, made.client() as first, made.client() as second:
        for client in (first, second):
            assert (await client.ask(get(b"/healthz"))).status == 200
        async with made.client() as third:
            response = await third.response()
            assert response.status == 503 and "retry-after" in response.headers
            assert await third.rest() == b""
        assert (await first.ask(get(b"/healthz"))).status == 200


async def test_a_client_that_does_not_read_its_last_answer_is_dropped_too() -> None:
    # Less than a transport's high-water mark stays unsent: no pause, and a close that waits.
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n"

    async def large(call: Call) -> None:
        await call.request()
        await call.say(answer, b"x" * 30_000_000)
        await call.gone()

    limits = EdgeLimits(stall_seconds=0.3, idle_seconds=0.1)
    async with bench(large, limits=limits) as made, made.client(receive_buffer=4096) as client:
        await client.send(post(b"{}", b"Connection: close"))
        await client.reader.readuntil(b"\r\n\r\n")
        await until(lambda: not made.edge.connections)


async def test_a_pipelined_request_does_not_hide_that_nothing_is_read() -> None:
    async def firehose(call: Call) -> None:
        await call.request()
        await call.say(EVENTS)
        while True:
            await call.say(event("x" * 60_000))

    limits = EdgeLimits(stall_seconds=0.3)
    async with bench(firehose, limits=limits) as made, made.client(receive_buffer=4096) as client:
        await client.send(post())
        await until(lambda: any(connection.blocked for connection in made.edge.connections))
        await client.send(post())
        await until(lambda: not made.edge.connections)
