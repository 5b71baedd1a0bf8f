"""A head that is known again saves work, and never a check."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.runtime.edge import Access, EdgeLimits, key_hash
from modelkit.runtime.edge.repeat import Repeat
from modelkit.runtime.edge.request import Request
from tests.unit.runtime.edge.harness import OK, always, bench, get, post

KEY = b"Authorization: Bearer key"
ACCESS = Access((key_hash("key"),))
FIRST = post(b'{"n": 1}', KEY)


def known(data: bytes = FIRST, **changes: object) -> Repeat | None:
    head, _, _ = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    method, path, _ = first.split(b" ")
    return Repeat.of(data, Request(method, path, "1.1", headers, bool(changes.get("keep_alive", True))), ACCESS, 1000)


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 999, b"x" * 1000, b"\r\n\r\nPOST / HTTP/1.1\r\n\r\n"])
def test_another_length_is_the_same_head(body: bytes) -> None:
    repeat = known()
    assert repeat is not None and repeat.length_of(post(body, KEY), ACCESS) == len(body)


NOT_THE_SAME = {
    "another key": post(b"{}", b"Authorization: Bearer kez"),
    "another path": post(b"{}", KEY, path=b"/v1/completions"),
    "one more header": post(b"{}", KEY, b"X: y"),
    "another length after it": post(b"{}", KEY, b"Content-Length: 3"),
    "chunks": post(b"{}", KEY, b"Transfer-Encoding: chunked"),
    "too large": post(b"x" * 1001, KEY),
    "a body that is not all here": post(b"{", KEY, length=2),
    "more than the body": post(b"{}", KEY) + b"G",
    "a request behind it": post(b"{}", KEY) + post(b"{}", KEY),
    "half a head": post(b"{}", KEY)[:-6],
    "a sign": post(b"{}", KEY).replace(b": 2\r", b": +2\r"),
    "a blank": post(b"{}", KEY).replace(b": 2\r", b": 2 \r"),
    "no digits": post(b"{}", KEY).replace(b": 2\r", b": \r"),
    "an underscore": post(b"x" * 12, KEY).replace(b": 12\r", b": 1_2\r"),
    "another script's digit": post(b"{}", KEY).replace(b": 2\r", ": ٢\r".encode()),
    "many zeros": post(b"{}", KEY).replace(b": 2\r", b": 0000000002\r"),
    "a list": post(b"{}", KEY).replace(b": 2\r", b": 2,2\r"),
    "nothing": b"",
}


@pytest.mark.parametrize("name", NOT_THE_SAME)
def test_anything_else_is_not(name: str) -> None:
    repeat = known()
    assert repeat is not None and repeat.length_of(NOT_THE_SAME[name], ACCESS) is None


def test_with_other_keys_nothing_is_known() -> None:
    repeat = known()
    assert repeat is not None and repeat.length_of(FIRST, Access((key_hash("key"),))) is None


@pytest.mark.parametrize("data", [
    get(b"/v1/models", KEY), post(b"{}", KEY, b"Expect: 100-continue"),
    post(b"{}", KEY, b"Upgrade: h2c", b"Connection: upgrade"),
    post(b"{}", KEY) + b"x", post(b"{", KEY, length=2),
    post(b"{}", KEY).replace(b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n"),
    post(b"", KEY).replace(b"Content-Length: 0\r\n", b""),
])
def test_what_is_never_known_again(data: bytes) -> None:
    assert known(data) is None and known(FIRST, keep_alive=False) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, len(FIRST)), st.integers(0, 60))
def test_only_digits_and_the_body_may_differ(noise: bytes, place: int, removed: int) -> None:
    repeat = known()
    assert repeat is not None
    data = FIRST[:place] + noise + FIRST[place + removed:]
    length = repeat.length_of(data, ACCESS)
    if length is not None:
        head, _, body = data.partition(b"\r\n\r\n")
        start = FIRST.index(b"Content-Length: ") + 16
        end = head.index(b"\r", start)
        assert head[:start] == FIRST[:start] and head[end:] == FIRST.partition(b"\r\n\r\n")[0][start + 1:]
        assert head[start:end].isdigit() and len(body) == int(head[start:end]) == length


async def test_the_engine_sees_the_same_whether_a_head_was_known_or_not() -> None:
    bodies = [b'{"n": %d}' % 10 ** n for n in range(6)]
    async with bench(always(OK), access=ACCESS) as made:
        for body in bodies:
            assert (await made.ask(post(body, KEY))).status == 200
        async with made.client() as client:
            ids = set()
            for body in bodies:
                response = await client.ask(post(body, KEY))
                assert response.status == 200
                ids.add(response.headers["x-request-id"])
            assert len(ids) == len(bodies)
        apart = [[line for line in request.split(b"\r\n") if not line.startswith(b"X-Request-Id")]
                 for request in made.engines[0].requests]
        assert apart[:6] == apart[6:]


async def test_limits_keys_and_routes_hold_for_a_known_head() -> None:
    async with bench(always(OK), access=ACCESS, limits=EdgeLimits(body_bytes=100)) as made, made.client() as client:
        for _ in range(3):
            assert (await client.ask(post(b"{}", KEY))).status == 200
        made.edge.reject("going")
        assert (await client.ask(post(b"{}", KEY))).status == 503
        made.edge.reject(None)
        assert (await client.ask(post(b"{}", KEY))).status == 200
        made.edge.access = Access((key_hash("next"),))
        assert (await client.ask(post(b"{}", KEY))).status == 401
        made.edge.access = ACCESS
        async with made.client() as other:
            assert (await other.ask(post(b"{}", KEY))).status == 200
            assert (await other.ask(post(b"x" * 101, KEY))).status == 413


async def test_a_client_whose_heads_all_differ_is_served_too() -> None:
    async with bench(always(OK), access=ACCESS) as made, made.client() as client:
        for number in range(10):
            response = await client.ask(post(b"{}", KEY, b"X-Request-Id: %d" % number))
            assert (response.status, response.headers["x-request-id"]) == (200, str(number))
