"""One run of a project: the address, the engines and the control socket, from the lock to its release."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure
from modelkit.runtime import served, state
from modelkit.runtime.control import Ask, Connection, Control
from modelkit.runtime.fleet import Fleet
from modelkit.runtime.gate import EdgeGate
from modelkit.runtime.generation import Generation, Surroundings
from modelkit.runtime.identity import Identity, boot_id
from modelkit.runtime.logs import EngineLog, Redaction, RotatingFile
from modelkit.runtime.process import reap_adopted
from modelkit.runtime.project import Lock, Project
from modelkit.runtime.reaper import Reaper
from modelkit.runtime.settings import Settings
from modelkit.runtime.status import about, measures
from modelkit.runtime.sweep import clear
from modelkit.runtime.tree import kill_descendants, resident
from modelkit.runtime.wire import PROTOCOL, Message

if TYPE_CHECKING:
    from modelkit.platforms.bundle import Bundle


class Run:
    """One run, from the lock to its release."""

    def __init__(self, project: Project, settings: Settings, lock: Lock) -> None:
        self.project, self.settings, self.timing = project, settings, settings.timing
        self.run_id, self.since = uuid.uuid4().hex, time.time()
        self._lock, self._who, self._boot = lock, Identity.own(), boot_id()
        self._began = time.monotonic()
        self._log = EngineLog(project)
        self._gate = EdgeGate(RotatingFile(project.access_log),
                              lambda: measures((generation, fleet) for generation, fleet, _ in self._placed()))
        self._fleets: dict[str, Fleet] = {}  # by Modelfile
        self._control = Control(self._handle)
        self._keys = set(settings.key_hashes)
        self._watchers: set[Ask] = set()
        self._remembered: dict[str, tuple[int, int]] = {}  # what was written down of what serves
        self._meant_to_end = False
        self._owners: set[Connection] = set()
        self._leave, self._hurry = asyncio.Event(), asyncio.Event()
        self._drain = self.timing.drain
        self._ended: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    async def open(self) -> Message:
        """Take the address, then everything else. Raises Failure and leaves nothing."""
        settings = self.settings
        EngineLog.begin(self.project)
        await self._gate.bind(settings.host, settings.port, settings.key_hashes, settings.hosts)
        numbers = itertools.count(1)
        self._fleets = {modelfile: Fleet(place, self._make, self._observe, numbers, self.timing.drain)
                        for modelfile, place in self._gate.slots(settings.modelfiles or ("",)).items()}
        self._reaper = Reaper(self.run_id, self.timing.orphan_grace, self._lock.fd)
        try:
            state.write(self.project.state, self._state())
            await self._control.listen(self.project.control)
        except OSError as error:
            await self.close()
            raise Failure("run-directory", f"cannot write into `{self.project.directory}`: {error.strerror or error}",
                          "free some space there, or set MODELKIT_HOME to another place") from None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        return {"event": "listening", "endpoint": self._gate.endpoint, "pid": self._who.pid, "run_id": self.run_id}

    async def serve(self) -> None:
        """Serve until told to leave, left alone, or robbed of the run directory."""
        watching, leaving = asyncio.create_task(self._watch()), asyncio.create_task(self._leave.wait())
        await asyncio.wait({watching, leaving}, return_when=asyncio.FIRST_COMPLETED)
        self._leave.set()
        await self.close()
        if not watching.cancel():
            watching.result()  # it never ends by itself: this raises what ended it

    async def close(self) -> None:
        """Drain, stop every engine, remove every trace, release the lock."""
        for fleet in self._fleets.values():
            fleet.closing = True
        hurried = asyncio.create_task(self._hurry.wait())
        drained = asyncio.create_task(self._gate.close(0 if self._hurry.is_set() else self._drain))
        await asyncio.wait({hurried, drained}, return_when=asyncio.FIRST_COMPLETED)
        if not drained.done():
            await self._gate.close(0)
        await asyncio.gather(*(fleet.down(self._hurry) for fleet in self._fleets.values()))
        hurried.cancel()
        if left := await asyncio.to_thread(kill_descendants, {self._reaper.pid}):
            say(f"ended processes that had left their engine: {left}")
        if not self._ended.done():
            self._ended.set_result({})
        await self._control.close()
        self._log.close()
        self._reaper.dismiss()
        if self._lock.in_place():
            if self._meant_to_end:
                served.forget(self.project)
            clear(self.project)

    async def _handle(self, ask: Ask) -> Message:
        request = ask.request
        match ask.op:
            case "hello":
                return {"protocol": PROTOCOL, "run_id": self.run_id, "pid": self._who.pid, "idle": self._idle,
                        "endpoint": self._gate.endpoint, "closing": self._leave.is_set(),
                        "host": self.settings.host, "port": self.settings.port,
                        "bound": int(self._gate.endpoint.rpartition(":")[2])}
            case "access":
                self._gate.admit(self.settings.host, request["key_hashes"], request["hosts"])
                self._keys |= set(request["key_hashes"])  # old ones stay secrets
                return {}
            case "apply":
                return await self._apply(ask)
            case "start":
                bundle = _bundle(request)
                return await self._fleet_for(request, bundle).start(ask, bundle, request["environ"])
            case "switch":
                fleet = self._fleet_of(request["generation"])
                return await fleet.switch(request["generation"], self._seconds(request), ask.say,
                                          keep_warm=float(request.get("keep_warm") or 0))
            case "split" | "mirror":
                return await self._fleet_of(request["generation"]).share(ask.op, ask, request["generation"],
                                                                         _part(request))
            case "counts":
                return self._counts(request["generation"])
            case "stop":
                return await self._fleet_of(request["generation"]).stop(
                    ask, request["generation"], self._seconds(request), hold=bool(request.get("hold")))
            case "restore":
                return await self._restore(ask)
            case "status":
                return await self._status()
            case "plan":
                return self._fleet_of(request["generation"]).plan(request["generation"])
            case "bundle":
                return self._fleet_of(request["generation"]).bundle(request["generation"])
            case "own":
                self._own(ask.connection)
                return {}
            case "watch":
                return await self._tell(ask)
            case "down":
                self._drain = self._seconds(request)
                self._meant_to_end = True
                self._told_to_leave("asked to", fast=bool(request["fast"]))
                return await asyncio.shield(self._ended)
        raise Failure("unknown-request", f"this supervisor knows no `{ask.op}`",
                      "it was started by another version of modelkit: `modelkit down`, then `modelkit up`")

    async def _apply(self, ask: Ask) -> Message:
        request = ask.request
        bundle = _bundle(request)
        result = await self._fleet_for(request, bundle).apply(
            ask, bundle, request["environ"], keep=bool(request.get("keep")),
            allow_switch=bool(request.get("allow_switch")), drain=self._seconds(request))
        return result | {"endpoint": self._gate.endpoint}

    async def _restore(self, ask: Ask) -> Message:
        """Where nothing serves, what served when the last run died serves again."""
        wanted = served.read(self.project)
        results = [await fleet.apply(ask, wanted[modelfile], ask.request["environ"], allow_switch=False, keep=True,
                                     drain=self._seconds(ask.request), restoring=True)
                   for modelfile, fleet in self._fleets.items() if fleet.routed is None and modelfile in wanted]
        return {"restored": [result for result in results if result["outcome"] != "unchanged"]}

    def _remember(self) -> None:
        """Write down what serves, for `restore`, when that has changed."""
        now = {modelfile: fleet.routed for modelfile, fleet in self._fleets.items() if fleet.routed is not None}
        known = {modelfile: (generation.id, generation.bundle.replicas) for modelfile, generation in now.items()}
        if now and known != self._remembered:
            served.write(self.project, {modelfile: generation.bundle for modelfile, generation in now.items()})
            self._remembered = known

    def _fleet_for(self, request: Message, bundle: Bundle) -> Fleet:
        """Where a bundle belongs. Raises Failure for a Modelfile that is none of ours, and for a name that is taken."""
        if len(self._fleets) == 1:
            return next(iter(self._fleets.values()))
        modelfile = str(request.get("modelfile"))
        found = self._fleets.get(modelfile)
        if found is None:
            raise Failure("other-modelfiles", f"`{modelfile}` is not one of those that run together here",
                          "`modelkit down` first, then `modelkit up` with all of them")
        from modelkit.platforms.bundle import presume_names_free

        presume_names_free(bundle, (g.bundle for g in self._generations() if g.id not in found.generations))
        return found

    def _fleet_of(self, number: int) -> Fleet:
        return next((fleet for fleet in self._fleets.values() if number in fleet.generations),
                    next(iter(self._fleets.values())))

    def _generations(self) -> list[Generation]:
        return [generation for generation, _, _ in self._placed()]

    def _placed(self) -> list[tuple[Generation, Fleet, str]]:
        """Each generation with its fleet and its Modelfile, the oldest first."""
        return sorted(((generation, fleet, modelfile) for modelfile, fleet in self._fleets.items()
                       for generation in fleet.generations.values()), key=lambda placed: placed[0].id)

    @property
    def _routed(self) -> tuple[int, ...]:
        return tuple(fleet.routed.id for fleet in self._fleets.values() if fleet.routed)

    @property
    def _idle(self) -> bool:
        return all(fleet.idle for fleet in self._fleets.values())

    async def _tell(self, ask: Ask) -> Message:
        """Events until the run ends."""
        self._watchers.add(ask)
        ask.gone.add_done_callback(lambda _: self._watchers.discard(ask))
        ask.say({"event": "attached", "endpoint": self._gate.endpoint})
        return await asyncio.shield(self._ended)

    def _own(self, connection: Connection) -> None:
        def lost(_: Any) -> None:
            self._owners.discard(connection)
            if not self._owners:
                self._meant_to_end = True
                self._told_to_leave("its owner went away")

        if connection not in self._owners:
            self._owners.add(connection)
            connection.gone.add_done_callback(lost)

    async def _status(self) -> Message:
        sizes = await asyncio.to_thread(resident, list(self._identities()))
        routed, modelfiles = self._routed, self.settings.modelfiles
        return {"project": self.project.id, "modelfile": modelfiles[0] if modelfiles else "",
                "modelfiles": list(modelfiles), "run_id": self.run_id, "alive": True,
                "pid": self._who.pid, "endpoint": self._gate.endpoint, "since": self.since,
                "uptime": time.monotonic() - self._began, "closing": self._leave.is_set(),
                "routed": routed[0] if len(routed) == 1 else None,
                "generations": [
                    about(generation, fleet, sizes, modelfile=modelfile, in_flight=self._gate.in_flight(generation))
                    for generation, fleet, modelfile in self._placed()]}

    def _counts(self, number: int) -> Message:
        generation = next((g for g in self._generations() if g.id == number), None)
        if generation is None:
            raise Failure("no-such-generation", f"there is no generation {number}")
        return {"run_id": self.run_id, "generation": number, "at": time.time(), **generation.counts()}

    def _identities(self) -> Iterator[Identity]:
        for generation in self._generations():
            yield from (kept.identity for kept in generation.processes() if kept.identity is not None)

    def _seconds(self, request: Message) -> float:
        drain = request.get("drain")
        return self.timing.drain if drain is None else float(drain)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.timing.watch)
            reap_adopted({who.pid for who in self._identities()} | {self._reaper.pid})
            self._reaper.check()
            for fleet in self._fleets.values():
                fleet.unload_idle()
            if not self._lock.in_place():
                self._drain = 0
                self._told_to_leave("its run directory was removed")
            alone = self._idle and not self._control.connections
            if alone and (self._control.ever or time.monotonic() - self._began > self.timing.idle):
                self._told_to_leave("nothing to do")

    def _told_to_leave(self, reason: str, *, fast: bool = False) -> None:
        """Drain and stop; `fast`, now or while it drains: no more patience."""
        say(f"leaving{' at once' if fast else ''}: {reason}")
        self._leave.set()
        if fast:
            self._hurry.set()

    def _signalled(self, number: signal.Signals) -> None:
        self._told_to_leave(f"got {number.name}", fast=self._leave.is_set())

    def _observe(self, event: Message) -> None:
        say(json.dumps(event))
        for ask in list(self._watchers):
            ask.say(event)
        if self._lock.in_place():
            try:
                state.write(self.project.state, self._state())
                self._remember()
            except OSError as error:
                say(f"cannot write the state: {error}")  # the engines' markers are enough to find them

    def _state(self) -> state.RunState:
        return state.RunState(
            run_id=self.run_id, modelfiles=self.settings.modelfiles, pid=self._who.pid, start=self._who.start,
            boot_id=self._boot, since=self.since, endpoint=self._gate.endpoint,
            generations=tuple(g.state() for g in self._generations()), routed=self._routed)

    def _make(self, fleet: Fleet, number: int, bundle: Bundle, environment: Mapping[str, str]) -> Generation:
        around = Surroundings(self.run_id, self._log, self.timing, self._spawned, self._reaper.forgets)
        return Generation(number, bundle, self.project.generation(number), around, environment=environment,
                          redaction=Redaction(bundle.launch.env, self._keys), changed=fleet.changed,
                          noted=fleet.noted)

    def _spawned(self, leader: Identity) -> None:
        self._reaper.knows(leader)
        self._observe({"event": "spawned", "pid": leader.pid})


def _part(request: Message) -> float | None:
    """The `share` asked for: 0 to 1, or None. Raises Failure for anything else."""
    said = request["share"]
    if said is None:
        return None
    if not isinstance(said, int | float) or isinstance(said, bool) or not 0 <= said <= 1:
        raise Failure("usage", f"a share is a number from 0 to 1, not {said!r}")
    return float(said)


def _bundle(request: Message) -> Bundle:
    # Half of what a supervisor imports comes with a plan: those that lose the race for the lock never need it.
    from modelkit.platforms.bundle import Bundle

    return Bundle.from_json(request["bundle"])


def say(text: str) -> None:
    """One line into the supervisor's own log."""
    with contextlib.suppress(OSError):  # a full disk must not end us
        os.write(2, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n".encode())
