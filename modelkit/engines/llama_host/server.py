"""llama-server itself: inside this process (xllamacpp), or as a child that does not outlive it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from modelkit.engines.llama_host import attributes
from modelkit.engines.llama_host.config import Config, Words
from modelkit.engines.llama_host.upstream import Upstream, UpstreamLost
from modelkit.llamacpp.computing import LlamaError, expect_gguf
from modelkit.llamacpp.cores import usable_cores, wait_politely


class StartFailed(Exception):
    """llama-server is not going to serve; one sentence."""


class Server(Protocol):
    """A running llama-server."""

    async def ready(self) -> None:
        """Return once it serves. Raises StartFailed when it never will."""

    async def ended(self) -> str:
        """Return, with a sentence, once it has stopped by itself."""

    def stop(self) -> None:
        """End it now; nothing of it is left."""


def start(config: Config) -> Server:
    """Start llama-server. Raises StartFailed for what is known to fail at once."""
    os.umask(0o077)  # its socket is ours alone
    Path(config.upstream).unlink(missing_ok=True)
    for path in (config.model, *(words[1] for words in config.flags if words[0] == "--lora")):
        try:
            expect_gguf(Path(path))
        except LlamaError as error:
            raise StartFailed(str(error)) from None
    cores = usable_cores()
    wait_politely(cores)
    said = {attributes.canonical(words[0]): words for words in config.flags}
    threads = said.get("--threads", ("--threads", str(cores)))
    flags = config.flags if threads in config.flags else (*config.flags, threads)
    if "--threads-batch" not in said:  # the wheel does not follow --threads by itself
        flags = (*flags, ("--threads-batch", threads[1]))
    return Embedded(config, flags) if config.provider == "xllamacpp" else Child(config, flags)


_KEPT: list[Any] = []
"""Holds the embedded server until the process exits, so that nobody waits for its destructor."""


class Embedded:
    """The whole llama-server in this process: native threads beside our event loop.

    It is never destroyed: the wheel's destructor can wait for ever. The process exits instead.
    """

    def __init__(self, config: Config, flags: tuple[Words, ...]) -> None:
        try:
            import xllamacpp
        except ImportError as error:
            raise StartFailed(f"xllamacpp cannot be loaded: {error}") from None
        params = xllamacpp.CommonParams()
        processor = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
        # Trying what fits on a GPU costs a quarter of the start, and here there may be none.
        params.fit_params = any(device["type"] != processor for device in xllamacpp.get_device_info())
        for words in flags:
            try:
                attributes.apply(params, words, xllamacpp)
            except attributes.Unknown as error:
                if words[0] not in config.optional:
                    raise StartFailed(f"`{' '.join(words)}`: {error}") from None
            except ValueError as error:
                raise StartFailed(f"`{' '.join(words)}`: {error}") from None
        try:
            _KEPT.append(xllamacpp.Server(params))  # returns when the model is loaded
        except RuntimeError:
            raise StartFailed(f"llama.cpp could not load {config.model}; its own words are above") from None
        self._upstream = Upstream(config.upstream)

    async def ready(self) -> None:
        try:
            status, _ = await self._upstream.call("GET", "/health")
        except UpstreamLost as error:
            raise StartFailed(str(error)) from None
        if status != 200:
            raise StartFailed(f"llama-server is not healthy: HTTP {status}")

    async def ended(self) -> str:
        await asyncio.Event().wait()  # it ends with the process
        raise AssertionError

    def stop(self) -> None:
        """Nothing to do: exiting is what stops it."""


class Child:
    """A `llama-server` binary. The kernel kills it when this process dies, however it dies (Linux)."""

    def __init__(self, config: Config, flags: tuple[Words, ...]) -> None:
        self._upstream = Upstream(config.upstream)
        known = _known_flags(config.command)
        argv = [*config.command]
        for words in flags:
            if words[0] in known or words[0] not in config.optional:
                argv += words
        try:
            # No thread of ours runs yet, so the hook is safe.
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                             preexec_fn=_die_with_parent())  # noqa: PLW1509
        except OSError as error:
            raise StartFailed(f"cannot start {config.command[0]}: {error.strerror}") from None

    async def ready(self) -> None:
        while True:
            if (code := self._process.poll()) is not None:
                raise StartFailed(f"llama-server {_how(code)} while it was starting; its own words are above")
            with contextlib.suppress(UpstreamLost):
                status, _ = await self._upstream.call("GET", "/health")
                if status == 200:
                    return
            await asyncio.sleep(0.05)

    async def ended(self) -> str:
        while (code := self._process.poll()) is None:  # noqa: ASYNC110 - the child is older than the loop
            await asyncio.sleep(0.2)
        return f"llama-server {_how(code)}"

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _known_flags(command: Words) -> frozenset[str]:
    """Every flag that a binary's `--help` names: what newer ones know, older ones refuse to start with."""
    try:
        said = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=20, check=False,
                              stdin=subprocess.DEVNULL, errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartFailed(f"cannot run {command[0]}: {error}") from None
    return frozenset(word for line in said.stdout.splitlines() if line.startswith("-")
                     for word in line.replace(",", " ").split() if word.startswith("-"))


def _how(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"exited with status {code}"


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes llama-server: ask for SIGKILL when its parent is gone."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def ask() -> None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return ask
