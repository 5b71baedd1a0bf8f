"""The relay in front of a llama-server with vices: a stub on a real Unix socket, the application called directly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from modelkit.engines.llama_host.relay import Relay
from modelkit.engines.llama_host.upstream import Upstream

Behaviour = Callable[["Conversation"], Awaitable[None]]

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Conversation:
    """One connection to the stub: what it was asked, and a way to answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.path = ""
        self.body: Any = None
        self.left = asyncio.Event()

    async def read(self) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        self.path = head.split(" ")[1]
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        self.body = json.loads(await self.reader.readexactly(length) or b"null")

    async def say(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def chunk(self, raw: bytes) -> None:
        await self.say(b"%x\r\n%s\r\n" % (len(raw), raw))

    async def event(self, content: str) -> None:
        value = {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}], "id": "chatcmpl-x"}
        await self.chunk(b"data: %s\n\n" % json.dumps(value, separators=(",", ":")).encode())

    async def json(self, status: int, value: Any) -> None:
        raw = json.dumps(value).encode()
        await self.say(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(raw), raw))

    async def client_leaves(self) -> None:
        await self.reader.read()
        self.left.set()


class Stub:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.conversations: list[Conversation] = []
        self.arrived = asyncio.Semaphore(0)
        self.behaviour: Behaviour | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        one = Conversation(reader, writer)
        self.conversations.append(one)
        await one.read()
        self.arrived.release()
        assert self.behaviour is not None
        await self.behaviour(one)
        writer.close()


class Client:
    """Calls the application, and reads its messages as they come."""

    def __init__(self, relay: Relay, path: str, body: Any = None, method: str = "POST") -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.incoming.put_nowait({"type": "http.request", "body": json.dumps(body).encode()})
        scope = {"type": "http", "method": method, "path": path, "headers": []}
        self.task = asyncio.ensure_future(relay(scope, self.incoming.get, self.sent.put))

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})

    async def next(self) -> Any:
        return await asyncio.wait_for(self.sent.get(), 10)

    async def answer(self) -> tuple[int, bytes]:
        await asyncio.wait_for(self.task, 10)
        messages = [self.sent.get_nowait() for _ in range(self.sent.qsize())]
        assert messages[-1].get("more_body") is False
        return messages[0]["status"], b"".join(m.get("body", b"") for m in messages[1:])


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[Stub]:
    stub = Stub(tmp_path / "l.sock")
    server = await asyncio.start_unix_server(stub.serve, str(stub.path))
    yield stub
    server.close()


@pytest.fixture
def relay(stub: Stub) -> Relay:
    return Relay(Upstream(str(stub.path)), slots=2, context_length=128, fingerprint="fp")


CHAT = {"model": "m", "messages": [], "stream": True}


async def test_a_chunk_reaches_the_client_before_the_next_is_made(stub: Stub, relay: Relay) -> None:
    go_on = asyncio.Event()

    async def slowly(one: Conversation) -> None:
        await one.say(EVENTS)
        await one.event("first")
        await go_on.wait()
        await one.event("second")
        await one.chunk(b"data: [DONE]\n\n")
        await one.say(b"0\r\n\r\n")

    stub.behaviour = slowly
    client = Client(relay, "/v1/chat/completions", CHAT)
    assert (await client.next())["status"] == 200
    assert b"first" in (await client.next())["body"]
    go_on.set()
    assert b"second" in (await client.next())["body"]
    await client.task


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_takes_its_request_along(stub: Stub, relay: Relay, stream: bool) -> None:
    asked = asyncio.Event()

    async def forever(one: Conversation) -> None:
        await one.say(EVENTS)
        await one.event("a")
        asked.set()
        await one.client_leaves()

    stub.behaviour = forever
    client = Client(relay, "/v1/chat/completions", {**CHAT, "stream": stream})
    await asyncio.wait_for(asked.wait(), 10)
    client.leave()
    await asyncio.wait_for(client.task, 10)
    await asyncio.wait_for(stub.conversations[0].left.wait(), 10)


