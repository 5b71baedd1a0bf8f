"""The load for benchmarks/edge.py: kept-alive connections, each with one request out at a time.

    python benchmarks/edge_load.py requests|traced|streams HOST:PORT|SOCKET CONNECTIONS SECONDS [PID ...]

Prints one JSON object, with the processor time that it and the processes of the PIDs used meanwhile. It checks that
every answer ends as it should, and nothing else, to stay cheap.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from itertools import cycle
from time import perf_counter
from typing import cast

import psutil
import uvloop

# Conversations differ in length, but a client's headers are mostly the same from one request to the next; with
# `traced` each request has a header of its own.
PROMPT = b'{"model":"null","messages":[{"role":"user","content":"Say hello%b, would you?"}],"stream":false}'
PROMPTS = [PROMPT % (b"!" * n) for n in range(0, 70, 10)]
HEADERS = (b"Host: localhost:8080\r\nAccept: application/json\r\nUser-Agent: OpenAI/Python 1.99.0\r\n"
           b"Authorization: Bearer benchmark-key\r\nX-Stainless-Lang: python\r\nAccept-Encoding: identity\r\n"
           b"Content-Type: application/json\r\n")
PATHS = {"requests": b"/v1/chat/completions", "traced": b"/v1/chat/completions", "streams": b"/v1/completions"}
ENDS = {"requests": b'"total_tokens":15}}', "traced": b'"total_tokens":15}}', "streams": b"\r\n0\r\n\r\n"}


class Caller(asyncio.Protocol):
    """One connection; asks again as soon as it has its answer."""

    def __init__(self, kind: str) -> None:
        traces = [b"traceparent: 00-%032x-%016x-01\r\n" % (n, n) for n in range(len(PROMPTS))]
        self.requests = cycle([b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (
            PATHS[kind], HEADERS, trace if kind == "traced" else b"", len(prompt), prompt)
            for trace, prompt in zip(traces, PROMPTS, strict=True)])
        self.end = ENDS[kind]
        self.streams = kind == "streams"
        self.answers = self.chunks = self.reads = 0
        self.stopping = False
        self.tail = b""
        self.times: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.ask()

    def ask(self) -> None:
        self.asked = perf_counter()
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        if self.streams:
            self.chunks += data.count(b"\ndata: ")
        if not data.endswith(self.end):
            if len(data) >= len(self.end):
                self.tail = b""
                return
            self.tail = (self.tail + data)[-len(self.end):]
            if self.tail != self.end:
                return
        self.answers += 1
        self.times.append(perf_counter() - self.asked)
        if self.stopping:
            self.transport.close()
        else:
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.stopping:
            sys.exit("the connection was closed")


def cpu(pids: list[int]) -> list[float]:
    """Processor seconds that each process has used, user and system; 0 is this one."""
    return [sum(psutil.Process(pid or None).cpu_times()[:2]) for pid in pids]


async def load(kind: str, target: str, connections: int, seconds: float, pids: list[int]) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    callers = []
    for _ in range(connections):
        if target.startswith("/"):
            _, caller = await loop.create_unix_connection(lambda: Caller(kind), target)
        else:
            host, _, port = target.rpartition(":")
            _, caller = await loop.create_connection(lambda: Caller(kind), host, int(port))
        callers.append(caller)
    await asyncio.sleep(min(1.0, seconds / 4))  # warm
    before, used, began = total(callers), cpu(pids), perf_counter()
    for caller in callers:
        caller.times.clear()
    await asyncio.sleep(seconds)
    after, took = total(callers), perf_counter() - began
    used = [after - before for before, after in zip(used, cpu(pids), strict=True)]
    times = [time for caller in callers for time in caller.times] or [float("nan")]
    answers, chunks, reads = (b - a for a, b in zip(before, after, strict=True))
    for caller in callers:
        caller.stopping = True
        caller.transport.abort()
    return {"requests_per_s": answers / took, "chunks_per_s": chunks / took, "chunks_per_read": chunks / max(reads, 1),
            "median_ms": statistics.median(times) * 1000, "cpu_per_s": [seconds / took for seconds in used]}


def total(callers: list[Caller]) -> tuple[int, int, int]:
    return sum(c.answers for c in callers), sum(c.chunks for c in callers), sum(c.reads for c in callers)


def yield_to_others() -> None:
    """Interrupt nobody that we wake: else the load would measure its own interruptions of what it measures."""
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


if __name__ == "__main__":
    yield_to_others()
    arguments = sys.argv[1:]
    print(json.dumps(uvloop.run(load(arguments[0], arguments[1], int(arguments[2]), float(arguments[3]),
                                     [0, *map(int, arguments[4:])]))))
