"""`python -m modelkit.engines.llama_host --config FILE`: llama.cpp behind the contract, on a Unix socket.

Exit status: 0 after SIGTERM or SIGINT, 1 when llama-server fails or ends by itself, 2 for a bad configuration. The
last line on stderr says why.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

import uvicorn
import uvloop

from modelkit.contract.middleware import Contract
from modelkit.contract.profile import Profile
from modelkit.engines.llama_host.config import Config
from modelkit.engines.llama_host.relay import Relay
from modelkit.engines.llama_host.server import Server, StartFailed, start
from modelkit.engines.llama_host.upstream import Upstream

DRAIN_SECONDS = 4
"""How long answers in flight may go on after SIGTERM. Who wants to drain longer stops sending first."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="llama_host", description="llama.cpp behind the contract")
    parser.add_argument("--config", type=Path, required=True)
    path = parser.parse_args().config
    try:
        config = Config.read(path)
    except (OSError, ValueError) as error:
        return _said(2, str(error))
    relay = Relay(Upstream(config.upstream), slots=config.slots, context_length=config.context_length,
                  fingerprint=config.fingerprint)
    try:
        app = Contract(relay, Profile.loads(Path(config.profile).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        return _said(2, f"{config.profile}: {error}")
    try:
        server = start(config)
    except StartFailed as error:
        return _said(1, str(error))
    # From here on both signals are ours: llama-server in this process has taken them for itself.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            reason = runner.run(_serve(config.socket, app, relay.lost, server))
    except (StartFailed, OSError) as error:
        reason = str(error)
    finally:
        server.stop()
    return _said(1, reason) if reason else 0


async def _serve(path: str, app: Contract, lost: asyncio.Event, server: Server) -> str | None:
    """Serve until a signal (None) or until llama-server is gone (why)."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopped, ready = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(server.ready())
    await asyncio.wait((stopped, ready), return_when=asyncio.FIRST_COMPLETED)
    if stopped.done():
        return None
    await ready
    http = uvicorn.Server(uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", access_log=False, log_level="warning", server_header=False,
        date_header=False, timeout_keep_alive=75, timeout_graceful_shutdown=DRAIN_SECONDS))
    serving = asyncio.ensure_future(http.serve(sockets=[_listening(path)]))  # it takes the signals over
    ended, gone = asyncio.ensure_future(server.ended()), asyncio.ensure_future(lost.wait())
    await asyncio.wait((serving, stopped, ended, gone), return_when=asyncio.FIRST_COMPLETED)
    http.should_exit = True
    await serving
    if ended.done():
        return ended.result()
    return "llama-server is gone" if gone.done() else None


def _listening(path: str) -> socket.socket:
    """Bound under our umask: nobody else's, from its first moment."""
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(1024)
    return listener


def _said(status: int, reason: str) -> int:
    print(f"modelkit: llama.cpp: {reason}", file=sys.stderr)
    return status


if __name__ == "__main__":
    code = 1
    try:
        code = main()
    except SystemExit as usage:
        code = 2 if usage.code else 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing native gets a chance to wait
