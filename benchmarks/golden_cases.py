"""Does a run of golden cases keep the engine's batch full? Beside the engine's own throughput, in one sitting.

    modelkit up -d --wait -s dev examples/quickstart
    python -m benchmarks.golden_cases examples/quickstart [--cases 200] [--rounds 3]

Both sides ask the same questions for the same number of tokens, in turn, `rounds` times. The engine's own throughput is
what threads of the standard library get out of it that only send and read, without streams, two for each of its places:
there is always a request waiting. Tokens are counted by the engine. The medians of the rounds' ratios are the result;
0.9 is what is wanted.

On a machine that does other work, too, look at the processor time of engine and client together: what one token costs,
which is what decides how many there are on cores that they have alone. `full` is how much of the engine's places was
taken while the tests ran, by the clients' clocks.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from modelkit.cli.project import find, project_of
from modelkit.cli.targets import Asked, running
from modelkit.language.modelfile import Layer, Modelfile, Said
from modelkit.language.source import Span
from modelkit.release.client import Client
from modelkit.release.testing import Case, Check, Options, Place, Turn, options_of, run_tests
from modelkit.release.testing.runner import sampling
from modelkit.runtime.client import connect

PLACE = Place("benchmark", 1, 1)
TOKENS = 48
MODELFILE = Modelfile("benchmark", Said("benchmark", Span(0, 0)), Layer())
CHECKS = (Check("max_tokens", TOKENS, PLACE, "max_tokens"), Check("no_leak", None, PLACE, "no_leak"),
          Check("regex", "[a-z]", PLACE, "regex"), Check("contains", {"texts": ("§",)}, PLACE, "not contains", True))


def cases(count: int) -> list[Case]:
    """Questions that differ from their first word on, answers that do not end by themselves."""
    return [Case(f"case {n}", PLACE, (Turn("user", f"{n} times: tell a story about the number {n} and the sea."),
                                      Turn("assistant", checks=CHECKS)), parameters={"max_tokens": TOKENS})
            for n in range(count)]


def tests(asked: Asked, count: int, width: int) -> tuple[int, float, float]:
    """Tokens, seconds and how full the places were, of a run of tests."""
    async def run() -> tuple[int, float, float]:
        options = options_of(MODELFILE, "dev", width=width)
        async with Client(asked.target) as client:
            report = await run_tests(cases(count), client, options)
        assert not report.count("error"), report.cases[0].attempts[0].why
        held = sum(attempt.seconds for case in report.cases for attempt in case.attempts)
        return report.tokens, report.seconds, held / report.seconds / width

    return asyncio.run(run())


class _Socket(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=600)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def alone(asked: Asked, count: int, width: int) -> tuple[int, float, float]:
    """Tokens and seconds of the same requests, from threads that only send and read."""
    bodies = [{"model": asked.target.model, "messages": [{"role": "user", "content": case.turns[0].content}],
               **sampling(case, 0, Options())} for case in cases(count)]
    queue = iter(bodies)

    def work(_: int) -> int:
        assert asked.target.socket is not None
        connection, tokens = _Socket(asked.target.socket), 0
        for body in queue:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            tokens += answer["usage"]["completion_tokens"]
        connection.close()
        return tokens

    began = time.monotonic()
    with ThreadPoolExecutor(2 * width) as threads:
        tokens = sum(threads.map(work, range(2 * width)))
    return tokens, time.monotonic() - began, 2.0


def processor(pid: int) -> float:
    """Seconds of processor time of this process and its children, and of the engine."""
    mine, engine = os.times(), psutil.Process(pid)
    used = sum(sum(one.cpu_times()[:2]) for one in (engine, *engine.children(recursive=True)))
    return sum(mine[:4]) + used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    asked = running(Path(find(given.file)), None)
    assert asked.plan is not None
    width = asked.plan.max_concurrency
    with connect(project_of(Path(find(given.file)))) as client:  # type: ignore[union-attr]
        pid = next(one["pid"] for one in client.status()["generations"] if one["socket"] == asked.target.socket)
    alone(asked, 2 * width, width)  # warm
    sides = [("engine", alone), ("tests", tests)]
    rates, costs = list[float](), list[float]()
    for number in range(given.rounds):
        rate, cost = dict[str, float](), dict[str, float]()
        for name, side in sides if number % 2 else sides[::-1]:
            before = processor(pid)
            tokens, seconds, full = side(asked, given.cases, width)
            rate[name], cost[name] = tokens / seconds, (processor(pid) - before) / tokens
            print(f"round {number + 1}  {name:<7}{tokens:>6} tokens in {seconds:6.2f} s  {rate[name]:7.1f} tokens/s  "
                  f"{1000 * cost[name]:6.2f} ms of processors a token  full {min(full, 1):.1%}", flush=True)
        rates.append(rate["tests"] / rate["engine"])
        costs.append(cost["engine"] / cost["tests"])
    for what, found in (("throughput", rates), ("processor time", costs)):
        print(f"{what}, tests to engine: {statistics.median(found):.3f} ({', '.join(f'{one:.3f}' for one in found)})")


if __name__ == "__main__":
    main()