async def test_a_client_that_leaves_while_it_waits_takes_every_part_along(stub: Stub, relay: Relay) -> None:
    stub.behaviour = Conversation.client_leaves
    client = Client(relay, "/v1/chat/completions", {**CHAT, "n": 5})
    for _ in range(3):
        await asyncio.wait_for(stub.arrived.acquire(), 10)
    client.leave()
    await asyncio.wait_for(client.task, 10)
    for one in stub.conversations:
        await asyncio.wait_for(one.left.wait(), 10)


async def test_a_server_that_dies_in_a_stream_is_an_error_event_and_no_done(stub: Stub, relay: Relay) -> None:
    async def dies(one: Conversation) -> None:
        await one.say(EVENTS)
        await one.event("a")

    stub.behaviour = dies
    status, body = await Client(relay, "/v1/chat/completions", CHAT).answer()
    events = [e for e in body.split(b"\n\n") if e]
    assert status == 200 and b"[DONE]" not in body
    assert json.loads(events[-1][6:])["error"]["code"] == "engine_unavailable"
    assert relay.lost.is_set()


async def test_a_server_that_dies_in_a_whole_answer_is_no_answer(stub: Stub, relay: Relay) -> None:
    async def dies(one: Conversation) -> None:
        await one.say(EVENTS)
        await one.event("a")

    stub.behaviour = dies
    status, body = await Client(relay, "/v1/chat/completions", {**CHAT, "stream": False}).answer()
    assert status >= 500 and "error" in json.loads(body)


async def test_no_server_is_a_503_and_the_host_is_told(tmp_path: Path) -> None:
    relay = Relay(Upstream(str(tmp_path / "none.sock")), slots=1, context_length=8, fingerprint="fp")
    status, body = await Client(relay, "/v1/chat/completions", CHAT).answer()
    assert status == 503 and json.loads(body)["error"]["code"] == "engine_unavailable"
    assert relay.lost.is_set()


async def test_a_refusal_passes_with_its_status(stub: Stub, relay: Relay) -> None:
    async def refuses(one: Conversation) -> None:
        await one.json(400, {"error": {"code": 400, "message": "no", "type": "invalid_request_error"}})

    stub.behaviour = refuses
    for body in (CHAT, {**CHAT, "n": 5}):
        status, raw = await Client(relay, "/v1/chat/completions", body).answer()
        assert status == 400 and json.loads(raw)["error"]["message"] == "no"
    assert not relay.lost.is_set()


async def test_rubbish_from_the_server_is_an_error_not_a_hang(stub: Stub, relay: Relay) -> None:
    async def rubbish(one: Conversation) -> None:
        await one.say(b"I am not HTTP\r\n\r\n")

    stub.behaviour = rubbish
    status, _ = await Client(relay, "/v1/chat/completions", CHAT).answer()
    assert status == 503


async def test_a_conversation_is_tokenized_as_llama_server_renders_it(stub: Stub, relay: Relay) -> None:
    async def two(one: Conversation) -> None:
        if one.path == "/apply-template":
            assert "model" not in one.body
            await one.json(200, {"prompt": "<s>hi"})
        else:
            assert one.body == {"content": "<s>hi", "add_special": True, "parse_special": True}
            await one.json(200, {"tokens": [1, 2, 3]})

    stub.behaviour = two
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    status, raw = await Client(relay, "/tokenize", body).answer()
    assert status == 200
    assert json.loads(raw) == {"count": 3, "max_model_len": 128, "tokens": [1, 2, 3], "token_strs": None}


@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/props"), ("GET", "/slots"), ("POST", "/completion"), ("POST", "/v1/embeddings"), ("POST", "/props"),
    ("POST", "/slots/0"), ("POST", "/lora-adapters"), ("GET", "/"), ("GET", "/v1/chat/completions"),
    ("POST", "//v1/chat/completions"), ("POST", "/v1/chat/completions/"), ("POST", "/v1/messages"),
    ("POST", "/infill"), ("POST", "/health"),
])
async def test_nothing_else_of_llama_server_is_reachable(stub: Stub, relay: Relay, method: str, path: str) -> None:
    status, _ = await Client(relay, path, {}, method).answer()
    assert status == 404 and not stub.conversations
