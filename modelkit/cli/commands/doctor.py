"""`modelkit doctor`."""

from __future__ import annotations

import os
import shutil
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelkit.cli import project
from modelkit.cli.stages import engines_found
from modelkit.cli.terminal import Terminal
from modelkit.places import place

Verdict = Literal["ok", "warn", "fail"]


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
    findings = [_python(), *_engines(), *_folders(), _disk(), _key()]
    terminal.document({"schema": "modelkit.doctor/1", "findings": [vars(f) for f in findings]})
    terminal.table(("", "WHAT", "FOUND", "FIX"), [(f.verdict, f.what, f.found, f.fix) for f in findings])
    return 1 if any(f.verdict == "fail" for f in findings) else 0


def _python() -> Finding:
    return Finding("python", "ok", sys.version.split()[0])


def _engines() -> list[Finding]:
    found = engines_found()
    findings = []
    for word, role, fix in (("llama.cpp", "dev", "pip install 'modelkit-llm[llamacpp]'"),
                            ("vllm", "prod", "modelkit engine install vllm")):
        engine = found.get(word)
        if engine:
            variant = f" {engine.variant}" if engine.variant else ""
            findings.append(Finding(f"engine {word} ({role})", "ok", f"{engine.version}{variant}, {engine.provider}"))
        else:
            verdict: Verdict = "fail" if role == "dev" else "warn"
            findings.append(Finding(f"engine {word} ({role})", verdict, "not installed", fix))
    return findings


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
