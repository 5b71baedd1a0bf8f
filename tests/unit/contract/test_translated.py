"""The translated APIs as ASGI: on whose path, in whose shape, event by event, and until the client has gone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from modelkit.contract import request
from modelkit.contract.middleware import TRANSLATED, Contract
from tests.unit.contract.asgi import JSON_HEADERS, Answer, Application, call
from tests.unit.contract.chat_streams import DONE, ROLE, STREAMS, WHOLE, delta
from tests.unit.contract.profiles import FULL, Profile, limited, llama, user, with_tool_parser
from tests.unit.contract.rich_requests import BODIES

PROFILE = with_tool_parser(FULL)
EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"x-engine", b"e"))
RESPONSES, MESSAGES, COUNT = TRANSLATED
ASKED: dict[str, dict[str, Any]] = {
    RESPONSES: {"model": "support", "input": "Hi"},
    MESSAGES: {"model": "support", "max_tokens": 9, "messages": user()},
    COUNT: {"model": "support", "messages": user()},
}


def ask(app: Application, path: str, profile: Profile = PROFILE, **fields: Any) -> Answer:
    return call(Contract(app, profile), path=path, body={**ASKED[path], **fields})


def message(answer: Answer, path: str) -> str:
    """The sentence of an error in the path's shape."""
    said = answer.json
    if path == RESPONSES:
        return str(answer.error["message"])
    assert set(said) == {"type", "error"} and set(said["error"]) == {"type", "message"}
    return str(said["error"]["message"])


def events(answer: Answer) -> list[dict[str, Any]]:
    """A stream's events; each is named as its type."""
    found = []
    for block in answer.body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


@pytest.mark.parametrize("profile", [PROFILE, llama(PROFILE)], ids=["vllm", "llama-server"])
@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
def test_the_engine_gets_what_it_would_for_the_same_chat(path: str, profile: Profile) -> None:
    app = Application(chunks=(json.dumps(WHOLE["text"]).encode(),))
    answer = call(Contract(app, profile), path=path, body=BODIES[path])
    assert app.request == request.chat(TRANSLATED[path].request(BODIES[path], profile).body, profile)
    assert app.scopes[0]["path"] == "/v1/chat/completions" and app.scopes[0]["raw_path"] == b"/v1/chat/completions"
    assert dict(app.scopes[0]["headers"])[b"content-length"] == b"%d" % len(app.bodies[0])
    assert answer.status == 200


def test_tokens_are_counted_by_the_engine() -> None:
    app = Application(chunks=(b'{"count": 3, "tokens": [1, 2, 3], "max_model_len": 9}',))
    answer = ask(app, COUNT)
    assert (answer.status, answer.json) == (200, {"input_tokens": 3})
    assert app.scopes[0]["path"] == "/tokenize"
    assert app.request["messages"] == request.chat({"model": "support", "messages": user()}, PROFILE)["messages"]


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
def test_a_whole_answer_has_its_own_length(path: str) -> None:
    raw = json.dumps(WHOLE["text"]).encode()
    answer = ask(Application(chunks=(raw[:9], raw[9:]), headers=(
        (b"content-type", b"application/json"), (b"content-length", b"1"), (b"x-engine", b"e"))), path)
    assert answer.status == 200 and answer.headers == {
        b"content-type": b"application/json", b"x-engine": b"e", b"content-length": b"%d" % len(answer.body)}
    assert "Grüße 🙂" in answer.body.decode() and answer.json["model"] == "support"


@pytest.mark.parametrize(("path", "first", "last"), [(RESPONSES, "response.created", "response.completed"),
                                                     (MESSAGES, "message_start", "message_stop")])
