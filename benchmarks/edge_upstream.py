"""A null engine for benchmarks/edge.py: HTTP on a Unix socket, with answers made beforehand.

`/v1/chat/completions` is answered at once with one small JSON body. `/v1/completions` is answered with a stream: in
each turn of the loop every open stream gets one chunk in a write of its own, as from an engine that steps a batch.
It knows only the requests of benchmarks/edge_load.py, each of which ends in `}` and comes in one read.
"""

from __future__ import annotations

import asyncio
import sys
from typing import ClassVar, cast

import uvloop
from edge_load import yield_to_others

EVENT = (b'data: {"id":"cmpl-0123456789abcdef0123456789abcdef","object":"text_completion","created":1790000000,'
         b'"model":"null","choices":[{"index":0,"text":" token","logprobs":null,"finish_reason":null,'
         b'"stop_reason":null,"prompt_token_ids":null}],"usage":null}\n\n')
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
LAST = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
CHUNKS = 500  # of one stream
HEAD = (b"HTTP/1.1 200 OK\r\ndate: Mon, 23 Nov 2026 01:00:00 GMT\r\nserver: null\r\n"
        b"content-type: %b\r\n%b\r\n\r\n")
BODY = (b'{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1790000000,"model":"null","choices":'
        b'[{"index":0,"message":{"role":"assistant","content":"Hello!"},"logprobs":null,"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}')
ANSWER = HEAD % (b"application/json", b"content-length: %d" % len(BODY)) + BODY
STREAM = HEAD % (b"text/event-stream; charset=utf-8", b"transfer-encoding: chunked")


class Engine(asyncio.Protocol):
    streams: ClassVar[set[Engine]] = set()
    ticking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.left = 0
        self.paused = False

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST /v1/chat"):
            self.transport.write(ANSWER)
            return
        self.left = CHUNKS
        self.transport.write(STREAM)
        self.streams.add(self)
        if not Engine.ticking:
            Engine.ticking = True
            asyncio.get_running_loop().call_soon(self.tick)

    @classmethod
    def tick(cls) -> None:
        for stream in tuple(cls.streams):
            if stream.paused:
                continue
            stream.left -= 1
            if stream.left:
                stream.transport.write(CHUNK)
            else:
                stream.transport.write(LAST)
                cls.streams.discard(stream)
        Engine.ticking = bool(cls.streams)
        if cls.ticking:
            asyncio.get_running_loop().call_soon(cls.tick)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.streams.discard(self)


async def serve(path: str) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_unix_server(Engine, path)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    yield_to_others()
    uvloop.run(serve(sys.argv[1]))
