"""What the engine itself is sent, and what becomes of what it says: on the stub, which remembers and obeys."""

from __future__ import annotations

import json

import pytest

from tests.conformance.client import Server, envelope, user
from tests.conformance.conftest import Stub
from tests.conformance.meaning import EXAMPLES, MAX_TOKENS, NAME, SAMPLING, STOP, SYSTEM

MEANING = [{"role": "system", "content": SYSTEM}, *({"role": role, "content": said} for role, said in EXAMPLES)]


def test_the_engine_gets_the_whole_meaning(stub: Stub) -> None:
    stub.chat()
    sent = stub.last
    assert sent["messages"] == [*MEANING, *user()]
    assert (sent["model"], sent["stop"], sent["max_tokens"]) == (NAME, [STOP], MAX_TOKENS)
    spelled = {"repeat_penalty" if name == "repetition_penalty" and stub.app.dialect == "llama-server" else name: value
               for name, value in SAMPLING.items()}
    assert sent.items() >= spelled.items()


def test_a_tokenization_is_rendered_from_the_same_messages(stub: Stub) -> None:
    stub.chat(messages=[{"role": "developer", "content": "Be kind."}, *user()])
    chat = stub.last["messages"]
    said = {"messages": [{"role": "developer", "content": "Be kind."}, *user()]}
    answer = stub.post("/tokenize", said)
    assert answer.status_code == 200
    assert set(answer.json()) == {"tokens", "count", "max_model_len", "token_strs"}
    assert stub.last["messages"] == chat


def test_mistakes_never_reach_the_engine(stub: Stub) -> None:
    for fields in ({"temperature": -1}, {"messages": []}, {"model": "x"}, {"unknown": 1}):
        assert stub.post("/v1/chat/completions", stub.asked(fields)).status_code in (400, 404)
    stub.post("/v1/chat/completions", raw=b"{")
    stub.post("/v1/responses", {})
    stub.post("/pause", {})
    assert stub.app.requests == []


@pytest.mark.parametrize(("status", "body", "expected", "code"), [
    (500, b'{"error": {"message": "boom in /usr/lib/x.py", "type": "InternalServerError", "code": 500}}', 500,
     "internal_error"),
    (500, b"Internal Server Error", 500, "internal_error"),
    (503, b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}', 503,
     "engine_unavailable"),
    (400, b'{"error": {"message": "no", "type": "BadRequestError", "param": null, "code": 400}}', 400,
     "invalid_request"),
    (422, b'{"detail": []}', 400, "invalid_request"),
    (429, b"", 429, "rate_limit_exceeded"),
])
def test_every_failure_of_the_engine_is_the_envelope(stub: Stub, status, body, expected, code) -> None:
    stub.app.failure = (status, body)
    for stream in (False, True):
        answer = stub.post("/v1/chat/completions", stub.asked({"stream": stream}))
        error = envelope(answer, expected)
        assert error["code"] == code
        assert "/usr" not in answer.text


def test_the_first_chunk_passes_before_the_second_is_made(stub: Stub) -> None:
    stub.app.pause = 3600  # before every token: the rest of the answer is hours away
    stub.app.pause, first = 0.2, None
    with stub.stream(max_tokens=24, stop=[]) as chunks:
        first = next(chunks)
        stub.app.pause = 3600
    assert first["choices"][0]["delta"]["content"] == "The"


def test_a_body_is_read_in_the_pieces_in_which_it_comes(stub: Stub) -> None:
    raw = json.dumps(stub.asked({})).encode()

    def pieces():
        for at in range(0, len(raw), 7):
            yield raw[at : at + 7]

    answer = stub.http.post("/v1/chat/completions", content=pieces(), headers={"content-type": "application/json"})
    assert answer.status_code == 200
    assert stub.last["messages"][-1:] == user()


def test_a_keep_alive_connection_survives_a_refusal(stub: Server) -> None:
    for _ in range(3):
        assert stub.post("/v1/chat/completions", raw=b"{").status_code == 400
        stub.chat()
