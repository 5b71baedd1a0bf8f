"""Envoy between the edge and several engines of one generation: it picks one for each request.

It is told of the engines through a file that it watches, so they come and go while it runs. It speaks on Unix sockets
in the run directory alone; its own admin interface, too.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelkit.engines.launch import RUN, File, Launch
from modelkit.failure import Failure
from modelkit.platforms import envoy
from modelkit.runtime.edge import EdgeLimits
from modelkit.runtime.engine import Engine, Seat
from modelkit.runtime.identity import Identity
from modelkit.runtime.kept import Kept, Phase
from modelkit.runtime.logs import Output
from modelkit.runtime.probe import NotYet, ask
from modelkit.runtime.timing import Timing

_WORKERS = 4
_LOOK = 0.05  # seconds between two looks at what it is doing
_AGAIN = 1.0  # seconds, after the file could not be written


def envoy_command() -> str:
    """Where Envoy is. Raises Failure when it is not installed."""
    from modelkit.runtime.environments import find_tool

    if (tool := find_tool("balancer")) is not None:
        return str(Path(tool.python).with_name("envoy"))
    raise Failure("balancer-missing", "several replicas on one machine need Envoy in front of them, which is not here",
                  "modelkit tool install balancer")


class Balancer:
    """Envoy, kept as engines are. `show` says which engines there are, `empty` when one of them has nothing to do."""

    def __init__(self, command: str, seat: Seat, *, environment: Mapping[str, str], output: Output, timing: Timing,
                 changed: Callable[[Kept], None], spawned: Callable[[Identity], None],
                 gone: Callable[[Identity], None]) -> None:
        self._endpoints = seat.directory.parent / "engines.json"
        self._shown: dict[str, Any] = {}
        self._retry: asyncio.TimerHandle | None = None
        engine = Engine(_launch(command, self._endpoints), name="envoy", noun="the balancer", seat=seat,
                        environment=environment, output=output, timing=timing, probe=lambda pid: _Live(self, pid))
        self.kept = Kept(engine, timing=timing, changed=changed, spawned=spawned, gone=gone)
        self.output = output

    @property
    def ready(self) -> bool:
        return self.kept.phase is Phase.READY

    @property
    def socket(self) -> Path:
        return self.kept.seat.socket

    @property
    def admin(self) -> Path:
        return self.kept.seat.directory / "admin.sock"

    def show(self, standing: Mapping[Path, bool]) -> None:
        """From now on these engines; those that stand for False get no new requests."""
        wanted = envoy.endpoints({str(path): opened for path, opened in standing.items()})
        if wanted != self._shown:
            self._shown = wanted
            self._write()

    async def empty(self, engine: Path, seconds: float) -> bool:
        """Whether an engine that gets no new requests has none left; waits for that for up to `seconds`.

        An engine dies by SIGTERM only after this: told while requests were still coming, vLLM has let clients hang.
        """
        until = time.monotonic() + seconds
        while True:
            if await self._is_empty(engine):
                return True
            if time.monotonic() > until:
                return False
            await asyncio.sleep(_LOOK)  # Envoy tells nobody by itself

    async def stop(self, grace: float | None = None) -> None:
        if self._retry is not None:
            self._retry.cancel()
        await self.kept.stop(grace)

    async def _is_empty(self, engine: Path) -> bool:
        if not self.ready:
            return self.kept.phase is not Phase.STARTING  # with a dead one its requests have ended
        try:
            host = (await self._hosts()).get(str(engine))
        except (OSError, NotYet, http.client.HTTPException, ValueError):
            return False  # it died just now, or is about to answer
        if host is None:
            return True
        still = {stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}
        told = host["health_status"].get("eds_health_status") == "DRAINING"
        return told and not still["rq_active"] and not still.get("rq_pending_active")

    async def _hosts(self) -> dict[str, Any]:
        """What Envoy knows of each engine, by its socket."""
        _, reply = await ask(self.admin, "GET", "/clusters?format=json")
        found = [c for c in json.loads(reply)["cluster_statuses"] if c["name"] == envoy.CLUSTER]
        return {host["address"]["pipe"]["path"]: host for c in found for host in c.get("host_statuses", ())}

    def _write(self) -> None:
        self._retry = None
        draft = self._endpoints.with_suffix(".tmp")
        try:
            draft.write_text(json.dumps(self._shown), "utf-8")
            draft.replace(self._endpoints)  # Envoy looks when a file is moved there
        except OSError as error:  # it finds out about dead engines by itself; new ones have to wait
            self.output(f"cannot tell the balancer of its engines: {error}\n".encode())
            self._retry = asyncio.get_running_loop().call_later(_AGAIN, self._write)


class _Live:
    """Envoy has read its configuration and looked at every engine once."""

    waiting_for = "it does not listen yet"

    def __init__(self, balancer: Balancer, leader: int) -> None:
        self._balancer, self._leader = balancer, leader

    async def ready(self, every: float) -> None:
        admin = self._balancer.admin
        while True:
            try:
                status, said = await ask(admin, "GET", "/ready", leader=self._leader)
                if status == 200:
                    _, about = await ask(admin, "GET", "/server_info", leader=self._leader)
                    version = str(json.loads(about)["version"]).split("/")[1]
                    self._balancer.output(f"Envoy {version} is ready\n".encode())
                    return
                self.waiting_for = f"it says {said.decode(errors='replace').strip()}"
            except NotYet as reason:
                self.waiting_for = str(reason)
            except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
                self.waiting_for = f"it does not listen yet ({error})"
            await asyncio.sleep(every)


def _launch(command: str, endpoints: Path) -> Launch:
    configuration = envoy.bootstrap(envoy.pipe(f"{RUN}/engine.sock"), envoy.from_file(str(endpoints)),
                                    body_bytes=EdgeLimits().body_bytes, admin=envoy.pipe(f"{RUN}/admin.sock"))
    workers = max(1, min(_WORKERS, (os.cpu_count() or 1) // 2))
    argv = (command, "-c", f"{RUN}/envoy.json", "--disable-hot-restart", "--concurrency", str(workers),
            "--log-level", "warning")
    return Launch(argv, files=(File("envoy.json", json.dumps(configuration)),), start_seconds=30.0, grace_seconds=5.0)
