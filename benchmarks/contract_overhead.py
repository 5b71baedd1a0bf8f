"""What the contract costs by itself: one chat request through a null application, with it and without it, in-process.

    python benchmarks/contract_overhead.py [--requests N]

Prints microseconds a request and their ratio; no server, no socket, no engine. `stream` sends 64 chunks a request, so
that what a chunk costs shows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from typing import Any

from modelkit.contract.middleware import App, Contract
from modelkit.contract.profile import Profile

CHUNKS = 64

PROFILE = Profile(
    name="quickstart", dialect="vllm", context_length=2048,
    system="You are a helpful assistant. Answer in one short sentence.",
    defaults={"temperature": 0.2, "top_p": 0.9, "top_k": 40}, stop=("<|im_end|>",), max_tokens=64,
)
QUESTION = {"model": "quickstart", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
LONG = {**QUESTION, "messages": [{"role": ("user", "assistant")[turn % 2], "content": "word " * 200}
                                 for turn in range(41)]}


def null(chunks: int) -> App:
    """An application that reads its body and answers `chunks` pieces of nothing."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for left in range(chunks - 1, -1, -1):
            await send({"type": "http.response.body", "body": b"x", "more_body": left > 0})

    return application


async def seconds(app: App, body: bytes, requests: int) -> float:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        pass

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"),
               (b"content-length", str(len(body)).encode())]
    begun = time.perf_counter()
    for _ in range(requests):
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
        await app(scope, receive, send)
    return (time.perf_counter() - begun) / requests


def measure(name: str, question: dict[str, Any], chunks: int, requests: int) -> None:
    """The median of seven interleaved rounds."""
    body = json.dumps(question).encode()
    bare, contract = null(chunks), Contract(null(chunks), PROFILE)
    rounds = [[asyncio.run(seconds(app, body, requests)) for app in (bare, contract)] for _ in range(7)]
    without, having = (statistics.median(one[side] for one in rounds) * 1e6 for side in (0, 1))
    print(f"{name:<22} {len(body):>7} bytes   without {without:8.2f} µs   with {having:8.2f} µs   "
          f"cost {having - without:8.2f} µs   ratio {having / without:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000, help="a round (default 5000)")
    requests = parser.parse_args().requests
    measure("a question", QUESTION, 1, requests)
    measure("41 turns", LONG, 1, max(1, requests // 20))
    measure(f"a stream of {CHUNKS}", {**QUESTION, "stream": True}, CHUNKS, max(1, requests // 5))


if __name__ == "__main__":
    main()
