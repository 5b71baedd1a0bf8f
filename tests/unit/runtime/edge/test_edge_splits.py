"""However the bytes are cut on their way, the same ones come out on the other side."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.runtime.edge import Access, Edge, Upstream
from modelkit.runtime.edge.client import ClientConnection
from modelkit.runtime.edge.framing import BadResponse, Chunked
from modelkit.runtime.edge.upstream import Link
from tests.unit.runtime.edge.harness import END, EVENTS, JSON, OK, event, get, post


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return "127.0.0.1", 1

    def pause_reading(self) -> None: ...
    resume_reading = pause_reading


class Pair:
    """A client's connection and an engine's, both with wires instead of sockets."""

    def __init__(self) -> None:
        edge = Edge(sockets=[], access=Access())
        edge.route(Upstream("none", "0123456789ab", "dev", "stub"))
        assert edge._routed is not None
        self.client, self.link = ClientConnection(edge), Link(edge._routed)
        self.to_client, self.to_engine = Wire(), Wire()
        self.client.connection_made(cast("asyncio.Transport", self.to_client))
        self.link.connection_made(cast("asyncio.Transport", self.to_engine))
        edge._routed.give_back(self.link)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


def run(test: Callable[[], None]) -> None:
    async def main() -> None:
        test()
    asyncio.run(main())


CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=40)
ID = b"X-Request-Id: fixed"
CHUNKED = (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" + ID + b"\r\n" + JSON
           + b"Transfer-Encoding: chunked\r\n\r\n")
REQUESTS = {
    "length": post(b'{"a": "b"}' * 20, ID), "chunks": CHUNKED + b"5;x=y\r\n{\"a\":\r\n0002\r\n1}\r\n0\r\nT: r\r\n\r\n",
    "no body": get(b"/v1/models", ID), "empty": post(b"", ID),
    "h2c": post(b'{"a": 1}', ID, b"Connection: Upgrade", b"Upgrade: h2c"),
    "h2c chunks": CHUNKED.replace(JSON, JSON + b"Connection: upgrade\r\nUpgrade: h2c\r\n") + b"2\r\n{}\r\n0\r\n\r\n",
}
ANSWERS = {
    "length": OK, "stream": EVENTS + event("one") + event("x" * 3000) + event("two") + END,
    "extended": EVENTS + b"00c ;a=b\r\ndata: hello\n\r\n0\r\nT: r\r\nU: s\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + OK,
    "upper case": EVENTS + b"1E\r\n" + b"y" * 30 + b"\r\n1e\r\n" + b"z" * 30 + b"\r\n" + END,
}


def body_of(request: bytes) -> bytes:
    """What a request says, free of how its chunks were cut."""
    head, _, body = request.partition(b"\r\n\r\n")
    if b"chunked" not in head.lower():
        return head + b"\r\n\r\n" + body
    scanner = Chunked(collect=True)
    assert scanner.scan(body) == len(body) and scanner.complete
    return head + b"\r\n\r\n" + scanner.take()


def converse(request: list[bytes], answer: list[bytes]) -> tuple[bytes, bytes]:
    pair = Pair()
    for piece in request:
        pair.client.data_received(piece)
    for piece in answer:
        pair.link.data_received(piece)
    assert pair.link.exchange is None and not pair.to_client.closed
    return body_of(pair.to_engine.written), pair.to_client.written


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(REQUESTS)), st.sampled_from(sorted(ANSWERS)), CUTS, CUTS)
def test_one_conversation(request: str, answer: str, request_cuts: list[int], answer_cuts: list[int]) -> None:
    asked, answered = REQUESTS[request], ANSWERS[answer]

    def check() -> None:
        whole = converse([asked], [answered])
        assert converse(pieces(asked, request_cuts), pieces(answered, answer_cuts)) == whole
        assert whole[1].endswith(answered.rpartition(b"\r\n\r\n" if answer == "length" else b"chunked\r\n\r\n")[2]
                                 if answer != "interim" else b"{}")
    run(check)


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_byte_by_byte(request_: str, answer: str) -> None:
    asked, answered = REQUESTS[request_], ANSWERS[answer]
    single = [bytes([b]) for b in asked], [bytes([b]) for b in answered]
    run(lambda: _same(converse(*single), converse([asked], [answered])))


def _same(one: Any, other: Any) -> None:
    assert one == other


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([get(b"/nope", ID), get(b"/healthz", ID), post(b"{}", ID), post(b'{"a":1}', ID),
                                 get(b"/v1/models", ID)]), min_size=1, max_size=8), CUTS)
def test_a_pipeline(requests: list[bytes], cuts: list[int]) -> None:
    def answers(data: list[bytes]) -> list[bytes]:
        pair = Pair()
        for piece in data:
            pair.client.data_received(piece)
            while pair.link.exchange is not None and pair.link.exchange.complete:
                pair.link.data_received(OK)
        return re.findall(rb"HTTP/1\.1 (\d+)", pair.to_client.written)

    expected = [b"404" if b"/nope" in request else b"200" for request in requests]
    run(lambda: _same(answers(pieces(b"".join(requests), cuts)), expected))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=5000), max_size=8), CUTS, st.binary(max_size=20))
def test_chunks_are_followed_to_their_end_and_no_further(chunks: list[bytes], cuts: list[int], after: bytes) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    whole = body + END
    scanner, seen, boundaries = Chunked(collect=True), 0, set()
    for piece in pieces(whole, cuts):
        seen += scanner.scan(piece + after if seen + len(piece) == len(whole) else piece)
        if scanner.boundary:
            boundaries.add(seen)
    assert scanner.complete and seen == len(whole) and scanner.take() == b"".join(chunks)
    real = {0, len(whole)}
    for chunk in chunks:
        real.add(max(real - {len(whole)}) + len(b"%x" % len(chunk)) + len(chunk) + 4)
    assert boundaries <= real


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), CUTS)
def test_noise_from_an_engine_is_a_bad_response_or_a_body(noise: bytes, cuts: list[int]) -> None:
    scanner = Chunked()
    try:
        for piece in pieces(noise, cuts):
            if not scanner.complete:
                assert 0 <= scanner.scan(piece) <= len(piece)
    except BadResponse:
        pass


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.sampled_from(sorted(REQUESTS)).map(REQUESTS.__getitem__)),
       st.binary(max_size=20), st.integers(0, 300), CUTS)
def test_noise_from_a_client_never_raises(data: bytes, noise: bytes, place: int, cuts: list[int]) -> None:
    def check() -> None:
        pair = Pair()
        for piece in pieces(data[:place] + noise + data[place:], cuts):
            pair.client.data_received(piece)
            if pair.link.exchange is not None:
                pair.link.data_received(OK)
        pair.client.connection_lost(None)
        assert not any(pair.client.edge.in_flight.values())
    run(check)
