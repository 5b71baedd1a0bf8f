"""vLLM's own renderer as a stage's side: `vllm launch render`, which reads templates and tokenizers and no weights."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.engines.call import call
from modelkit.engines.launch import RUN
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.planning.plan import Plan

_SECONDS, _EVERY, _GRACE = 300.0, 0.2, 10.0


@contextmanager
def renderer(plan: Plan, seconds: float = _SECONDS) -> Iterator[str]:
    """The socket of a renderer of this plan; it ends with the context. Raises Failure, with its last words, when it
    does not get ready."""
    from modelkit.engines import vllm
    from modelkit.runtime.environment import passed_on

    launch = vllm.render_launch(plan)
    with tempfile.TemporaryDirectory(prefix="mk-") as name:
        folder = Path(name)
        for file in launch.files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.content.replace(RUN, name), "utf-8")
            path.chmod(file.mode)
        log, socket = folder / "log", folder / "engine.sock"
        environment = passed_on(os.environ) | {key: text.replace(RUN, name) for key, text in launch.env.items()}
        with log.open("wb") as said:
            process = subprocess.Popen([word.replace(RUN, name) for word in launch.argv], cwd=folder, env=environment,
                                       stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        try:
            _until_ready(process, socket, log, seconds)
            yield str(socket)
        finally:
            _stop(process)


def _until_ready(process: subprocess.Popen[bytes], socket: Path, log: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while process.poll() is None:
        if socket.exists():
            try:
                call(str(socket), "/v1/models", timeout=5.0)
                return
            except Failure as failure:
                if failure.code != "engine-unreachable":
                    raise
        if time.monotonic() > until:
            raise Failure("renderer-not-ready", f"vLLM's renderer was not ready after {seconds:g} seconds",
                          detail=_last_words(log))
        time.sleep(_EVERY)
    raise Failure("renderer-exited", f"vLLM's renderer ended with status {process.returncode}",
                  "`--files` compares without it", detail=_last_words(log))


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # whatever it left in its group
    process.wait()


def _last_words(log: Path) -> tuple[str, ...]:
    return tuple(log.read_text("utf-8", "replace").splitlines()[-15:])
