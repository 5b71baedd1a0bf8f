"""An engine with no model and many vices: HTTP on a Unix socket, standard library only.

    python stub_engine.py --socket PATH [vices]

It answers `/health`, `/v1/models` and `/v1/chat/completions` (streamed or not): a fixed sentence, one word a token.
Each vice is a way in which real engines have been seen to fail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "then", "it", "rests")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--name", default="stub")
    parser.add_argument("--token-seconds", type=float, default=0.0, help="between two tokens")
    parser.add_argument("--load-seconds", type=float, default=0.0, help="/health says 503 for so long")
    parser.add_argument("--never-ready", action="store_true", help="/health says 503 for ever")
    parser.add_argument("--lying-health", action="store_true", help="/health is fine, but no request works")
    parser.add_argument("--die-after", type=float, metavar="SECONDS", help="exit with status 3, after being ready")
    parser.add_argument("--die-on-request", type=int, metavar="N", help="SIGKILL itself on the Nth generation")
    parser.add_argument("--die-at-start", metavar="WORDS", help="print them and exit with status 1")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--slow-sigterm", type=float, default=0.0, metavar="SECONDS", help="takes so long to end")
    parser.add_argument("--spawn-grandchild", action="store_true", help="a sleeper in a session of its own")
    parser.add_argument("--flood", type=int, metavar="MIB", help="print so much, as fast as it is read")
    parser.add_argument("--half-stream", action="store_true", help="close a stream in its middle")
    parser.add_argument("--slow-first-byte", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--wrong-socket", action="store_true", help="listen on another path")
    parser.add_argument("--impostor", action="store_true", help="a stranger listens on the path, not this process")
    parser.add_argument("--memory", type=int, default=0, metavar="MIB", help="hold so much")
    parser.add_argument("--effective", metavar="JSON", help="what it says that it has")
    parser.add_argument("--say", action="append", default=[], help="a line to print at start")
    parser.add_argument("--say-requests", action="store_true", help="print the body of each generation's request")
    parser.add_argument("--say-env", action="append", default=[], help="print a variable of the environment")
    return parser.parse_args()


class Stub:
    """One engine's behaviour."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.loaded_at = time.monotonic() + given.load_seconds
        self.generations = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await self._head(reader)) is not None:
                method, path, headers = head
                body = await self._body(reader, headers)
                await self._answer(method, path, body, writer)
                await writer.drain()
                if headers.get("connection", "").lower() == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]] | None:
        line = (await reader.readline()).decode()
        if not line:
            return None
        method, path, _ = line.split(" ", 2)
        headers = {}
        while (line := (await reader.readline()).decode().strip()):
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return method, path, headers

    @staticmethod
    async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" not in headers:
            return await reader.readexactly(int(headers.get("content-length", 0)))
        body = b""
        while (size := int(await reader.readline(), 16)):
            body += (await reader.readexactly(size + 2))[:size]
        await reader.readline()
        return body

    async def _answer(self, method: str, path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        if path == "/health":
            loading = self.given.never_ready or time.monotonic() < self.loaded_at
            return self._reply(writer, 503 if loading else 200, {"status": "loading" if loading else "ok"})
        if path == "/modelkit/effective" and self.given.effective is not None:
            return self._reply(writer, 200, json.loads(self.given.effective))
        if path == "/v1/models":
            return self._reply(writer, 200, {"object": "list", "data": [{"id": self.given.name, "object": "model"}]})
        if path == "/v1/chat/completions" and method == "POST":
            return await self._chat(json.loads(body), writer)
        return self._reply(writer, 404, {"error": {"message": "no such route", "code": "not_found"}})

    async def _chat(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.generations += 1
        if self.given.say_requests:
            print(json.dumps(request), flush=True)
        if self.given.lying_health:
            return self._reply(writer, 500, {"error": {"message": "EngineCore is dead", "code": "internal"}})
        if self.generations == self.given.die_on_request:
            os.kill(os.getpid(), signal.SIGKILL)
        count = int(request.get("max_tokens") or len(WORDS))
        tokens = [f"{WORDS[n % len(WORDS)]} " for n in range(count)]
        await asyncio.sleep(self.given.slow_first_byte)
        if request.get("stream"):
            return await self._stream(tokens, writer)
        await asyncio.sleep(self.given.token_seconds * count)
        self._reply(writer, 200, {
            "id": "stub", "object": "chat.completion", "model": self.given.name,
            "choices": [{"index": 0, "finish_reason": "length",
                         "logprobs": {"content": []} if request.get("logprobs") else None,
                         "message": {"role": "assistant", "content": "".join(tokens)}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": count + 1}})
        return None

    async def _stream(self, tokens: list[str], writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number, token in enumerate(tokens):
            if self.given.half_stream and number == len(tokens) // 2:
                writer.transport.abort()
                raise ConnectionAbortedError
            await self._event(writer, {"choices": [{"index": 0, "delta": {"content": token}}]})
            await asyncio.sleep(self.given.token_seconds)
        await self._event(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
        text = b"data: [DONE]\n\n"
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text))

    async def _event(self, writer: asyncio.StreamWriter, chunk: dict[str, Any]) -> None:
        whole = {"id": "stub", "object": "chat.completion.chunk", "model": self.given.name, **chunk}
        text = b"data: %b\n\n" % json.dumps(whole).encode()
        writer.write(b"%x\r\n%b\r\n" % (len(text), text))
        await writer.drain()

    @staticmethod
    def _reply(writer: asyncio.StreamWriter, status: int, value: dict[str, Any]) -> None:
        text = json.dumps(value).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                     % (status, len(text), text))


def flood(mib: int) -> None:
    line = (b"x" * 127 + b"\n") * 8192
    for _ in range(mib):
        os.write(2, line)


def sleeper() -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)


def stranger(path: str) -> None:
    """Somebody who isn't in our process tree listens on our socket: forked twice, in a session of its own."""
    code = ("import os, sys, subprocess\n"
            "if os.fork(): os._exit(0)\n"
            "os.setsid()\n"
            "if os.fork(): os._exit(0)\n"
            "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n")
    subprocess.run([sys.executable, "-c", code, __file__, "--socket", path], check=True)


def listen(given: argparse.Namespace) -> socket.socket:
    path = given.socket + ".other" if given.wrong_socket else given.socket
    Path(path).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    return listening


def ending(seconds: float) -> Callable[[int, object], None]:
    """Say each SIGTERM; the first one ends it after `seconds`."""
    def told(_: int, __: object) -> None:
        print("got SIGTERM", flush=True)
        threading.Timer(seconds, os._exit, [0]).start()

    return told


async def run(given: argparse.Namespace) -> None:
    server = await asyncio.start_unix_server(Stub(given).serve, sock=listen(given), backlog=1024)
    if given.die_after is not None:
        asyncio.get_running_loop().call_later(given.die_after, lambda: (print("dying now", flush=True), os._exit(3)))
    async with server:
        await server.serve_forever()


def main() -> None:
    given = arguments()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if given.ignore_sigterm else ending(given.slow_sigterm))
    for line in given.say:
        print(line, flush=True)
    for name in given.say_env:
        print(f"{name}={os.environ.get(name)}", flush=True)
    if given.die_at_start is not None:
        sys.exit(given.die_at_start)
    if given.spawn_grandchild:
        sleeper()
    held = bytearray(os.urandom(1024)) * 1024 * given.memory
    if given.flood:
        threading.Thread(target=flood, args=(given.flood,), daemon=True).start()
    if given.impostor:
        stranger(given.socket)
        time.sleep(600)
    asyncio.run(run(given))
    del held


if __name__ == "__main__":
    main()
