"""Keys, Host names, and taking an address."""

from __future__ import annotations

import os
import socket

import pytest

from modelkit.failure import Failure
from modelkit.runtime.edge import Access, allowed_hosts, bind, key_hash
from modelkit.runtime.edge.access import is_loopback
from tests.unit.runtime.edge.harness import OK, always, bench, get, post

KEYED = Access((key_hash("first-key"), key_hash("second-key")))


@pytest.mark.parametrize("header", [
    b"Authorization: Bearer first-key", b"Authorization: Bearer second-key", b"authorization: bearer second-key",
    b"X-API-Key: first-key", b"x-api-key:second-key", b"Authorization: Bearer  first-key ",
])
async def test_any_accepted_key_in_either_header_passes_and_goes_no_further(header: bytes) -> None:
    async with bench(always(OK), access=KEYED) as made:
        assert (await made.ask(post(b"{}", header))).status == 200
        assert b"-key" not in made.engines[0].requests[0].lower()
        assert "-key" not in "".join(made.log)


@pytest.mark.parametrize("header", [
    b"Accept: */*", b"Authorization: Bearer wrong", b"Authorization: Bearer", b"Authorization: Bearer ",
    b"Authorization: Basic first-key", b"Authorization: first-key", b"x-api-key: Bearer first-key",
    b"x-api-key: FIRST-KEY", b"Authorization: Bearer \xff\xfe\xe4", b"x-api-key: \xf0\x9f\x94\x91",
    b"Authorization: Bearer first-key,second-key", b"Authorization:",
])
@pytest.mark.parametrize("request_line", [b"POST /v1/chat/completions", b"GET /v1/models", b"GET /metrics",
                                          b"GET /nope", b"OPTIONS /v1/models"])
async def test_without_a_key_nothing_passes(header: bytes, request_line: bytes) -> None:
    async with bench(always(OK), access=KEYED) as made, made.client() as client:
        await client.send(request_line + b" HTTP/1.1\r\nHost: localhost\r\n" + header
                          + b"\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
        response = await client.response()
        assert (response.status, response.error["code"]) == (401, "invalid_api_key")
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["connection"] == "close"
        assert await client.rest() == b""
        assert made.engines[0].connections == 0


async def test_two_authorization_headers_are_refused() -> None:
    async with bench(always(OK), access=KEYED) as made:
        request = get(b"/v1/models", b"Authorization: Bearer wrong", b"Authorization: Bearer first-key")
        assert (await made.ask(request)).status == 400


async def test_health_needs_no_key() -> None:
    async with bench(always(OK), access=KEYED) as made:
        assert (await made.ask(get(b"/healthz"))).status == 200
        assert (await made.ask(get(b"/readyz"))).status == 200


def test_every_known_key_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr("modelkit.runtime.edge.access.compare_digest", lambda a, b: compared.append(b) or a == b)
    access = Access(tuple(key_hash(name) for name in "abc"))
    assert access.knows_key([b"a"]) and not access.knows_key([b"z"])
    assert compared == [*access.key_hashes, *access.key_hashes]


@pytest.mark.parametrize("host", [b"localhost", b"localhost:1", b"LOCALHOST:65535", b"127.0.0.1:80", b"[::1]",
                                  b"[::1]:9", b"Box.lan:8080", b"localhost:"])
def test_our_own_names(host: bytes) -> None:
    assert Access(hosts=allowed_hosts("127.0.0.1", ["box.LAN"])).allows_host(host)


@pytest.mark.parametrize("host", [b"", b"evil.example", b"evil.example:80", b"localhost.evil.example", b":80",
                                  b"localhost:80:80", b"localhost:x", b"::1", b"[::1", b"[localhost]", b"127.0.0.1.",
                                  b"127.1", b"2130706433", b"localhost/", b"local\xffhost", b"169.254.169.254",
                                  b"localhost@evil"])
async def test_other_names_are_421(host: bytes) -> None:
    async with bench(always(OK)) as made:
        response = await made.ask(get(b"/healthz", host=host))
        assert (response.status, response.error["code"]) == (421, "misdirected_request")


def test_made_up_hosts_fill_no_memory() -> None:
    access = Access()
    for number in range(5000):
        assert not access.allows_host(b"h%d" % number)
    assert len(access._judged) <= 256 and access.allows_host(b"localhost")


def test_bound_to_everything_our_addresses_are_our_names() -> None:
    hosts = allowed_hosts("0.0.0.0")
    assert socket.gethostname().lower() in hosts and "127.0.0.1" in hosts and "evil.example" not in hosts


@pytest.mark.parametrize(("host", "loopback"), [
    ("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("0.0.0.0", False), ("::", False),
    ("", False), ("10.0.0.1", False), ("example.org", False)])
def test_what_others_can_reach_needs_a_key(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    if not loopback:
        with pytest.raises(Failure) as caught:
            bind(host, 0)
        assert caught.value.code == "key-required" and "MODELKIT_API_KEY" in str(caught.value.hint)


def test_a_key_opens_every_interface() -> None:
    (opened,) = bind("0.0.0.0", 0, keyed=True)
    with opened:
        assert opened.getsockname()[1] > 0


def test_localhost_is_both_families_on_one_port() -> None:
    sockets = bind("localhost", 0)
    try:
        assert {opened.getsockname()[0] for opened in sockets} >= {"127.0.0.1"}
        assert len({opened.getsockname()[1] for opened in sockets}) == 1
        assert not any(opened.get_inheritable() for opened in sockets)
    finally:
        for opened in sockets:
            opened.close()


def test_a_busy_port_names_its_holder() -> None:
    (held,) = bind("127.0.0.1", 0)
    port = held.getsockname()[1]
    with held, pytest.raises(Failure) as caught:
        bind("127.0.0.1", port)
    failure = caught.value
    assert failure.code == "port-busy" and failure.data["pid"] == os.getpid()
    assert str(port) in failure.message and str(os.getpid()) in failure.message
    assert "--port" in str(failure.hint)


def test_a_port_that_is_busy_in_one_family_is_busy_for_localhost() -> None:
    try:
        (held,) = bind("::1", 0)
    except Failure:
        return  # no IPv6 here: there is only one family
    with held, pytest.raises(Failure) as caught:
        bind("localhost", held.getsockname()[1])
    assert caught.value.code == "port-busy"


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 65536), ("127.0.0.1", -1), ("192.0.2.7", 0),
                                            ("no such name", 0), ("a" * 300, 0)])
def test_a_bad_address_is_a_failure(host: str, port: int) -> None:
    with pytest.raises(Failure) as caught:
        bind(host, port, keyed=True)
    assert caught.value.code == "bad-address"
