"""What exists, what is refused, and in which words."""

from __future__ import annotations

import pytest

from tests.unit.runtime.edge.harness import JSON, OK, VERSION, always, bench, get, post


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/completions"])
async def test_posts_pass(path: bytes) -> None:
    async with bench(always(OK)) as made:
        response = await made.ask(post(b'{"a":1}', path=path))
        assert (response.status, response.body) == (200, b"{}")
        assert made.engines[0].requests[0].startswith(b"POST %b HTTP/1.1\r\n" % path)
        assert made.engines[0].requests[0].endswith(b'\r\n\r\n{"a":1}')


@pytest.mark.parametrize("path", [b"/v1/models", b"/v1/models/tiny", b"/v1/models/tiny:latest", b"/v1/models/a@b+c",
                                  b"/v1/models/org%2Fname", b"/v1/models/name%3atag", b"/v1/models/a/b.c-d_e~1"])
async def test_models_pass(path: bytes) -> None:
    async with bench(always(OK)) as made:
        assert (await made.ask(get(path))).status == 200
        assert made.engines[0].requests[0].startswith(b"GET %b HTTP/1.1\r\n" % path)


async def test_a_query_is_not_for_the_engine() -> None:
    async with bench(always(OK)) as made:
        assert (await made.ask(get(b"/v1/models?after=x&api_key=secret"))).status == 200
        assert made.engines[0].requests[0].startswith(b"GET /v1/models HTTP/1.1\r\n")
        assert "secret" not in "".join(made.log)


@pytest.mark.parametrize("path", [
    b"/", b"/v1", b"/v1/", b"//v1/models", b"/v1//models", b"/v1/models/", b"/V1/models", b"/v1/Models",
    b"/v1/x/../models", b"/v1/./models", b"/v1/%6dodels", b"/v1/models%2f", b"/v1/models/..", b"/v1/models/.",
    b"/v1/models/a/../b", b"/v1/models/%2e%2e/pause", b"/v1/models/..%2Fpause", b"/v1/models/a//b", b"/v1/models/a/",
    b"/v1/models/a%00", b"/v1/models/a%5Cb", b"/v1/models/a;b", b"/v1/models/a%252Fb", b"/v1/chat/completions/",
    b"/v1/chat/completions%20", b"/v1/chat/completions;x", b"/v1/completions/render", b"/healthz/", b"/health",
    b"/livez", b"/metrics/x", b"/invocations", b"/pause", b"/sleep", b"/wake_up", b"/collective_rpc",
    b"/update_weights", b"/tokenize", b"/detokenize", b"/slots", b"/props", b"/lora-adapters",
    b"/v1/load_lora_adapter", b"/apply-template", b"/infill", b"/embedding", b"/rerank", b"/v1/score", b"/v1/audio",
    b"/api/chat", b"/docs", b"/openapi.json", b"/version", b"/server_info", b"http://localhost/v1/models",
    b"http://evil/v1/models", b"*", b"/v1/models#x", b"/v1/models%3f",
])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_everything_else_does_not_exist(path: bytes, method: bytes) -> None:
    async with bench(always(OK)) as made:
        head = b"%b %b HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: 0\r\n\r\n" % (method, path, JSON)
        response = await made.ask(head)
        assert (response.status, response.error["code"]) == (404, "not_found")
        assert "POST /v1/chat/completions" in response.error["message"]
        assert made.engines[0].connections == 0


@pytest.mark.parametrize(("method", "path", "allow"), [
    (b"GET", b"/v1/chat/completions", "POST"), (b"HEAD", b"/v1/completions", "POST"),
    (b"PUT", b"/v1/completions", "POST"), (b"OPTIONS", b"/v1/chat/completions", "POST"),
    (b"OPTIONS", b"/v1/models", "GET, HEAD"),
    (b"DELETE", b"/v1/models/tiny", "GET, HEAD"), (b"POST", b"/healthz", "GET, HEAD"),
    (b"POST", b"/metrics", "GET, HEAD"), (b"PATCH", b"/v1/models", "GET, HEAD"), (b"TRACE", b"/v1/models", "GET, HEAD"),
])
async def test_a_wrong_method_is_told_the_right_ones(method: bytes, path: bytes, allow: str) -> None:
    async with bench(always(OK)) as made:
        response = await made.ask(get(path, b"Origin: https://evil.example", b"Access-Control-Request-Method: POST",
                                      method=method))
        assert (response.status, response.headers["allow"]) == (405, allow)
        if method != b"HEAD":
            assert response.error["code"] == "method_not_allowed"
        assert not any(name.startswith("access-control") for name in response.names)
        assert made.engines[0].connections == 0


async def test_head_is_get_without_a_body() -> None:
    async with bench(always(OK)) as made, made.client() as client:
        for path, length in ((b"/v1/models", 2), (b"/healthz", 16)):
            response = await client.ask(get(path, method=b"HEAD"))
            assert (response.status, int(response.headers["content-length"])) == (200, length)
        assert (await client.ask(get(b"/nope", method=b"HEAD"))).status == 404
        assert (await client.ask(get(b"/v1/models"))).body == b"{}"  # the connection is still in step
        assert made.engines[0].requests[0].startswith(b"GET ")


