"""Bodies, paths and methods: what is no request at all"""

from __future__ import annotations

import gzip
import json

import httpx
import pytest

from tests.conformance.client import Server, envelope, user
from tests.conformance.meaning import NAME

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ASKED = {"model": NAME, "messages": user(), "max_tokens": 1}
GOOD = json.dumps(ASKED)


def with_member(text: str) -> bytes:
    """A good request with one more member, written as it is."""
    return (GOOD[:-1] + f", {text}}}").encode()


NO_JSON = {
    "nothing": b"", "a blank": b" ", "half": GOOD[:-1].encode(), "more than one": (GOOD + GOOD).encode(),
    "a word after it": (GOOD + " x").encode(), "single quotes": GOOD.replace('"', "'").encode(),
    "a comma at the end": (GOOD[:-1] + ",}").encode(), "a comment": ("// hi\n" + GOOD).encode(),
    "a BOM": b"\xef\xbb\xbf" + GOOD.encode(), "UTF-16": GOOD.encode("utf-16"), "UTF-32": GOOD.encode("utf-32-le"),
    "Latin-1": GOOD.replace("France", "Française").encode("latin-1"), "a NUL": GOOD.encode() + b"\0",
    "gzip unsaid": gzip.compress(GOOD.encode()), "a form": b"model=conformance&prompt=hello",
    "NaN": with_member('"temperature": NaN'), "Infinity": with_member('"temperature": Infinity'),
    "minus Infinity": with_member('"top_p": -Infinity'),
    "a number of 5000 digits": with_member('"seed": ' + "9" * 5000),
    "a leading zero": with_member('"seed": 007'), "hexadecimal": with_member('"seed": 0x10'),
    "a control character": GOOD.replace("France", "Fra\nnce").encode(),
    "a bad escape": GOOD.replace("F", "\\x").encode(),
    "overlong UTF-8": with_member('"user": "\xc0\x80"')
    .replace("\xc0\x80".encode(), b"\xc0\x80"), "an encoded surrogate": with_member('"user": "?"').replace(b"?",
        b"\xed\xa0\x80"),
}


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("raw", NO_JSON.values(), ids=list(NO_JSON))
def test_a_body_that_is_no_json(server: Server, path: str, raw: bytes) -> None:
    error = envelope(server.post(path, raw=raw), 400)
    assert (error["code"], error["param"]) == ("invalid_json", None)


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("raw", [b"[]", b"null", b"true", b"1", b'"x"', b"[{}]"], ids=str)
def test_a_body_that_is_no_object(server: Server, path: str, raw: bytes) -> None:
    assert envelope(server.post(path, raw=raw), 400)["code"] == "invalid_type"


def test_an_empty_object_lacks_a_model(server: Server) -> None:
    for path in (CHAT, TEXT):
        error = envelope(server.post(path, raw=b"{}"), 400)
        assert (error["code"], error["param"]) == ("missing_required_parameter", "model")


@pytest.mark.parametrize("depth", [100, 2000, 100_000])
@pytest.mark.parametrize("where", ["messages", "response_format", "logit_bias", "unknown", "chat_template_kwargs"])
def test_a_body_that_nests_deeply(server: Server, where: str, depth: int) -> None:
    """Refused, or where anything goes answered; never a 500."""
    answer = server.post(CHAT, raw=with_member(f'"{where}": ' + '{"a":' * depth + "1" + "}" * depth))
    if where == "chat_template_kwargs" and depth == 100:
        assert answer.status_code in (200, 400)
    else:
        envelope(answer, 400)


def test_of_a_key_that_comes_twice_the_last_counts(server: Server) -> None:
    twice = server.post(CHAT,
                        raw=with_member('"max_tokens": 3, "ignore_eos": true, "stop": [], "max_tokens": 2')).json()
    assert twice["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("number", ["1e0", "1.0", "10e-1", "1E+0"])
def test_a_number_may_be_written_in_any_form(server: Server, number: str) -> None:
    assert server.post(CHAT, raw=with_member(f'"top_p": {number}')).status_code == 200


@pytest.mark.parametrize("number", ["1e400", "-1e400"])
def test_a_number_beyond_floating_point_is_out_of_range(server: Server, number: str) -> None:
    assert envelope(server.post(CHAT, raw=with_member(f'"temperature": {number}')), 400)["param"] == "temperature"


@pytest.mark.parametrize("text", ["caf\\u00e9", "\\ud83d\\ude00", "\\u0000", "\\/", "\\ufeff", "\\uffff"], ids=ascii)
def test_escapes_are_the_characters_that_they_spell(server: Server, text: str) -> None:
    escaped = server.post(CHAT, raw=GOOD.replace("France", text).encode())
    plain = server.post(CHAT, json={**ASKED, "messages": user(json.loads(f'"{ASKED["messages"][0]["content"]}"'
                                                                       .replace("France", text)))})
    assert escaped.json()["usage"] == plain.json()["usage"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON",
                                  "application/json;charset=UTF-8"])
