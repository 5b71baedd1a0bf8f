"""The ASGI application behind the contract: few routes, and bytes both ways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from modelkit.engines.llama_host.events import Answer, event
from modelkit.engines.llama_host.request import Asked, Kind, ask
from modelkit.engines.llama_host.upstream import Exchange, Upstream, UpstreamLost, dumps_error

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_GENERATION: dict[str, Kind] = {"/v1/chat/completions": "chat", "/v1/completions": "text"}
_PASSED = {"/health": ("/health", b"application/json"), "/metrics": ("/metrics", b"text/plain; version=0.0.4"),
           "/modelkit/props": ("/props", b"application/json")}  # the last one for the contract alone
_EVENT_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class _BadBody(Exception):
    """Not what the contract lets through."""


class Relay:
    """llama-server's generation, seen as the contract promises it; nothing else of it is reachable.

    `lost` is set once llama-server turns out to be gone, for the host to end with it.
    """

    def __init__(self, upstream: Upstream, *, slots: int, context_length: int, fingerprint: str) -> None:
        self._upstream = upstream
        self._slots = slots
        self._context_length = context_length
        self._fingerprint = fingerprint
        self.lost = asyncio.Event()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        try:
            if method == "POST" and path in _GENERATION:
                await self._generate(_GENERATION[path], await _json(receive), receive, send)
            elif method == "POST" and path == "/tokenize":
                await _answer(send, *await self._tokenize(await _json(receive)))
            elif method == "POST" and path == "/detokenize":
                await _answer(send, *await self._detokenize(await _json(receive)))
            elif method == "GET" and path in _PASSED:
                await self._pass(path, send)
            else:
                missing = dumps_error(f"there is no {method} {path}", "invalid_request_error", "not_found")
                await _answer(send, 404, missing)
        except _BadBody as error:
            await _answer(send, 400, dumps_error(str(error), "invalid_request_error", "invalid_json"))
        except UpstreamLost as error:
            self.lost.set()
            await _answer(send, 503, dumps_error(str(error), "server_error", "engine_unavailable"))

    # generation

    async def _generate(self, kind: Kind, body: dict[str, Any], receive: Receive, send: Send) -> None:
        asked = ask(kind, body, self._slots)
        exchanges: list[Exchange] = []
        gone = asyncio.ensure_future(_disconnected(receive))
        work = asyncio.ensure_future(self._serve(asked, exchanges, send))
        try:
            await asyncio.wait((gone, work), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
        finally:
            for exchange in exchanges:
                exchange.close()  # whatever is still being generated ends here
            gone.cancel()
            work.cancel()
            await asyncio.wait((gone, work))

    async def _serve(self, asked: Asked, exchanges: list[Exchange], send: Send) -> None:
        for part in asked.parts:
            exchanges.append(await self._upstream.open("POST", asked.path, part.body))
        if (refusal := await self._refusal(exchanges)) is not None:
            await _answer(send, *refusal)
            return
        answer = Answer(asked, self._fingerprint)
        if asked.stream:
            await send({"type": "http.response.start", "status": 200, "headers": _EVENT_STREAM})
        await self._pump(answer, exchanges, asked, send)
        if asked.stream:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif answer.error is not None:
            await _answer(send, answer.status, answer.error)
        else:
            await _answer(send, 200, answer.whole())

    async def _refusal(self, exchanges: list[Exchange]) -> tuple[int, Any] | None:
        """llama-server's own answer when it refuses. The first part that is heard decides: others may have to wait."""
        if len(exchanges) == 1:
            first = exchanges[0]
            await first.head()
        else:
            heads = [asyncio.ensure_future(e.head()) for e in exchanges]
            done, late = await asyncio.wait(heads, return_when=asyncio.FIRST_COMPLETED)
            for head in late:
                head.cancel()
            first = exchanges[heads.index(done.pop())]
        if first.status < 400:
            return None
        return first.status, await first.body()

    async def _pump(self, answer: Answer, exchanges: list[Exchange], asked: Asked, send: Send) -> None:
        async def one(part: int, exchange: Exchange) -> None:
            if (status := await exchange.head()) >= 400:
                answer.status, answer.error = status, json.loads(await exchange.body())
                return
            while data := await exchange.read():
                if out := answer.feed(part, data):
                    await send({"type": "http.response.body", "body": out, "more_body": True})

        try:
            if len(exchanges) == 1:
                await one(0, exchanges[0])
            else:
                await asyncio.gather(*(one(n, e) for n, e in enumerate(exchanges)))
        except UpstreamLost as error:
            self.lost.set()
            answer.error = dumps_error(str(error), "server_error", "engine_unavailable")
        if asked.stream and not answer.complete and answer.error is not None:
            # A stream that breaks says so: without this the client would see a short answer.
            await send({"type": "http.response.body", "body": event(answer.error), "more_body": True})

    # the rest

    async def _tokenize(self, body: dict[str, Any]) -> tuple[int, Any]:
        """vLLM's `/tokenize`: the ids that llama-server would see for this conversation or this text."""
        if "messages" in body:
            rendering = {k: v for k, v in body.items() if k not in ("model", "return_token_strs", "add_special_tokens")}
            status, raw = await self._upstream.call("POST", "/apply-template", json.dumps(rendering).encode())
            if status != 200:
                return status, raw
            content, special = json.loads(raw)["prompt"], True
        else:
            content, special = body.get("prompt", ""), body.get("add_special_tokens") is not False
        text = {"content": content, "add_special": special, "parse_special": True}
        status, raw = await self._upstream.call("POST", "/tokenize", json.dumps(text).encode())
        if status != 200:
            return status, raw
        tokens = json.loads(raw)["tokens"]
        return 200, {"count": len(tokens), "max_model_len": self._context_length, "tokens": tokens, "token_strs": None}

    async def _detokenize(self, body: dict[str, Any]) -> tuple[int, Any]:
        """vLLM's `/detokenize`: the text of token ids."""
        tokens = json.dumps({"tokens": body.get("tokens", [])}).encode()
        status, raw = await self._upstream.call("POST", "/detokenize", tokens)
        return (200, {"prompt": json.loads(raw)["content"]}) if status == 200 else (status, raw)

    async def _pass(self, path: str, send: Send) -> None:
        theirs, kind = _PASSED[path]
        exchange = await self._upstream.open("GET", theirs)
        try:
            status = await exchange.head()
            await _answer(send, status, await exchange.body(), kind)
        finally:
            exchange.close()


async def _json(receive: Receive) -> dict[str, Any]:
    """The request's body; the contract has checked that it is a JSON object."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _BadBody("the client went away")
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    try:
        value = json.loads(body)
    except ValueError:
        raise _BadBody("the body is not JSON") from None
    if not isinstance(value, dict):
        raise _BadBody("the body is not a JSON object")
    return value


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, body: Any, kind: bytes = b"application/json") -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    headers = [(b"content-type", kind), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw, "more_body": False})
