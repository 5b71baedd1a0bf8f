"""Heavy tools at work in child processes: each has a Python of its own, gets one request, and dies with us.

The child runs one of our scripts under `children/driver.py`. It is told what to do as JSON on stdin, which stays open:
its end means that we are gone. It answers in lines of JSON on a descriptor that no library prints to; what libraries
print is kept for the Failure's detail.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from modelkit.failure import Failure
from modelkit.models.store import Progress, quiet

Name = Literal["quantizer", "converter", "compressor", "balancer", "lm-eval", "inspect"]

CHILDREN = Path(__file__).with_name("children")
_DRIVER = CHILDREN / "driver.py"

_PASSED = re.compile(r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|LD_LIBRARY_PATH|XDG_CACHE_HOME|SYSTEMROOT")
_DEVICES = re.compile(r"(CUDA|NVIDIA|HIP|ROCR|ROCM|HSA)_\w+")
_ALONE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "DO_NOT_TRACK": "1",
          "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false",
          "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
_ONLINE = re.compile(r"(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|HF_\w+")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
_NO_DEVICES = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "ROCR_VISIBLE_DEVICES": ""}

_LAST_LINES = 12
_LONGEST_LINE = 1 << 20  # bytes of one line of an answer
_LONGEST_REASON = 400
_PATIENCE = 10.0  # seconds between a child's last word and its end
_GLANCE = 0.2  # seconds between looks at a silent child


@dataclass(frozen=True)
class Tool:
    """What makes other forms of models: `python` has it installed. `version` is the tool's own, as recipes name it.

    `files` is a folder of sources that the tool's scripts need beside its packages, None where they need none.
    """

    name: Name
    version: str
    python: str
    files: str | None = None


def run_child(tool: Tool, script: Path, request: Mapping[str, Any], *, work: Path, on_progress: Progress = quiet,
              devices: bool = False, threads: int | None = None, online: bool = False,
              variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `main(request, say)` of `script` returns, run by the tool's Python in the folder `work`.

    The child sees no network settings, no secrets and, unless `devices`, no GPU; `online` it may fetch data sets, as
    the user's own settings say (`HF_TOKEN` and proxies among them). It sees `variables`, too. Whatever ends this call,
    a Failure or a KeyboardInterrupt, no process stays. Raises Failure: the child's own, or `tool-…` when it broke.
    """
    environment = _environment(work, devices, threads)
    if online:
        environment = {name: value for name, value in environment.items() if name not in _OFFLINE}
        environment |= {name: value for name, value in os.environ.items() if _ONLINE.fullmatch(name)}
    child = _Child(tool, script, work, environment | dict(variables or {}))
    try:
        return child.answer(json.dumps({"files": tool.files} | dict(request)), on_progress)
    finally:
        child.end()


