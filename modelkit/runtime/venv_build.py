"""Makes a virtual environment from a pinned requirement set: with uv, or with pip where uv cannot be had."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from modelkit.engines.requirements import Payload, RequirementSet
from modelkit.failure import Failure
from modelkit.runtime import stub_wheel
from modelkit.runtime.package_index import PackageIndex

Say = Callable[[str], None]

PAYLOAD = "payload"
"""The folder in an environment with files of a source distribution."""

_LAST_LINES = 20
_WORTH_SAYING = re.compile(r"(Resolved|Prepared|Installed|Bytecode|Building) |"
                           r"Downloading .*\((\d{2,}(\.\d+)? ?M|[\d.]+ ?G)i?B\)")
_NO_COMPILER = re.compile(r"CMAKE_C(XX)?_COMPILER|C(XX)? compiler identification is unknown")
_NO_SUCH_TORCH = re.compile(r"No solution found.*\btorch\b", re.S)
# These would make the tools, or the new Python, look at another environment or at other pins.
_NOT_INHERITED = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE",
                  "UV_CONSTRAINT", "UV_OVERRIDE", "PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV", "PIP_USER", "PIP_TARGET")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


class VenvBuild:
    """One environment in the making at `folder`/env. What the tools print goes to `log`, its gist to `say`.

    `keep_open` is a file descriptor that the tools inherit: a lock on it lasts as long as any of them runs, even
    when we are killed. `offline` takes what uv's cache and folders of wheels have, and asks nobody.
    """

    def __init__(self, wanted: RequirementSet, folder: Path, index: PackageIndex, *, log: IO[str], say: Say,
                 keep_open: int, offline: bool = False) -> None:
        self.wanted, self.folder, self.log, self.say, self.keep_open = wanted, folder, log, say, keep_open
        self.offline = offline
        self.env = folder / "env"
        self.python = self.env / "bin" / "python"
        wheels = folder / "wheels"
        wheels.mkdir()
        for stub in wanted.stubs:
            stub_wheel.write(stub, wheels)
        self.index = index.with_folder(wheels)
        proved, unproved = by_digest(wanted)
        self.requirements, self.without = folder / "requirements.txt", folder / "without-digests.txt"
        self.requirements.write_text(proved, "utf-8")
        self.include = folder / "include.cmake"
        self.include.write_text(wanted.cmake, "utf-8")
        self.without.write_text(unproved, "utf-8")

    def run(self) -> str:
        """Make the environment; returns the tool that filled it. Raises Failure `…-install-failed`."""
        uv = find_uv()
        if uv is not None:
            self._do([*uv, "venv", "--no-project", "--python", base_python(), str(self.env)], self._uv_env())
        else:
            self._do([base_python(), "-m", "venv", str(self.env)], self._pip_env(),
                     hint="install uv, or your system's package for Python's venv module")
            uv = self._uv_of_its_own()
        if uv is None:
            self._with_pip()
        else:
            self._with_uv(uv)
        if self.wanted.payload is not None:
            self._with_payload(self.wanted.payload)
        return "pip" if uv is None else "uv"

    def _with_payload(self, payload: Payload) -> None:
        """Fetch a source distribution with the environment's own pip, and take out what is wanted."""
        self.say(f"fetching the sources of {payload.distribution} {payload.version}")
        asked = self.folder / "payload.txt"
        asked.write_text(f"{payload.distribution}=={payload.version} --hash=sha256:{payload.sha256}\n", "utf-8")
        fetched = self.folder / "sources"
        self._do([str(self.python), "-m", "pip", "download", "--no-deps", "--no-binary", payload.distribution,
                  "--no-build-isolation", "--no-cache-dir", "--progress-bar", "off", "--dest", str(fetched),
                  "--require-hashes", "-r", str(asked)], self._pip_env())
        try:
            take_out(payload, fetched, self.env / PAYLOAD)
        except (OSError, tarfile.TarError, LookupError) as error:
            raise Failure(f"{self.wanted.kind}-install-failed",
                          f"the sources of {payload.distribution} {payload.version} cannot be unpacked: {error}",
                          "run it again") from None

    def _with_uv(self, uv: Sequence[str]) -> None:
        command = [*uv, "pip", "install", "--python", str(self.python), "--compile-bytecode", *self._definitions(),
                   "-r", str(self.requirements), "-r", str(self.without)]
        backend = self.wanted.torch_backend
        # The user's own indexes come first. Only where they lack the build is uv's knowledge of PyTorch's asked.
        again = [*command, "--torch-backend", backend] if backend and not os.environ.get("UV_TORCH_BACKEND") else None
        code, said = self._run(command, self._uv_env())
        if code and again and _NO_SUCH_TORCH.search(said):
            self.say(f"no {backend} build of torch in your indexes: asking PyTorch's")
            code, said = self._run(again, self._uv_env())
        if code:
            raise self._failed("uv pip install", code, said, self._hint(said))

    def _with_pip(self) -> None:
        self.say("uv cannot be had: installing with pip, which takes a few minutes")
        command = [str(self.python), "-m", "pip", "install", "--no-deps", "--progress-bar", "off", *self._definitions(),
                   "-r"]  # the set is complete: resolving it again would only cost minutes
        for part in (self.requirements, self.without):  # pip wants digests of all that it is given at once, or of none
            if not part.read_text("utf-8").strip():
                continue
            code, said = self._run([*command, str(part)], self._pip_env())
            if code:
                raise self._failed("pip install", code, said, self._hint(said))

    def _definitions(self) -> list[str]:
        """CMake's definitions as settings of the build: uv's cache then tells builds of other definitions apart."""
        return [word for one in self.wanted.build for word in ("--config-settings", f"cmake.define.{one}")]

    def _uv_of_its_own(self) -> list[str] | None:
        if self.offline:
            return None
        self.say("uv is not here: fetching it")
        code, _ = self._run([str(self.python), "-m", "pip", "install", "--quiet", "uv"], self._pip_env())
        return None if code else [str(self.env / "bin" / "uv")]

    def verify(self) -> str:
        """Its own word for its version. Raises Failure when it does not start, or says another."""
        if self.wanted.probe:
            command = [str(self.python), "-I", "-c", self.wanted.probe, str(self.env / PAYLOAD)]
        else:
            command = [str(self.python), str(self.env / "bin" / self.wanted.engine), "--version"]
        quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1",
                 "VLLM_CACHE_ROOT": str(self.folder / "cache")}
        code, said = self._run(command, self._environment() | quiet)
        last = said.strip().rpartition("\n")[2]
        if code or not last.startswith(self.wanted.version):
            raise self._failed(self.trial, code, said, None)
        return last

    @property
    def trial(self) -> str:
        """What `verify` does, in a word."""
        return f"{self.wanted.engine} --version" if not self.wanted.probe else f"import {self.wanted.engine}"

    def moves_to(self, place: Path) -> None:
        """Rewrite the environment's scripts for the place where it will lie: they name their Python by its path."""
        here, there = os.fsencode(self.env), os.fsencode(place)
        for script in (*(self.env / "bin").iterdir(), self.env / "pyvenv.cfg"):
            if script.is_file() and not script.is_symlink() and script.stat().st_size < 1 << 20:
                content = script.read_bytes()
                if here in content and b"\0" not in content:
                    script.write_bytes(content.replace(here, there))

    def _hint(self, said: str) -> str | None:
        if re.search(r"hash mismatch|do not match the hashes|HASHES FROM|hashes are required", said, re.I):
            return "an index gave other files than were pinned: use another index, and tell whoever runs that one"
        if self.wanted.build and _NO_COMPILER.search(said):
            return ("it is compiled here, and needs a C++ compiler: `apt-get install g++` (Debian, Ubuntu), "
                    "`dnf install gcc-c++` (Fedora), `xcode-select --install` (macOS)")
        if self.offline:
            return ("not all of it is here: install it once with the network, or name a folder with its wheels in "
                    "pip's settings (`pip config set global.find-links FOLDER`)")
        if self.wanted.torch_backend and re.search(r"\btorch\b.*\+" + self.wanted.torch_backend, said):
            return ("name a place that has this build of torch in pip's settings: "
                    "`pip config set global.extra-index-url URL`, or `global.find-links FOLDER`")
        return None

    def _do(self, command: Sequence[str], env: Mapping[str, str], hint: str | None = None) -> None:
        code, said = self._run(command, env)
        if code:
            raise self._failed(" ".join(Path(word).name for word in command[:3]), code, said, hint)

    def _failed(self, what: str, code: int, said: str, hint: str | None) -> Failure:
        lines = [line for line in said.splitlines() if line.strip()][-_LAST_LINES:]
        return Failure(f"{self.wanted.kind}-install-failed",
                       f"`{what}` for {self.wanted.name} ended with status {code}",
                       hint or "the last lines say why; everything it printed is in the log named below them",
                       (*lines, f"log: {self.log.name}"))

    def _run(self, command: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
        """Run to the end, log every line, and return the status and the last lines."""
        tail: deque[str] = deque(maxlen=200)
        try:
            process = subprocess.Popen(command, env=dict(env), cwd=self.folder, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                       pass_fds=(self.keep_open,), start_new_session=True)
        except OSError as error:
            return 127, f"{command[0]}: {error.strerror}"
        assert process.stdout is not None
        try:
            for raw in process.stdout:
                line = _CREDENTIALS.sub("", raw)
                self.log.write(line)
                tail.append(line)
                if _WORTH_SAYING.match(line.strip()):
                    self.say(line.strip())
            code = process.wait()
        except BaseException:  # Ctrl-C must not leave it at work, nor the compilers that it started
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            process.stdout.close()
            self.log.flush()
        return code, "".join(tail)

    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}

    def _uv_env(self) -> dict[str, str]:
        own = self._environment()
        more = {"UV_PYTHON_DOWNLOADS": "never", **({"UV_OFFLINE": "1"} if self.offline else {})}
        return own | self.index.for_uv(own) | more | self._cmake(own)

    def _pip_env(self) -> dict[str, str]:
        quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        alone = {"PIP_NO_INDEX": "1"} if self.offline else {}
        own = self._environment()
        return own | self.index.for_pip() | quiet | alone | self._cmake(own)

    def _cmake(self, own: Mapping[str, str]) -> dict[str, str]:
        """What CMake is told beside: not as a setting, for the path would make every build another one to a cache."""
        if not self.wanted.cmake:
            return {}
        include = shlex.quote(f"-DCMAKE_PROJECT_{self.wanted.engine}_INCLUDE={self.include}")
        return {"CMAKE_ARGS": f"{own.get('CMAKE_ARGS', '')} {include}".strip()}


