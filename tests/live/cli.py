"""The real command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODELKIT = str(Path(sys.executable).with_name("modelkit"))
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "MODELKIT_"))}


def environment(**more: str) -> dict[str, str]:
    """This process's environment without a user's modelkit settings; MODELKIT_HOME stays, engines live there."""
    home = {"MODELKIT_HOME": os.environ["MODELKIT_HOME"]} if "MODELKIT_HOME" in os.environ else {}
    return CLEAN | home | more


def modelkit(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None,
             timeout: float = 400, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run the command and expect an exit code (None: any)."""
    done = subprocess.run([MODELKIT, *words], capture_output=True, text=True, cwd=cwd, timeout=timeout, check=False,
                          env=env or environment(), stdin=subprocess.DEVNULL)
    if code is not None:
        assert done.returncode == code, f"modelkit {shlex.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def json_of(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> Any:
    return json.loads(modelkit(*words, "--json", cwd=cwd, env=env).stdout)


def parity_of(promoted: dict[str, Any]) -> dict[str, Any]:
    """What the parity gate of a promotion saw."""
    return next(dict(one["observed"]) for one in promoted["gates"] if one["id"] == "parity")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def exported(text: str) -> dict[str, str]:
    """The variables of `export NAME=value` lines."""
    return dict(word.split("=", 1) for line in text.splitlines() if line.startswith("export ")
                for word in shlex.split(line)[1:])
