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
    from modelkit.runtime.hardware import Machine

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
    from modelkit.runtime import environments, hardware

    llama = llama_found()
    engines, installed = engines_found(llama), environments.installed()
    findings = [_python(), *_llama(llama), *_engines(engines), *_hardware(hardware.look(), installed),
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



def _hardware(here: Machine, installed: list[EngineEnvironment]) -> Iterator[Finding]:
    """Memory and GPUs, how fast each is read and what it holds; a vLLM for CPUs alone beside a GPU wastes it."""
    from modelkit.planning.fit.sizes import spelled

    one = here.hardware
    if one.ram is not None:
        free = f" ({spelled(one.ram_free)} free)" if one.ram_free is not None else ""
        read = f", {one.cpus} core{'s' if one.cpus > 1 else ''} read {_rate(one.cpu_bandwidth)}"
        yield Finding("memory", "ok", f"{spelled(one.ram)}{free}{read if one.cpu_bandwidth else ''}; {_holds(one.ram)}")
    for problem in here.problems:
        yield Finding("gpu", "warn", f"not all are seen: {problem}", "reinstall the GPU's driver, or reboot")
    if not one.devices and not here.problems:
        yield Finding("gpu", "ok", "none is seen: engines compute on the processor")
    for gpu in one.devices:
        free = f" ({spelled(gpu.free)} free)" if gpu.free is not None else ""
        facts = [f"{gpu.name}, {spelled(gpu.memory)}{free}", _rate(gpu.bandwidth) if gpu.bandwidth else "",
                 f"{gpu.link} to the others" if gpu.link not in ("none", "unified") else "",
                 f"sm_{gpu.capability}" if gpu.capability else "", f"driver {here.driver}" if here.driver else ""]
        yield Finding("gpu", "ok", f"{', '.join(fact for fact in facts if fact)}; {_holds(gpu.memory)}")
    variants = {each.variant for each in installed if each.engine == "vllm"}
    if variants and "cuda" not in variants and any(gpu.kind == "cuda" for gpu in one.devices):
        yield Finding("vllm on gpu", "warn", "only a build for CPUs is installed",
                      "modelkit engine install vllm --variant cuda")


def _rate(bandwidth: float | None) -> str:
    return f"{(bandwidth or 0) / 1e9:.0f} GB/s"


def _holds(memory: int) -> str:
    """How large a model may be, with a fifth left for its cache and the engine: a rule of thumb, `fit` has the sum.

    Q4_K_M takes 4.89 bits a weight of Llama-3.1-8B (llama.cpp's quantizer, 2026).
    """
    sizes = [memory * 0.8 * 8 / bits / 1e9 for bits in (4.89, 16)]
    four, sixteen = (f"{size:.0f}" if size >= 10 else f"{size:.1f}" for size in sizes)
    return f"holds about {four}B at Q4_K_M, {sixteen}B at 16 bits"


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