def by_digest(wanted: RequirementSet) -> tuple[str, str]:
    """The pins as two requirements files: those that have digests, with them, and those that have none."""
    digests = wanted.digests
    proved, unproved = [], []
    for line in wanted.text.splitlines():
        pin = line.partition(";")[0].strip()
        if found := digests.get(pin):
            proved.append(f"{line} " + " ".join(f"--hash={one}" for one in found))
        elif pin and not pin.startswith("#"):
            unproved.append(line)
    return "\n".join([*proved, ""]), "\n".join([*unproved, ""])


def take_out(payload: Payload, fetched: Path, target: Path) -> None:
    """Unpack the wanted members of the one archive in `fetched`. Raises OSError, TarError or LookupError."""
    archive = next(fetched.glob("*.tar.gz"), None)
    if archive is None:
        raise LookupError("there is no archive")
    found = set()
    with tarfile.open(archive) as sources:
        for member in sources:
            _, _, inside = member.name.partition(f"/{payload.folder}/")
            wanted = next((one for one in payload.members if inside == one or inside.startswith(one + "/")), None)
            if wanted is not None and member.isfile():
                member.name = inside
                sources.extract(member, target, filter="data")
                found.add(wanted)
    if missing := set(payload.members) - found:
        raise LookupError(f"there is no {min(missing)} in it")


def find_uv() -> list[str] | None:
    """How to call uv here, or None."""
    if (found := shutil.which("uv")) is not None:
        return [found]
    return [sys.executable, "-m", "uv"] if find_spec("uv") is not None else None


def base_python() -> str:
    """The interpreter below the one we run on: an environment must not hang on another environment."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)
