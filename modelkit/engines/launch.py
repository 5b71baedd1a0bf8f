"""How an engine is started: words, environment, files, and what "ready" means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

RUN = "@RUN@"
"""Stands in argv, environment and file contents for the engine's own run directory, known only at launch."""


@dataclass(frozen=True)
class File:
    """A file to write into the run directory before the engine starts."""

    path: str  # relative, no `..`
    content: str
    mode: int = 0o600


@dataclass(frozen=True)
class Launch:
    """One engine process. It must listen on `RUN/engine.sock` (HTTP over a Unix socket), speaking the contract.

    `env` is complete but for PATH, HOME, LANG, TMPDIR and the like, which the runtime passes through an allow-list.
    `start_seconds` bounds the time to ready, `grace_seconds` the time from SIGTERM to SIGKILL.
    """

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    start_seconds: float = 120.0
    grace_seconds: float = 10.0
    ready_logprobs: bool = False  # the readiness generation asks for log-probabilities too
    log_progress: tuple[str, ...] = ()  # substrings of log lines worth showing while it loads
    expected: dict[str, Any] = field(default_factory=dict)  # what it must say that it has, see `engines.expected`