def test_the_content_type_may_have_parameters_and_any_case(server: Server, kind: str) -> None:
    assert server.post(CHAT, raw=GOOD.encode(), headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize("kind", ["", "text/json", "application/jsonl", "application/json2", "multipart/form-data",
                                  "application/octet-stream", "application/xml", "*/*", "json"])
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_another_content_type(server: Server, path: str, kind: str) -> None:
    error = envelope(server.post(path, raw=GOOD.encode(), headers={"content-type": kind}), 415)
    assert error["code"] == "unsupported_media_type"


def test_no_content_type(server: Server) -> None:
    answer = server.http.post(CHAT, content=GOOD.encode())
    assert envelope(answer, 415)["code"] == "unsupported_media_type"


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd"])
def test_a_compressed_body(server: Server, coding: str) -> None:
    answer = server.post(CHAT, raw=gzip.compress(GOOD.encode()), headers={"content-encoding": coding})
    assert envelope(answer, 415)["code"] == "unsupported_media_type"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-stream", "text/html", ""])
def test_what_a_client_accepts_changes_nothing(server: Server, accept: str) -> None:
    answer = server.post(CHAT, raw=GOOD.encode(), headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/chat", "/v1/completion", "/v2/chat/completions",
                                  "/chat/completions",
                                  "/v1/chat/completions/", "//v1/chat/completions", "/V1/chat/completions",
                                  "/v1/chat/completions/extra", "/v1/engines/conformance/completions", "/v1/edits",
                                  "/v1/images/generations", "/v1/audio/speech", "/v1/files", "/v1/fine_tuning/jobs",
                                  "/v1/moderations", "/v1/assistants", "/v1/threads", "/v1/batches", "/completion",
                                  "/infill", "/slots", "/props", "/lora-adapters", "/apply-template", "/invocations",
                                  "/generate", "/collective_rpc", "/sleep", "/pause", "/v1/load_lora_adapter",
                                  "/inference/v1/generate", "/api/chat", "/api/generate", "/.env", "/admin",
                                  "/v1/chat%2Fcompletions"])
def test_a_path_that_is_not_served(server: Server, path: str) -> None:
    if server.engine == "stub" and "%" in path:
        path = "/v1/chat\\completions"  # a server decodes paths before the contract sees them; the edge does not
    assert envelope(server.http.post(path, json=ASKED), 404)["code"] == "not_found"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_method_that_generates_nothing(server: Server, path: str, method: str) -> None:
    answer = server.http.request(method, path)
    assert envelope(answer, 405)["code"] == "method_not_allowed"
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/conformance"])
def test_a_model_can_only_be_looked_at(server: Server, path: str, method: str) -> None:
    answer = server.http.request(method, path)
    assert envelope(answer, 405)["code"] == "method_not_allowed"
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("query", ["?a=b", "?model=gpt-4o", "?stream=true&n=9"])
def test_a_query_means_nothing(server: Server, query: str) -> None:
    assert server.http.post(CHAT + query, json=ASKED).json()["object"] == "chat.completion"


def test_a_preflight_is_allowed_nothing(server: Server) -> None:
    asked = {"origin": "https://example.org", "access-control-request-method": "POST"}
    answer = server.http.options(CHAT, headers=asked)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    said = server.http.post(CHAT, json=ASKED, headers={"origin": "https://example.org"})
    assert not [name for name in said.headers if name.startswith("access-control")]


def test_many_mistakes_on_one_connection(server: Server) -> None:
    with httpx.Client(transport=server.http._transport, base_url=server.http.base_url) as one:
        for _ in range(20):
            assert one.post(CHAT, json={**ASKED, "temperature": 9}).status_code == 400
        assert one.post(CHAT, json=ASKED).status_code == 200


def test_a_mistake_in_a_stream_is_no_stream(server: Server) -> None:
    for fields in ({"temperature": 9}, {"model": "x"}, {"messages": []}):
        answer = server.post(CHAT, {**ASKED, "stream": True, **fields})
        assert answer.headers["content-type"] == "application/json"
        assert answer.status_code in (400, 404)
