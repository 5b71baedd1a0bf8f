"""The client that asks and times: what streams it puts together, and that no fault of the other side raises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from modelkit.release.client import Answer, Client, Target


@asynccontextmanager
async def saying(pieces: list[bytes], *, head: bytes = b"HTTP/1.1 200 OK\r\n", stall: bool = False
                 ) -> AsyncIterator[Client]:
    """A client of a server that answers anything with these bytes, each piece sent by itself."""
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"Content-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if stall:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Client(Target(f"http://127.0.0.1:{port}/v1", "m"), read_timeout=0.5 if stall else 30) as client:
        yield client


def event(delta: Any, **said: Any) -> bytes:
    choice = {"index": 0, "delta": delta, **said}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


END = event({}, finish_reason="stop") + b"data: [DONE]\n\n"


async def asked(pieces: list[bytes], **said: Any) -> Answer:
    async with saying(pieces, **said) as client:
        return await client.chat({"messages": []})


def bytewise(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


@pytest.mark.parametrize("cut", [lambda data: [data], bytewise, lambda data: [data[:41], data[41:]]],
                         ids=["whole", "bytewise", "in-two"])
async def test_a_stream_may_be_cut_anywhere(cut: Callable[[bytes], list[bytes]]) -> None:
    texts = ["Grüße ", "👩🏽‍🚀", "a\u2028b\x85c\x0b", "\r\n"]
    answer = await asked(cut(b": hello\r\n\r\n" + b"".join(event({"content": text}) for text in texts) + END))
    assert (answer.text, answer.finish_reason, answer.error) == ("".join(texts), "stop", None)


async def test_tool_calls_and_reasoning_are_put_together() -> None:
    deltas: list[Any] = [
        {"reasoning": "hm"}, {"reasoning_content": "m"},
        {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": '{"a": "ü'}}]},
        {"tool_calls": [{"index": 1, "function": {"name": "g"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"}'}}]}]
    answer = await asked(bytewise(b"".join(map(event, deltas)) + event({}, finish_reason="tool_calls")))
    assert answer.reasoning == "hmm"
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("f", '{"a": "ü"}'), ("g", "")]


async def test_what_is_not_counted_is_not_guessed() -> None:
    assert (await asked([event({"content": "x"}), END])).tokens is None
    usage = b'data: {"choices": [], "usage": {"completion_tokens": 3}}\n\n'
    assert (await asked([event({"content": "x"}), usage, END])).tokens == 3


FAULTS = {
    "cut": [event({"content": "x"})],
    "empty": [],
    "no-json": [b"data: {\n\n", END],
    "no-object": [b"data: 7\n\n", END],
    "choices": [b'data: {"choices": 7}\n\n', END],
    "choice": [b'data: {"choices": [7]}\n\n', END],
    "delta": [event([1]), END],
    "content": [event({"content": {"a": 1}}), END],
    "calls": [event({"tool_calls": [1]}), END],
    "arguments": [event({"tool_calls": [{"function": {"arguments": 7}}]}), END],
    "logprobs": [event({"content": "x"}, logprobs=[1]), END],
    "deep": [b"data: " + b"[" * 100_000 + b"\n\n", END],
    "error": [event({"content": "x"}), b'data: {"error": {"message": "dead"}}\n\n'],
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_in_a_stream_is_an_error_and_no_exception(name: str) -> None:
    answer = await asked(FAULTS[name])
    assert answer.error


async def test_faults_before_a_stream_have_their_status() -> None:
    answer = await asked([b'{"error": {"message": "slow down"}}'], head=b"HTTP/1.1 429 Too Many\r\n")
    assert (answer.status, answer.error) == (429, "429: slow down")
    answer = await asked([b"<html>"], head=b"HTTP/1.1 502 Bad\r\n")
    assert (answer.status, answer.error) == (502, "502: <html>")
    assert (await asked([], head=b"nonsense\r\n")).error
    async with Client(Target("http://127.0.0.1:9/v1", "m")) as client:
        answer = await client.chat({"messages": []})
    assert answer.status is None and answer.error


async def test_a_stalled_stream_is_an_error() -> None:
    answer = await asked([event({"content": "x"})], stall=True)
    assert answer.error and answer.text == "x"