class _Child:
    """One child that leads a session of its own, and the threads that listen to it."""

    def __init__(self, tool: Tool, script: Path, work: Path, environment: Mapping[str, str]) -> None:
        self.tool, self.what, self.overdue = tool, f"the {tool.name} ({tool.version})", False
        try:
            self.process = subprocess.Popen(
                [tool.python, "-I", "-u", str(_DRIVER), str(script)], env=dict(environment), cwd=work,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            raise Failure("tool-not-startable", f"cannot start {self.what}: {tool.python}: {error.strerror}",
                          f"make it anew: `modelkit tool install {tool.name}`") from None
        self.heard: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.tail: deque[str] = deque(maxlen=200)
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.stdin: IO[bytes] = self.process.stdin
        self.listeners = [threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True),
                          threading.Thread(target=self._keep, args=(self.process.stderr,), daemon=True)]
        for listener in self.listeners:
            listener.start()

    def answer(self, request: str, on_progress: Progress) -> dict[str, Any]:
        with suppress(OSError):  # it has died already; how it ended says more
            self.stdin.write(request.encode() + b"\n")
            self.stdin.flush()
        result: dict[str, Any] | None = None
        while (line := self._next()) is not None:
            match _understood(line):
                case {"progress": [int(done), int() | None as total, str(label)]}:
                    on_progress(done, total, label)
                case {"result": dict() as result}:
                    break
                case {"failure": {"code": str(code), "message": str(message)} as told}:
                    self._wait()
                    raise Failure(code, message, told.get("hint"), tuple(told.get("detail", ())) or self._last_lines())
                case {"error": str(error)}:
                    self._wait()
                    raise self._broke(error)
                case _:
                    raise self._failed("tool-broken", "said something that is no answer", repr(line[:200]))
        status = self._wait()
        if result is None:
            raise self._ended(status)
        if status != 0 and not self.overdue:  # all is written when it answers
            raise self._failed("tool-broken", "answered, and then " + _describe(status))
        return result

    def end(self) -> None:
        """Leave nothing: SIGKILL to the whole session's group, and its pipes closed."""
        self._kill_group()
        self.process.wait()
        for listener in self.listeners:
            listener.join(_GLANCE)  # a process that left the group may hold the pipe: nobody waits for it
        with suppress(OSError):
            self.stdin.close()
        for listener, pipe in zip(self.listeners, (self.process.stdout, self.process.stderr), strict=True):
            if pipe is not None and not listener.is_alive():
                pipe.close()

    def _kill_group(self) -> None:
        if self.process.returncode is None:  # not reaped by us yet, so the number is still its own
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _next(self) -> bytes | None:
        """The next line, None when the child has nothing more to say."""
        while True:
            with suppress(queue.Empty):
                return self.heard.get(timeout=_GLANCE)
            if self._is_over():  # what it started may hold the pipe open for ever
                self._kill_group()
                with suppress(queue.Empty):
                    return self.heard.get(timeout=_PATIENCE)
                return None

    def _is_over(self) -> bool:
        """Has the leader ended? It is looked at and not reaped: while it is a zombie nobody gets its number."""
        if hasattr(os, "waitid"):
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self.process.poll() is not None

    def _wait(self) -> int:
        """How the child ended; it and whatever it started are killed if they do not after its last word."""
        begin = time.monotonic()
        while not self._is_over() and time.monotonic() < begin + _PATIENCE:
            time.sleep(0.005)
        self.overdue = not self._is_over()
        self._kill_group()
        return self.process.wait()

    def _listen(self, pipe: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while line := pipe.readline(_LONGEST_LINE):
                self.heard.put(line)
        self.heard.put(None)

    def _keep(self, pipe: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while line := pipe.readline(1 << 14):
                self.tail.append(line.decode("utf-8", "replace").rstrip())

    def _last_lines(self) -> tuple[str, ...]:
        self.listeners[1].join(_GLANCE)
        return tuple([line for line in self.tail if line.strip()][-_LAST_LINES:])

    def _broke(self, error: str) -> Failure:
        kind, _, what = error[:_LONGEST_REASON].partition(":")
        what = " ".join(what.split())
        if kind in ("ModuleNotFoundError", "ImportError"):
            return self._failed("tool-incomplete", f"cannot be used: {what}",
                                hint=f"make it anew: `modelkit tool install {self.tool.name} --reinstall`")
        if kind in ("MemoryError", "OutOfMemoryError"):
            return self._failed("tool-out-of-memory", "ran out of memory",
                                hint="this needs a machine with more memory, or a smaller model")
        if kind == "NotImplementedError":
            return self._failed("tool-not-yet", f"cannot do this: {what or 'it says no more'}",
                                hint="a newer version of the tool may be able to")
        return self._failed("tool-failed", f"failed: {kind}{what and ': '}{what}")

    def _ended(self, code: int) -> Failure:
        if self.overdue:
            return self._failed("tool-broken", f"stopped talking and did not end in {_PATIENCE:g} seconds")
        if code == -signal.SIGKILL:
            return self._failed("tool-killed", "was killed from outside, which is what a system short of memory does",
                                hint="close other programs, or do this on a machine with more memory")
        if code < 0:
            return self._failed("tool-crashed", _describe(code),
                                hint="the file may be broken: `modelkit verify` reads every byte of it")
        return self._failed("tool-broken", _describe(code) + " without an answer")

    def _failed(self, code: str, what: str, *more: str, hint: str | None = None) -> Failure:
        return Failure(code, f"{self.what} {what}", hint, (*self._last_lines(), *more))


def _understood(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _environment(work: Path, devices: bool, threads: int | None) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items()
           if _PASSED.fullmatch(name) or (devices and _DEVICES.fullmatch(name))}
    count = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return own | _ALONE | ({} if devices else _NO_DEVICES) | count | {"TMPDIR": str(work)}


def _describe(code: int) -> str:
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"crashed with {signal.Signals(-code).name}"
    except ValueError:
        return f"crashed with signal {-code}"
