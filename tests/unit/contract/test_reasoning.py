"""Reasoning under both names, where a stage has a reasoning parser; otherwise not a byte is touched."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from modelkit.contract import reasoning
from modelkit.contract.middleware import Contract
from modelkit.contract.profile import Profile

PROFILE = Profile(name="bot", dialect="vllm", context_length=64, reasoning_parser="deepseek_r1")
CHUNK = b'data: {"choices":[{"index":0,"delta":{"reasoning":"because"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def test_a_whole_answer_has_both_names() -> None:
    answer = json.loads(reasoning.whole(b'{"choices":[{"message":{"content":"4","reasoning":"2+2"}}]}'))
    assert answer["choices"][0]["message"] == {"content": "4", "reasoning": "2+2", "reasoning_content": "2+2"}


@pytest.mark.parametrize("body", [b"", b"{}", b"not json \"reasoning\"", b'{"choices":[{"message":{"content":"x"}}]}',
                                  b'{"choices":[{"message":{"content":"\\"reasoning\\""}}]}', b'["reasoning"]',
                                  b'{"choices":[{"message":{"reasoning":"a","reasoning_content":"a"}}]}'])
def test_anything_else_stays_byte_for_byte(body: bytes) -> None:
    assert reasoning.whole(body) == body


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_stream_has_both_names_however_it_is_cut(size: int) -> None:
    data = CHUNK + b'data: {"choices":[{"index":0,"delta":{"content":"4"}}]}\n\n' + DONE
    stream, out = reasoning.Stream(), b""
    for at in range(0, len(data), size):
        out += stream.feed(data[at : at + size], more=True)
    out += stream.feed(b"", more=False)
    events = [json.loads(e[6:]) for e in out.split(b"\n\n") if e and e != DONE.strip()]
    assert events[0]["choices"][0]["delta"] == {"reasoning": "because", "reasoning_content": "because"}
    assert events[1]["choices"][0]["delta"] == {"content": "4"}
    assert out.endswith(DONE)


def test_an_event_passes_as_soon_as_it_is_whole() -> None:
    stream = reasoning.Stream()
    assert b"reasoning_content" in stream.feed(CHUNK, more=True)


async def ask(profile: Profile, content_type: bytes, parts: list[bytes]) -> tuple[list[Any], bytes]:
    async def engine(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        length = [(b"content-length", b"%d" % sum(map(len, parts)))] if content_type == b"application/json" else []
        headers = [(b"content-type", content_type), *length]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    body = json.dumps({"model": "bot", "messages": [{"role": "user", "content": "2+2?"}]}).encode()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions",
             "headers": [(b"content-type", b"application/json")]}
    await Contract(engine, profile)(scope, receive, send)
    return sent, b"".join(m.get("body", b"") for m in sent)


async def test_the_middleware_does_it_for_streams_and_whole_answers() -> None:
    sent, out = await ask(PROFILE, b"text/event-stream; charset=utf-8", [CHUNK[:10], CHUNK[10:], DONE])
    assert out.count(b"reasoning_content") == 1
    assert out.endswith(DONE)
    assert len([m for m in sent if m.get("body")]) >= 2, "nothing was held back to the end"
    sent, out = await ask(PROFILE, b"application/json", [b'{"choices":[{"message":', b'{"reasoning":"r"}}]}'])
    assert json.loads(out)["choices"][0]["message"]["reasoning_content"] == "r"
    assert dict(sent[0]["headers"])[b"content-length"] == b"%d" % len(out)


async def test_without_a_parser_nothing_is_touched() -> None:
    _, out = await ask(replace(PROFILE, reasoning_parser=None), b"text/event-stream", [CHUNK, DONE])
    assert out == CHUNK + DONE