async def test_no_cors_even_if_the_engine_offers_it() -> None:
    cors = b"\r\nAccess-Control-Allow-Origin: *\r\naccess-control-allow-credentials: true\r\n\r\n"
    answer = OK.replace(b"\r\n\r\n", cors)
    async with bench(always(answer)) as made:
        response = await made.ask(post(b"{}", b"Origin: https://evil.example"))
        assert response.status == 200
        assert not any(name.startswith("access-control") for name in response.names)
        assert b"evil" not in made.engines[0].requests[0]


@pytest.mark.parametrize("kind", [b"", b"Content-Type: text/plain\r\n", b"Content-Type: \r\n",
                                  b"Content-Type: application/x-www-form-urlencoded\r\n",
                                  b"Content-Type: multipart/form-data; boundary=application/json\r\n",
                                  b"Content-Type: application/jsonx\r\n",
                                  b"Content-Type: text/plain;application/json\r\n"])
async def test_a_body_that_is_not_json_is_415(kind: bytes) -> None:
    async with bench(always(OK)) as made:
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: 2\r\n\r\n" % kind
        response = await made.ask(head + b"{}")
        assert (response.status, response.error["code"]) == (415, "unsupported_media_type")
        assert made.engines[0].connections == 0


@pytest.mark.parametrize("kind", [b"application/json; charset=utf-8", b"Application/JSON", b"application/json;x"])
async def test_json_by_any_spelling_passes(kind: bytes) -> None:
    async with bench(always(OK)) as made:
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\nContent-Length: 2\r\n\r\n"
        assert (await made.ask(head % kind + b"{}")).status == 200
        assert made.engines[0].requests[0].count(b"Content-Type: " + kind) == 1


async def test_without_an_engine_requests_are_asked_to_come_back() -> None:
    async with bench() as made:
        for request in (post(), get(b"/v1/models"), get(b"/readyz")):
            response = await made.ask(request)
            assert (response.status, response.error["code"]) == (503, "engine_unavailable")
            assert response.error["type"] == "server_error" and int(response.headers["retry-after"]) > 0
        assert (await made.ask(get(b"/healthz"))).status == 200
        assert (await made.ask(get(b"/metrics"))).status == 200


async def test_answers_say_who_made_them() -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nX-Modelkit-Version: lie\r\nX-Request-Id: lie\r\n\r\n")
    async with bench(always(answer)) as made:
        response = await made.ask(post(b"{}", b"X-Request-Id: mine-1", b"traceparent: 00-ab-cd-01"))
        assert response.headers["x-request-id"] == "mine-1" and response.headers["x-modelkit-version"] == VERSION
        assert response.names.count("x-request-id") == response.names.count("x-modelkit-version") == 1
        seen = made.engines[0].requests[0]
        assert b"\r\nX-Request-Id: mine-1\r\n" in seen and b"\r\ntraceparent: 00-ab-cd-01\r\n" in seen
        for request in (get(b"/v1/models"), get(b"/nope")):
            response = await made.ask(request)
            assert response.headers["x-request-id"].startswith("req_")
            assert response.headers["x-modelkit-version"] == VERSION


@pytest.mark.parametrize("value", [b"a b", b'"quoted"', b"\xff", b"x" * 129, b"", b"a\tb", b"{}"])
async def test_a_request_id_that_could_do_harm_is_replaced(value: bytes) -> None:
    async with bench(always(OK)) as made:
        response = await made.ask(post(b"{}", b"X-Request-Id: " + value))
        assert response.headers["x-request-id"].startswith("req_")
        assert made.engines[0].requests[0].lower().count(b"x-request-id") == 1


async def test_only_end_to_end_headers_reach_the_engine() -> None:
    async with bench(always(OK)) as made:
        await made.ask(post(b"{}", b"Connection: keep-alive, X-Private", b"X-Private: 1", b"Keep-Alive: timeout=5",
                            b"TE: trailers", b"Proxy-Authorization: Basic x", b"Trailer: x", b"Cookie: c=1",
                            b"X-Modelkit-Internal: 1", b"X-Kept: yes", b"X-Kept: again"))
        head = made.engines[0].requests[0].partition(b"\r\n\r\n")[0].lower()
        names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
        assert sorted(names) == [b"content-length", b"content-type", b"host", b"x-kept", b"x-kept", b"x-request-id"]


async def test_only_end_to_end_headers_reach_the_client() -> None:
    answer = (b"HTTP/1.1 200 Fine\r\nServer: stub\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n"
              b"Proxy-Authenticate: x\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}")
    async with bench(always(answer)) as made:
        response = await made.ask(post())
        assert sorted(response.names) == ["content-length", "server", "x-modelkit-version", "x-request-id"]
