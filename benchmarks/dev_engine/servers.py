"""The servers that are compared, each as its own makers would start it for this machine, on the same GGUF file."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.dev_engine.client import Target, first_token
from modelkit.contract.profile import Profile
from modelkit.llamacpp import cores
from modelkit.llamacpp.config import Config

CONTEXT = 4096
NAME = "bench"
START = 120.0  # seconds until a server that does not come up counts as broken


@dataclass(frozen=True)
class Peers:
    """What was found to compare with. None, and the reason is printed, where it is not here."""

    llama_server: Path | None
    batched_bench: Path | None


@dataclass
class Server:
    """One that answers. `started` is seconds from its launch to its first token."""

    name: str
    target: Target
    process: psutil.Process
    started: float

    def memory(self) -> int:
        """Bytes of its processes that no other one shares, and its pages of the model's file."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(one.memory_info().rss for one in family)

    def processor(self) -> float:
        """Seconds of processor that it has used."""
        times = [one.cpu_times() for one in (self.process, *self.process.children(recursive=True))]
        return float(sum(t.user + t.system for t in times))


@contextmanager
def servers(names: list[str], gguf: Path, folder: Path, slots: int, peers: Peers) -> Iterator[dict[str, Server]]:
    """All of them, loaded and idle; each has answered once."""
    with ExitStack() as stack:
        found = {}
        for name in names:
            run = folder / name
            run.mkdir(parents=True)
            argv, target = _COMMANDS[name](gguf, run, slots, peers)
            found[name] = stack.enter_context(_running(name, argv, target, run))
        yield found


def starts(names: list[str], gguf: Path, folder: Path, slots: int, peers: Peers, *,
           rounds: int) -> dict[str, list[float]]:
    """Seconds from launch to first token, one after the other; a first round, which reads the file, is not kept."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names:
            with servers([name], gguf, folder / f"{number}", slots, peers) as running:
                found[name] += [running[name].started] if number else []
    return found


def _environment() -> dict[str, str]:
    """All wait for their threads in the same way, as ours says."""
    said = dict(os.environ)
    cores.wait_politely(cores.usable_cores(), said)
    return said


@contextmanager
def _running(name: str, argv: list[str], target: Target, run: Path) -> Iterator[Server]:
    began = time.perf_counter()
    with (run / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=_environment())
    try:
        _wait(process, target, run, began + START)
        yield Server(name, target, psutil.Process(process.pid), time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], target: Target, run: Path, until: float) -> None:
    while True:
        if process.poll() is not None or time.perf_counter() > until:
            raise SystemExit(f"{run.name} did not start: {(run / 'log').read_text(errors='replace')[-2000:]}")
        try:
            first_token(target)
            return
        except (OSError, ValueError, AssertionError):
            time.sleep(0.02)


def _modelkit(gguf: Path, run: Path, slots: int, peers: Peers) -> tuple[list[str], Target]:
    profile = Profile(name=NAME, dialect="llamacpp", context_length=CONTEXT)
    (run / "profile.json").write_text(json.dumps(profile.as_json()))
    config = Config(model=str(gguf), socket=str(run / "s"), profile=str(run / "profile.json"), fingerprint="bench",
                    context_length=CONTEXT, max_concurrency=slots, kv_tokens=_cells(slots))
    (run / "config.json").write_text(json.dumps(config.as_json()))
    return [sys.executable, "-m", "modelkit.llamacpp", "--config", str(run / "config.json")], Target(path=config.socket)


def _llama_server(gguf: Path, run: Path, slots: int, peers: Peers) -> tuple[list[str], Target]:
    port = _free_port()
    argv = [str(peers.llama_server), *_flags(gguf, slots), "--host", "127.0.0.1", "--port", str(port)]
    return argv, Target(port=port)


def _xllamacpp(gguf: Path, run: Path, slots: int, peers: Peers) -> tuple[list[str], Target]:
    """The wheel's own server, behind nothing of ours."""
    code = ("import sys, time, xllamacpp as x\n"
            "p = x.CommonParams(); p.model.path, p.hostnames, p.port = sys.argv[1], ['127.0.0.1'], int(sys.argv[2])\n"
            "p.n_parallel, p.n_ctx, p.kv_unified = int(sys.argv[3]), int(sys.argv[4]), True\n"
            "p.cpuparams.n_threads = p.cpuparams_batch.n_threads = int(sys.argv[5])\n"
            "s = x.Server(p)\ntime.sleep(1e9)\n")
    port = _free_port()
    return [sys.executable, "-c", code, str(gguf), str(port), str(slots), str(_cells(slots)), str(_threads())], \
        Target(port=port)


def _llama_cpp_server(gguf: Path, run: Path, slots: int, peers: Peers) -> tuple[list[str], Target]:
    """It has one context and answers one request at a time; told not to let a new one cut a running one."""
    port = _free_port()
    argv = [sys.executable, "-m", "llama_cpp.server", "--model", str(gguf), "--n_ctx", str(CONTEXT), "--port",
            str(port), "--n_threads", str(_threads()), "--interrupt_requests", "false"]
    return argv, Target(port=port, streams=False)


_COMMANDS = {"modelkit": _modelkit, "llama-server": _llama_server, "xllamacpp": _xllamacpp,
             "llama_cpp.server": _llama_cpp_server}


def _flags(gguf: Path, slots: int) -> list[str]:
    """Everything else is llama-server's default, the 2,048 tokens of a step too."""
    return ["--model", str(gguf), "--parallel", str(slots), "--ctx-size", str(_cells(slots)), "--kv-unified",
            "--threads", str(_threads()), "--no-webui"]


def _cells(slots: int) -> int:
    """Room for all conversations of this benchmark at once; the same for every server."""
    return max(2 * CONTEXT, 512 * slots)


def _threads() -> int:
    return psutil.cpu_count(logical=False) or 1


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ceiling(binary: Path, gguf: Path, streams: list[int], prompt: int, tokens: int) -> dict[int, float]:
    """Tokens a second that llama.cpp's own batched-bench decodes: no HTTP, no sampling, no prompts."""
    said = subprocess.run(
        [str(binary), "-m", str(gguf), "-c", str((prompt + tokens) * max(streams) + 512), "-npp", str(prompt), "-ntg",
         str(tokens), "-npl", ",".join(map(str, streams)), "-t", str(_threads()), "-kvu"],
        capture_output=True, text=True, check=True, env=_environment()).stdout
    rows = [re.findall(r"[\d.]+", line) for line in said.splitlines() if re.match(r"\|\s*\d", line)]
    return {int(row[2]): float(row[7]) for row in rows}  # PP TG B N_KV T_PP S_PP T_TG S_TG T S


def find_peers(build: Path | None) -> Peers:
    """Binaries of a llama.cpp build, else those on PATH."""
    def one(name: str) -> Path | None:
        at = build / "bin" / name if build else None
        named = str(at) if at is not None and at.exists() else shutil.which(name)
        return Path(named) if named else None

    return Peers(one("llama-server"), one("llama-batched-bench"))