def test_a_stream_is_translated_chunk_by_chunk(path: str, first: str, last: str) -> None:
    answer = ask(Application(chunks=STREAMS["text"], headers=(*EVENTS, (b"content-length", b"5"))), path, stream=True)
    assert answer.headers == dict(EVENTS)
    found = events(answer)
    assert (found[0]["type"], found[-1]["type"]) == (first, last)
    bodies = [m for m in answer.messages[1:] if m["body"]]
    deltas = [n for n, m in enumerate(bodies) if b"delta\":\"" in m["body"] or b"text_delta" in m["body"]]
    assert len(deltas) == 3, "each piece of text left when it had come"
    assert [m["more_body"] for m in answer.messages[1:]] == [True] * (len(answer.messages) - 2) + [False]
    assert found[0].get("response", {}).get("temperature", 0.2) == 0.2, "the Modelfile's"


@pytest.mark.parametrize(("path", "kind"), [(RESPONSES, "response.failed"), (MESSAGES, "error")])
@pytest.mark.parametrize("name", ["with an error", "without an end", "not JSON"])
def test_what_breaks_a_stream_is_its_last_event(path: str, kind: str, name: str) -> None:
    answer = ask(Application(chunks=STREAMS[name], headers=EVENTS), path, stream=True)
    assert events(answer)[-1]["type"] == kind
    assert answer.raised is None and answer.messages[-1]["more_body"] is False


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
@pytest.mark.parametrize("end", ["raises", "returns"])
def test_an_engine_that_dies_in_mid_stream_is_told_of(path: str, end: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": list(EVENTS)})
        await send({"type": "http.response.body", "body": ROLE + delta({"content": "Hi"}), "more_body": True})
        if end == "raises":
            raise RuntimeError("boom")

    answer = call(Contract(app, PROFILE), path=path, body={**ASKED[path], "stream": True})
    assert answer.raised is None and answer.messages[-1]["more_body"] is False
    assert events(answer)[-1]["type"] in ("response.failed", "error") and "boom" not in answer.body.decode()


@pytest.mark.parametrize(("status", "body", "kind"), [
    (400, {"error": {"message": "This model's maximum context length is 9 tokens. However, your prompt contains 12 "
                                "input tokens", "code": 400}}, "invalid_request_error"),
    (401, {"error": "Unauthorized"}, "authentication_error"),
    (404, {"error": {"message": "no model", "code": 404}}, "not_found_error"),
    (429, {"error": {"message": "slow", "code": 429}}, "rate_limit_error"),
    (500, {"error": {"message": "EngineDeadError at /usr/x.py", "code": 500}}, "api_error"),
    (503, {"error": {"message": "loading", "code": 503}}, "overloaded_error"),
])
@pytest.mark.parametrize("path", list(TRANSLATED))
def test_an_engines_refusal_has_the_paths_shape(path: str, status: int, body: Any, kind: str) -> None:
    answer = ask(Application(status=status, chunks=(json.dumps(body).encode(),)), path)
    assert answer.status == status and "/usr" not in message(answer, path)
    if path != RESPONSES:
        assert answer.json["error"]["type"] == kind
    elif status == 400:
        assert answer.error["param"] == "input" and answer.error["code"] == "context_length_exceeded"


@pytest.mark.parametrize("path", list(TRANSLATED))
@pytest.mark.parametrize("chunk", [b"", b"oops", b"[]", b"{}", b'{"choices": []}',
                                   b'{"choices": [{"message": null, "finish_reason": "stop"}]}',
                                   b'{"choices": [{"message": {"content": "x"}, "finish_reason": null}]}'])
def test_an_answer_that_is_none_is_the_servers_fault(path: str, chunk: bytes) -> None:
    answer = ask(Application(chunks=(chunk,)), path)
    assert answer.status in (500, 502) and message(answer, path)


@pytest.mark.parametrize("path", list(TRANSLATED))
@pytest.mark.parametrize("app", [Application(), Application(status=500, chunks=(b"oh",)),
                                 Application(raises=RuntimeError("x")), Application(silent=True)])
def test_a_mistake_is_told_whatever_the_application_makes_of_it(path: str, app: Application) -> None:
    answer = ask(app, path, model="other")
    assert answer.status == 404 and "`support`" in message(answer, path) and answer.raised is None


@pytest.mark.parametrize("path", list(TRANSLATED))
def test_a_body_that_is_too_large_is_not_read_on(path: str) -> None:
    body = json.dumps(ASKED[path]).encode()
    answer = call(Contract(Application(), limited(body_bytes=20)), path=path, parts=[body[:15], body[15:], body])
    assert answer.status == 413 and "20 bytes" in message(answer, path)
    answer = call(Contract(Application(), limited(body_bytes=20)), path=path, body=body,
                  headers=(*JSON_HEADERS, (b"content-length", b"21")))
    assert answer.status == 413


@pytest.mark.parametrize("path", list(TRANSLATED))
def test_a_body_may_come_in_pieces(path: str) -> None:
    raw, whole, pieces = json.dumps(ASKED[path]).encode(), Application(), Application()
    call(Contract(whole, PROFILE), path=path, body=raw)
    call(Contract(pieces, PROFILE), path=path, parts=[raw[:9], b"", raw[9:]])
    assert pieces.request == whole.request


@pytest.mark.parametrize("path", list(TRANSLATED))
def test_only_json_is_read(path: str) -> None:
    answer = call(Contract(Application(), PROFILE), path=path, body=b"{}", headers=((b"content-type", b"text/plain"),))
    assert answer.status == 415 and message(answer, path)


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
def test_the_engine_sees_its_client_leave(path: str) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": list(EVENTS)})
        await send({"type": "http.response.body", "body": ROLE, "more_body": True})
        seen.append((await receive())["type"])

    call(Contract(app, PROFILE), path=path, body={**ASKED[path], "stream": True})
    assert seen == ["http.request", "http.disconnect"]


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
def test_a_client_that_leaves_before_its_body_is_whole_is_gone(path: str) -> None:
    app = Application(silent=True)

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        raise AssertionError("nobody is there")

    scope = {"type": "http", "method": "POST", "path": path, "headers": list(JSON_HEADERS)}
    asyncio.run(Contract(app, PROFILE)(scope, receive, send))
    assert app.received == [{"type": "http.disconnect"}]


@pytest.mark.parametrize("path", list(TRANSLATED))
def test_a_path_takes_post_alone(path: str) -> None:
    answer = call(Contract(Application(), PROFILE), "GET", path)
    assert answer.status == 405 and answer.headers[b"allow"] == b"POST" and message(answer, path)


@pytest.mark.parametrize(("method", "path", "said"), [
    ("GET", "/v1/responses/resp_1", "keeps no responses"), ("DELETE", "/v1/responses/resp_1", "keeps no responses"),
    ("POST", "/v1/responses/resp_1/cancel", "keeps no responses"), ("POST", "/v1/messages/batches", "no such path"),
    ("GET", "/v1/messages/batches", "no such path"),
])
def test_what_is_kept_elsewhere_is_not_here(method: str, path: str, said: str) -> None:
    app = Application()
    answer = call(Contract(app, PROFILE), method, path)
    assert answer.status == 404 and said in answer.json["error"]["message"] and app.scopes == []
    assert ("type" in answer.json) == path.startswith("/v1/messages")


def test_under_a_root_path_too() -> None:
    app = Application(chunks=(json.dumps(WHOLE["text"]).encode(),))
    answer = call(Contract(app, PROFILE), path="/root/v1/messages", body=ASKED[MESSAGES], root_path="/root")
    assert answer.status == 200 and app.scopes[0]["path"] == "/v1/chat/completions"


def test_nothing_follows_the_last_event() -> None:
    answer = ask(Application(chunks=(*STREAMS["text"], delta({"content": "more"}), DONE), headers=EVENTS), MESSAGES,
                 stream=True)
    assert [event["type"] for event in events(answer)].count("message_stop") == 1
    assert events(answer)[-1]["type"] == "message_stop" and "more" not in answer.body.decode().split("message_stop")[1]
