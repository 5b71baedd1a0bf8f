"""A benchmark as a file: what was asked, of whom, on what machine, and every request's times."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

import modelkit
from modelkit.failure import Failure
from modelkit.release.bench.result import BenchResult
from modelkit.release.record import host_fingerprint, now, write_once
from modelkit.release.results import read_result
from modelkit.release.verdict import Verdict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(_Part):
    """What loaded the engine, and ran it where `Subject.stage` is known. No name: a fingerprint."""

    fingerprint: str
    system: str
    processor: str
    cpus: int
    memory: int | None = None
    gpu: str | None = None


class Subject(_Part):
    """Who answered. A stage that runs here has an engine and digests; of an address nothing but the name is known."""

    model: str
    url: str | None = None
    stage: str | None = None
    engine: str | None = None
    version: str | None = None
    launch: str | None = Field(None, description="digest of what was launched")
    modelfile: str | None = Field(None, description="digest of the Modelfile's bytes")
    weights: str | None = Field(None, description="digest of the weights")
    quantization: str | None = None


class BenchDocument(_Part):
    """One call of `bench`. Its verdict passes when one of its loads does: a sweep looks for what a stage can bear."""

    schema_: Literal["modelkit.bench/1"] = Field("modelkit.bench/1", alias="schema")
    at: str = Field(default_factory=now)
    tool: str = f"modelkit {modelkit.__version__}"
    subject: Subject
    machine: Machine
    workload: dict[str, Any]
    runs: tuple[BenchResult, ...]

    @property
    def verdict(self) -> Verdict:
        found = [one.verdict for one in self.runs]
        order: tuple[Verdict, ...] = ("pass", "fail", "error", "inconclusive")
        return next((one for one in order if one in found), "inconclusive")

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True) | {"verdict": self.verdict}


def this_machine(memory: int | None = None, gpu: str | None = None) -> Machine:
    """The machine that runs us."""
    return Machine(fingerprint=host_fingerprint(), system=f"{platform.system()} {platform.machine()}",
                   processor=_processor(), cpus=os.cpu_count() or 1, memory=memory, gpu=gpu)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
                platform.machine())


def keep(document: BenchDocument, folder: Path) -> Path:
    """Write it into a folder, under its time and digest. Raises OSError."""
    data = (json.dumps(document.as_json()) + "\n").encode()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamp, digest = document.at.replace("-", "").replace(":", ""), hashlib.sha256(data).hexdigest()[:8]
    path = folder / f"{stamp}-{digest}.json"
    write_once(path, data)
    return path


def kept(folder: Path) -> list[BenchDocument]:
    """What was kept in a folder, the oldest first; files that are none are passed over."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(read(path))
        except Failure:
            continue
    return found


def read(path: Path) -> BenchDocument:
    """A benchmark that `--json`, `--out` or `keep` wrote. Raises Failure."""
    return read_result(path, BenchDocument, command="bench", code="not-a-benchmark", noun="a benchmark",
                       printed=("verdict", "comparison"))
