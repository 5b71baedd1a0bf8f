"""The contract as ASGI, with no server and no engine."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from modelkit.contract import request
from modelkit.contract.middleware import Contract
from tests.unit.contract.asgi import JSON_HEADERS, Application, call
from tests.unit.contract.profiles import FULL, ask, limited

CHAT = "/v1/chat/completions"


def test_the_application_gets_the_filled_request_and_its_length() -> None:
    app = Application()
    answer = call(Contract(app, FULL), body=ask(), headers=(*JSON_HEADERS, (b"content-length", b"999"),
                                                            (b"transfer-encoding", b"chunked")))
    assert answer.status == 200
    assert app.request == request.chat(ask(), FULL)
    assert app.received == [{"type": "http.request", "body": app.bodies[0], "more_body": False}]
    sent = dict(app.scopes[0]["headers"])
    assert sent[b"content-length"] == str(len(app.bodies[0])).encode()
    assert b"transfer-encoding" not in sent
    assert sent[b"host"] == b"localhost"


@pytest.mark.parametrize(("path", "body"), [("/v1/completions", {"model": "support", "prompt": "x"}),
                                            ("/tokenize", {"messages": ask()["messages"]})])
def test_the_other_requests_are_filled_too(path, body) -> None:
    app = Application()
    call(Contract(app, FULL), path=path, body=body)
    assert len(app.request) > len(body)


def test_a_body_may_come_in_pieces() -> None:
    raw = json.dumps(ask()).encode()
    app = Application()
    call(Contract(app, FULL), parts=[raw[:10], b"", raw[10:]])
    assert app.request == request.chat(ask(), FULL)


def test_after_the_body_the_application_sees_its_client_leave() -> None:
    seen = []

    async def app(scope, receive, send):
        seen.append((await receive())["type"])
        seen.append((await receive())["type"])

    call(Contract(app, FULL), body=ask())
    assert seen == ["http.request", "http.disconnect"]


def test_a_client_that_leaves_before_its_body_is_whole_is_gone() -> None:
    app = Application(silent=True)

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError("nobody is there")

    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": list(JSON_HEADERS)}
    asyncio.run(Contract(app, FULL)(scope, receive, send))
    assert app.received == [{"type": "http.disconnect"}]


@pytest.mark.parametrize("app", [
    Application(),
    Application(status=400, chunks=(b'{"detail": "There was an error parsing the body"}',)),
    Application(status=500, chunks=(b"oh", b" no")),
    Application(raises=RuntimeError("a client that disconnects")),
    Application(silent=True),
], ids=["answers anyway", "says 400", "says 500", "raises", "says nothing"])
def test_a_refusal_reaches_the_client_whatever_the_application_makes_of_it(app) -> None:
    answer = call(Contract(app, FULL), body=ask(temperature=-1))
    assert (answer.status, answer.error["param"], answer.raised) == (400, "temperature", None)
    assert answer.headers[b"content-type"] == b"application/json"
    assert answer.headers[b"content-length"] == str(len(answer.body)).encode()
    assert len(answer.messages) == 2
    assert app.received[0]["type"] == "http.disconnect"


def test_who_rejects_without_reading_is_not_made_to_read() -> None:
    app = Application(status=401, reads=False, chunks=(b'{"error": "Unauthorized"}',),
                      headers=((b"www-authenticate", b"Bearer"), (b"content-length", b"25")))

    async def receive():
        raise AssertionError("an unauthorised request was read")

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": list(JSON_HEADERS)}
    asyncio.run(Contract(app, FULL)(scope, receive, send))
    assert sent[0]["status"] == 401
    assert dict(sent[0]["headers"])[b"www-authenticate"] == b"Bearer"
    assert json.loads(sent[1]["body"])["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("header", [None, b"", b"text/plain", b"application/x-www-form-urlencoded", b"application/xml"])
def test_only_json_is_read(header) -> None:
    app = Application()
    answer = call(Contract(app, FULL), body=ask(), headers=[(b"content-type", header)] if header is not None else [])
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
    assert app.bodies == [b""]


@pytest.mark.parametrize("header", [b"application/json", b"application/json; charset=utf-8", b"Application/JSON"])
def test_json_may_be_spelled_in_full(header) -> None:
    assert call(Contract(Application(), FULL), body=ask(), headers=[(b"content-type", header)]).status == 200


def test_a_compressed_body_is_refused() -> None:
    answer = call(Contract(Application(), FULL), body=ask(), headers=[*JSON_HEADERS, (b"content-encoding", b"gzip")])
    assert answer.status == 415


def test_a_body_beyond_the_limit_is_refused_and_never_held() -> None:
    read = []

    async def receive():
        read.append(1)
        return {"type": "http.request", "body": b" " * 100, "more_body": True}

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": list(JSON_HEADERS)}
    asyncio.run(Contract(Application(), limited(body_bytes=1000))(scope, receive, send))
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["error"]["code"] == "request_too_large"
    assert len(read) == 11


@pytest.mark.parametrize("length", [b"1001", b"9" * 400])
def test_a_body_that_announces_too_much_is_not_read_at_all(length) -> None:
    async def receive():
        raise AssertionError("it was read")

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": [*JSON_HEADERS, (b"content-length", length)]}
    asyncio.run(Contract(Application(), limited(body_bytes=1000))(scope, receive, send))
    assert sent[0]["status"] == 413


def test_a_body_as_large_as_the_limit_passes() -> None:
    raw = json.dumps(ask()).encode()
    assert call(Contract(Application(), limited(body_bytes=len(raw))), body=raw).status == 200
    assert call(Contract(Application(), limited(body_bytes=len(raw) - 1)), body=raw).status == 413


def test_a_successful_stream_passes_as_it_comes() -> None:
    async def run():
        first_seen = asyncio.Event()
        sent, headers = [], [(b"content-type", b"text/event-stream")]

        async def app(scope, receive, send):
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            await asyncio.wait_for(first_seen.wait(), 5)  # the second chunk is made only when the first has arrived
            await send({"type": "http.response.body", "body": b'data: {"error": {"code": 500}}\n\n', "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def receive():
            return {"type": "http.request", "body": json.dumps(ask(stream=True)).encode(), "more_body": False}

        async def send(message):
            sent.append(message)
            if message.get("body") == b"data: 1\n\n":
                first_seen.set()

        scope = {"type": "http", "method": "POST", "path": CHAT, "headers": list(JSON_HEADERS)}
        await Contract(app, FULL)(scope, receive, send)
        return sent

    sent = asyncio.run(run())
    assert [m.get("body") for m in sent[1:]] == [b"data: 1\n\n", b'data: {"error": {"code": 500}}\n\n', b""]
    assert sent[0]["headers"] == [(b"content-type", b"text/event-stream")]


def test_an_engines_error_is_rewritten_and_keeps_its_headers() -> None:
    app = Application(status=400, chunks=(b'{"error": {"message": "bad", ', b'"type": "BadRequest", "code": 400}}'),
                      headers=((b"Content-Type", b"text/plain"), (b"Content-Length", b"7"), (b"x-request-id", b"7"),
                               (b"content-encoding", b"identity")))
    answer = call(Contract(app, FULL), body=ask())
    assert (answer.status, answer.error["message"], answer.error["code"]) == (400, "bad", "invalid_request")
    assert answer.headers == {b"x-request-id": b"7", b"content-type": b"application/json",
                              b"content-length": str(len(answer.body)).encode()}


def test_only_so_much_of_an_engines_error_is_read() -> None:
    answer = call(Contract(Application(status=400, chunks=(b"x" * 50_000,) * 50), FULL), body=ask())
    assert answer.error["message"] == "x" * 999 + "…"
    assert len(answer.messages) == 2


@pytest.mark.parametrize(("path", "field"), [(CHAT, "messages"), ("/v1/completions", "prompt")])
def test_the_context_error_names_the_field_of_the_prompt(path, field) -> None:
    error = {"type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8, "message": "", "code": 400}
    app = Application(status=400, chunks=(json.dumps({"error": error}).encode(),))
    body = ask() if field == "messages" else {"model": "support", "prompt": "x"}
    assert call(Contract(app, FULL), path=path, body=body).error["param"] == field


def test_an_engine_that_raises_gives_an_envelope_and_a_log_line(caplog) -> None:
    with caplog.at_level(logging.ERROR):
        answer = call(Contract(Application(raises=KeyError("/srv/secret")), FULL), body=ask())
    assert (answer.status, answer.error["code"], answer.raised) == (500, "internal_error", None)
    assert b"secret" not in answer.body
    assert "the engine failed on POST /v1/chat/completions" in caplog.text
    assert "secret" in caplog.text


def test_an_engine_that_raises_in_mid_stream_is_the_servers_to_end() -> None:
    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("x")

    answer = call(Contract(app, FULL), body=ask())
    assert isinstance(answer.raised, KeyError)
    assert len(answer.messages) == 1


def test_an_application_that_says_nothing_stays_silent() -> None:
    assert call(Contract(Application(silent=True), FULL), body=ask()).messages == []


def test_a_held_error_without_an_end_is_sent_all_the_same() -> None:
    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"bad", "more_body": True})

    answer = call(Contract(app, FULL), body=ask())
    assert (answer.status, answer.error["message"]) == (400, "bad")


@pytest.mark.parametrize("app", [Application(reads=False), Application(status=404, reads=False),
                                 Application(status=500, reads=False), Application(raises=OSError(), reads=False)])
def test_the_models_are_the_profiles_on_every_engine(app) -> None:
    answer = call(Contract(app, FULL), "GET", "/v1/models")
    assert (answer.status, answer.json) == (200, {"object": "list", "data": [
        {"id": "support", "object": "model", "created": 0, "owned_by": "modelkit", "max_model_len": 2048},
        {"id": "support-fr", "object": "model", "created": 0, "owned_by": "modelkit", "max_model_len": 2048,
         "parent": "support"},
    ]})
    one = call(Contract(app, FULL), "GET", "/v1/models/support-fr")
    assert (one.status, one.json["id"]) == (200, "support-fr")
    other = call(Contract(app, FULL), "GET", "/v1/models/gpt-4o")
    assert (other.status, other.error["code"]) == (404, "model_not_found")


def test_the_models_are_not_told_to_whom_the_application_turns_away() -> None:
    app = Application(status=401, reads=False, chunks=(b'{"error": "Unauthorized"}',))
    answer = call(Contract(app, FULL), "GET", "/v1/models")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert b"support" not in answer.body


@pytest.mark.parametrize(("method", "path", "allowed"), [
    ("GET", CHAT, b"POST"), ("PUT", CHAT, b"POST"), ("HEAD", "/v1/completions", b"POST"), ("GET", "/tokenize", b"POST"),
    ("POST", "/v1/models", b"GET"), ("DELETE", "/v1/models/support", b"GET"),
])
def test_a_wrong_method_is_told_the_right_one(method, path, allowed) -> None:
    app = Application()
    answer = call(Contract(app, FULL), method, path)
    assert (answer.status, answer.error["code"], answer.headers[b"allow"]) == (405, "method_not_allowed", allowed)
    assert app.scopes == []


@pytest.mark.parametrize("path", ["/v1/responses/", "/v1/audio/speech", "/invocations", "/v1/chat/completions/",
                                  "/pause", "/v1/chat/completions/batch", "//v1/chat/completions",
                                  "/V1/chat/completions", "/completion", "/chat/completions",
                                  "/v1/load_lora_adapter", "/generate"])
def test_nothing_without_a_meaning_reaches_the_engine(path) -> None:
    app = Application()
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = call(Contract(app, FULL), method, path, ask())
        assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert app.scopes == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/health"), ("HEAD", "/x"), ("OPTIONS", CHAT)])
def test_what_only_looks_passes(method, path) -> None:
    answer = call(Contract(Application(reads=False), FULL), method, path)
    assert (answer.status, answer.body) == (200, b'{"ok": true}')
    failing = call(Contract(Application(status=503, chunks=(b"",), reads=False), FULL), method, path)
    assert (failing.status, failing.error["code"]) == (503, "engine_unavailable")


def test_a_root_path_is_not_part_of_the_path() -> None:
    app = Application()
    answer = call(Contract(app, FULL), path="/ai/v1/chat/completions", body=ask(), root_path="/ai")
    assert (answer.status, app.request["temperature"]) == (200, 0.2)


def test_websockets_are_closed_and_the_lifespan_passes() -> None:
    app, sent = Application(reads=False), []

    async def send(message):
        sent.append(message)

    asyncio.run(Contract(app, FULL)({"type": "websocket", "path": "/v1/realtime"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert app.scopes == []
    asyncio.run(Contract(app, FULL)({"type": "lifespan"}, None, send))
    assert app.scopes == [{"type": "lifespan"}]


def test_a_mistake_of_ours_is_a_500_and_a_log_line(monkeypatch, caplog) -> None:
    from modelkit.contract import middleware

    def broken(said, profile):
        raise ZeroDivisionError("ours")

    monkeypatch.setitem(middleware.FILLERS, CHAT, (broken, "messages"))
    with caplog.at_level(logging.ERROR):
        answer = call(Contract(Application(), FULL), body=ask())
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "ZeroDivisionError" in caplog.text


def test_the_profile_comes_from_the_file_that_the_environment_names(tmp_path, monkeypatch) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(FULL.as_json()), "utf-8")
    monkeypatch.setenv("MODELKIT_PROFILE", str(path))
    assert Contract(Application()).profile == FULL


@pytest.mark.parametrize("broken", ["{", [], {}, {"schema": "modelkit.profile/1"},
                                    FULL.as_json() | {"schema": "modelkit.profile/9"},
                                    FULL.as_json() | {"dialect": "tgi"}, FULL.as_json() | {"limits": 7},
                                    FULL.as_json() | {"colour": "red"}], ids=lambda b: str(b)[:30])
def test_a_broken_profile_stops_the_server_at_its_start(broken, tmp_path, monkeypatch) -> None:
    path = tmp_path / "profile.json"
    path.write_text(broken if isinstance(broken, str) else json.dumps(broken), "utf-8")
    monkeypatch.setenv("MODELKIT_PROFILE", str(path))
    with pytest.raises(ValueError):
        Contract(Application())


def test_no_profile_at_all_says_what_is_missing(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("MODELKIT_PROFILE", raising=False)
    with pytest.raises(ValueError, match="MODELKIT_PROFILE"):
        Contract(Application())
    monkeypatch.setenv("MODELKIT_PROFILE", str(tmp_path / "none.json"))
    with pytest.raises(FileNotFoundError):
        Contract(Application())
