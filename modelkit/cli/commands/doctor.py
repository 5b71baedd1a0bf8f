"""`modelkit doctor`."""

from __future__ import annotations

import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelkit.cli import project
from modelkit.cli.stages import LLAMA, engines_found, llama_found
from modelkit.cli.terminal import Terminal
from modelkit.places import place

if TYPE_CHECKING:
    from modelkit.engines.llama_providers import Provider
    from modelkit.planning.plan import Engine
    from modelkit.runtime.environments import EngineEnvironment
    from modelkit.runtime.machine import Gpu

Verdict = Literal["ok", "warn", "fail"]

_UPDATE = {"xllamacpp": "pip install -U xllamacpp", "llama-server": "update llama-server",
           "llama-cpp-python": "update modelkit: it is written for this version"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `fix` is what to type."""

    what: str
    verdict: Verdict
    found: str
    fix: str = ""


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Look at what `up` needs; 1 when something makes it impossible."""
    del arguments
    from modelkit.runtime import environments, machine

    llama = llama_found()
    engines, installed, gpus = engines_found(llama), environments.installed(), machine.gpus()
    findings = [_python(), *_llama(llama), *_engines(engines), *_gpus(gpus, installed),
                *_advisories(engines, installed), *_tools(), *_clients(), *_folders(), _disk(), _key()]
    terminal.document({"schema": "modelkit.doctor/1", "findings": [vars(f) for f in findings]})
    terminal.table(("", "WHAT", "FOUND", "FIX"), [(f.verdict, f.what, f.found, f.fix) for f in findings])
    return 1 if any(f.verdict == "fail" for f in findings) else 0


def _python() -> Finding:
    return Finding("python", "ok", sys.version.split()[0])


def _engines(found: dict[str, Engine]) -> Iterator[Finding]:
    engine = found.get("vllm")
    if engine:
        yield Finding("engine vllm (prod)", "ok", f"{engine.version} {engine.variant}, {engine.provider}")
    else:
        yield Finding("engine vllm (prod)", "warn", "not installed", "modelkit engine install vllm")


def _llama(found: Sequence[Provider]) -> Iterator[Finding]:
    """Who provides llama.cpp, which others are here, and what our own engine lacks where it is not the one."""
    from modelkit.engines.llama_providers import EXTRA, lacking, taken, why

    what, install = "engine llama.cpp (dev)", "modelkit engine install llama.cpp"
    one = taken(found, "llama.cpp")
    if one is None:
        yield Finding(what, "fail", "not installed", f"{install}, or without a compiler: "
                      "pip install 'modelkit-llm[llamacpp]'")
        return
    variant = f" {one.engine.variant}" if one.engine.variant else ""
    yield Finding(what, "ok", f"{one.engine.version}{variant}, {one.engine.provider} {one.where}; "
                  + why(found, one, "llama.cpp"))
    if missing := lacking():
        yield Finding("llama-cpp-python", "warn", f"in modelkit's own Python, without {', '.join(missing)}", EXTRA)




def _gpus(gpus: tuple[Gpu, ...] | str, installed: list[EngineEnvironment]) -> Iterator[Finding]:
    """NVIDIA's driver and its GPUs; a vLLM for CPUs alone beside them wastes them."""
    if isinstance(gpus, str):
        yield Finding("gpu", "warn", f"the driver does not answer: {gpus}", "reinstall NVIDIA's driver, or reboot")
        return
    if not gpus:
        yield Finding("gpu", "ok", "none of NVIDIA's: engines compute on the processor")
        return
    for gpu in gpus:
        yield Finding("gpu", "ok", f"{gpu.name}, {gpu.memory / 2**30:.0f} GiB, driver {gpu.driver}")
    variants = {one.variant for one in installed if one.engine == "vllm"}
    if variants and "cuda" not in variants:
        yield Finding("vllm on gpu", "warn", "only a build for CPUs is installed",
                      "modelkit engine install vllm --variant cuda")


def _advisories(engines: dict[str, Engine], installed: list[EngineEnvironment]) -> Iterator[Finding]:
    """Known weaknesses of what is installed: grave ones fail, others warn, and those out of reach are counted."""
    from modelkit.engines.advisories import GRAVE, advisories

    here = {(one.engine, one.version): f"modelkit engine rm {one.engine} --version {one.version}" for one in installed}
    here |= {(one.provider if one.provider == "llama-cpp-python" else word, one.version): _UPDATE[one.provider]
             for word, one in engines.items() if word in LLAMA}
    for (name, version), away in here.items():
        known = advisories(name, version)
        reachable = [one for one in known if not one.unless]
        for one in reachable:
            fix = f"allow {name} {one.fixed} or later, then {away}" if one.fixed else away
            rated = "not rated" if one.severity == "unrated" else one.severity
            yield Finding(f"{name} {version}", "fail" if one.severity in GRAVE else "warn",
                          f"{one.id} ({rated}): {one.summary}", fix)
        if not reachable:
            beside = f"; {len(known)} out of reach" if known else ""
            yield Finding(f"{name} {version}", "ok", f"no weakness known{beside}")


def _tools() -> Iterator[Finding]:
    """Tools are made when they are first needed: that one is not here is no fault."""
    from modelkit.cli.commands.tool import TOOLS
    from modelkit.runtime.environments import find_tool

    for name in TOOLS:
        one = find_tool(name)
        yield Finding(f"tool {name}", "ok", one.version if one else f"not installed (modelkit tool install {name})")


def _clients() -> Iterator[Finding]:
    """Programs of other platforms: absent ones are only named."""
    from modelkit.runtime.machine import clients

    for client in clients():
        what, uses = f"client {client.name}", ", ".join(client.platforms)
        if not client.present:
            yield Finding(what, "ok", f"not here ({uses})")
        elif client.problem:
            yield Finding(what, "warn", client.problem, f"start or mend it before a stage on {uses}")
        else:
            yield Finding(what, "ok", f"{client.version or 'here'} ({uses})")


def _folders() -> list[Finding]:
    findings = []
    for kind in ("cache", "data", "state", "run"):
        path = place(kind)
        nearest = next(p for p in (path, *path.parents) if p.exists())
        writable = nearest.is_dir() and os.access(nearest, os.W_OK)
        findings.append(Finding(f"{kind} folder", "ok" if writable else "fail", str(path),
                                "" if writable else f"make {nearest} writable, or set MODELKIT_HOME"))
    return findings


def _disk() -> Finding:
    path: Path = next(p for p in (place("cache"), *place("cache").parents) if p.exists())
    free = shutil.disk_usage(path).free
    low = free < 2e9
    return Finding("disk", "warn" if low else "ok", f"{free / 1e9:.1f} GB free for models",
                   "free some space: a model needs its file's size, its vLLM form two bytes a weight" if low else "")


def _key() -> Finding:
    is_set = bool(os.environ.get(project.API_KEY_VARIABLE))
    return Finding("api key", "ok", f"{project.API_KEY_VARIABLE} is {'set' if is_set else 'not set'}"
                   + ("" if is_set else " (needed for any address but loopback)"))
