"""A command's view of what runs: find the supervisor of a Modelfile, start it where there is none, give it orders.

Synchronous and light: this is what the command line imports.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from modelkit.failure import Failure
from modelkit.runtime import state
from modelkit.runtime.counts import difference
from modelkit.runtime.identity import LINUX, Identity, command_of
from modelkit.runtime.logs import follow, log_files, read_last
from modelkit.runtime.project import Lock, Project, project_id, project_of, projects
from modelkit.runtime.sweep import sweep
from modelkit.runtime.timing import Timing
from modelkit.runtime.wire import PROTOCOL, Message, decode, encode, failure_from_json

if TYPE_CHECKING:
    from modelkit.platforms.bundle import Bundle
    from modelkit.runtime.edge.access import Access

__all__ = ["Client", "Event", "OnEvent", "Project", "Timing", "connect", "ensure", "follow", "log_files", "project_id",
           "project_of", "read_last", "runs", "sweep"]

Event = dict[str, Any]
OnEvent = Callable[[Event], None]

_HELLO = 10.0  # seconds; a supervisor that is alive answers at once
_PATIENCE = 60.0


class Client:
    """A connection to one supervisor. What it started and did not finish is undone when the connection closes."""

    def __init__(self, project: Project, connection: socket.socket) -> None:
        self.project = project
        self._socket, self._received = connection, bytearray()
        self._last = 0
        connection.settimeout(_HELLO)
        self.hello: Message = self._request("hello")
        self._supervisor = Identity.of(self.hello["pid"])
        connection.settimeout(None)

    @property
    def endpoint(self) -> str:
        """The project's address, `http://host:port`."""
        return str(self.hello["endpoint"])

    def apply(self, bundle: Bundle, on_event: OnEvent | None = None, *, allow_switch: bool = False,
              keep: bool = False, drain: float | None = None) -> Message:
        """Make this bundle the one that serves and wait until it does.

        The result's `outcome` is `started`, `switched`, `joined` (somebody else was at it) or `unchanged`, with
        `generation stage digest socket endpoint`. Interrupted before the address has changed hands, everything stays
        as it was, unless `keep`. Raises Failure `stage-busy` when another stage serves and `allow_switch` is not set.
        """
        return self._request("apply", on_event, **_given(bundle), keep=keep,
                             allow_switch=allow_switch, drain=drain)

    def start(self, bundle: Bundle, on_event: OnEvent | None = None) -> Message:
        """Start it beside what serves; `generation` and `socket` say where. Stopped when this client goes away."""
        return self._request("start", on_event, **_given(bundle))

    def switch(self, generation: int, on_event: OnEvent | None = None, *, drain: float | None = None,
               keep_warm: float = 0.0) -> Message:
        """Give it the address; what served before is drained and stopped, after `keep_warm` seconds if that is said.

        Meanwhile that one is ready and gets nothing new: to `switch` back takes no start. One is kept at most.
        """
        return self._request("switch", on_event, generation=generation, drain=drain, keep_warm=keep_warm)

    def split(self, generation: int, share: float | None, on_event: OnEvent | None = None) -> Message:
        """Send this share (0 to 1) of the conversations to a ready generation beside what serves; None takes it back.

        A conversation stays where it is while the share grows. With 0 only those go there who ask for the candidate
        (header `X-Modelkit-Version: candidate`). It ends by itself, with an event, when the candidate is not ready
        any more, when this client goes away, and when the address changes hands. Raises Failure `not-ready`,
        `nothing-beside`, `other-models`.
        """
        return self._request("split", on_event, generation=generation, share=share)

    def mirror(self, generation: int, share: float | None, on_event: OnEvent | None = None) -> Message:
        """Send copies of this share of the conversations to a ready generation; its answers are counted, not used.

        At most so many at once as the edge's limits say; the others are left out, and counted. Ends like `split`.
        """
        return self._request("mirror", on_event, generation=generation, share=share)

    def counts(self, generation: int, since: Message | None = None) -> Message:
        """What a generation has answered, from its start or since an earlier answer of this method.

        `served` and `mirrored` each hold `requests`, of these `errors` (a status of 500 and more, or an answer without
        its end), `refused` (other statuses from 400), `abandoned` (the client left), and `ttft` and `duration` in
        seconds: `count sum p50 p90 p95 p99` (None where nothing was counted; within 3 %) and `buckets`. `seconds` is
        the time covered. Raises Failure `other-run` where `since` is of another supervisor.
        """
        return difference(self._request("counts", generation=generation), since)

    def stop(self, generation: int, on_event: OnEvent | None = None, *, drain: float | None = None,
             hold: bool = False) -> Message:
        """Drain and stop one generation.

        Of the one that serves, requests get a 503 from now on; with `hold` they wait until another one has the
        address, or this client goes away: for two that do not fit beside each other.
        """
        return self._request("stop", on_event, generation=generation, drain=drain, hold=hold)

    def restore(self, on_event: OnEvent | None = None) -> list[Message]:
        """Where nothing serves, start what served when the last run died (a kill, a reboot); `down` has it forgotten.

        Returns what was started, each as `apply` does; nothing where something serves or nothing is known. Raises
        Failure when it can't start any more.
        """
        from modelkit.runtime.environment import passed_on

        return list(self._request("restore", on_event, environ=passed_on(os.environ))["restored"])

    def status(self) -> Message:
        """What runs: `endpoint routed uptime …` and a list of `generations`."""
        return self._request("status")

    def plan(self, generation: int) -> Message:
        """The plan that a generation was started for."""
        return self._request("plan", generation=generation)

    def bundle(self, generation: int) -> Message:
        """The bundle that a generation was started from, as `Bundle.as_json`."""
        return self._request("bundle", generation=generation)

    def own(self) -> None:
        """From now on the run ends with this connection: everything drains and stops."""
        self._request("own")

    def attach(self, on_event: OnEvent | None = None) -> Message:
        """`own` and `watch`."""
        self.own()
        return self._request("watch", on_event)

    def watch(self, on_event: OnEvent) -> Message:
        """Every event until the run ends; owns nothing."""
        return self._request("watch", on_event)

    def down(self, drain: float | None = None, *, fast: bool = False, on_event: OnEvent | None = None) -> None:
        """Drain, stop everything, and return when nothing is left. `fast`: kill; also hurries a `down` under way."""
        self._request("down", on_event, drain=drain, fast=fast)
        self._ended()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _request(self, op: str, on_event: OnEvent | None = None, **fields: Any) -> Message:
        self._last += 1
        number = self._last
        try:
            self._socket.sendall(encode({"id": number, "op": op, **fields}))
            while True:
                message = self._receive()
                if message.get("id") != number:  # of a request that was interrupted
                    continue
                if message["event"] == "done":
                    return dict(message["result"])
                if message["event"] == "failed":
                    raise failure_from_json(message["failure"])
                if on_event is not None:
                    on_event(message)
        except TimeoutError:
            raise Failure("supervisor-deaf", f"the supervisor of this project does not answer ({self.project.id})",
                          "`modelkit logs` may say why; if it stays so, end it with SIGKILL and run this again"
                          ) from None
        except OSError:
            raise _died(self.project) from None

    def _receive(self) -> Message:
        # Our own buffer, not a file object: an interrupt in the middle of a line must lose nothing.
        while (end := self._received.find(b"\n")) < 0:
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionResetError
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[:end + 1]
        try:
            return decode(line)
        except ValueError:  # an interrupt lost a part of it, so it belongs to what was interrupted
            return {}

    def _ended(self) -> None:
        """Wait until the supervisor has let go of everything and is gone itself."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            if Lock.free(self.project) and not (self._supervisor and self._supervisor.alive()):
                return
            time.sleep(0.01)


def connect(project: Project | str) -> Client | None:
    """The supervisor of a project, None when none runs. Raises Failure when it is there and does not answer."""
    project = Project(project) if isinstance(project, str) else project
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(project.control))
        if LINUX and _peer_uid(connection) != os.getuid():
            raise Failure("not-ours", f"`{project.control}` belongs to another user's process")
        client = Client(project, connection)
    except OSError:
        connection.close()
        return None
    except Failure as failure:
        connection.close()
        if failure.code == "supervisor-died":  # it was on its way out
            return None
        raise
    if client.hello.get("protocol") != PROTOCOL:
        client.close()
        raise Failure("other-version", "what runs here was started by another version of modelkit",
                      f"end it: kill {client.hello.get('pid')}")
    return client


def ensure(project: Project | str, *, host: str, port: int, access: Access,
           modelfiles: Sequence[str] = (), timing: Timing | None = None, on_event: OnEvent | None = None) -> Client:
    """The supervisor of a project at this address, started if there is none. Any number may do this at once.

    `modelfiles` are the real paths of those that it serves.

    Raises Failure when it cannot start (`port-busy`, `run-directory` …) or runs at another address.
    """
    from modelkit.runtime.launcher import launch

    project = Project(project) if isinstance(project, str) else project
    until, told = time.monotonic() + _PATIENCE, False
    while time.monotonic() < until:
        project.make()
        client = connect(project)
        if client is not None and _serves(client, host, port):
            if access.key_hashes:  # who says no key does not open what another command has locked
                client._request("access", key_hashes=[key.hex() for key in access.key_hashes],
                                hosts=sorted(access.hosts))
            return client
        if Lock.free(project):
            launch(project, host=host, port=port, access=access, modelfiles=modelfiles, timing=timing or Timing())
            continue
        if on_event is not None and not told:
            told = True
            on_event({"event": "waiting", "reason": "another run of this project is starting or ending"})
        time.sleep(0.05)
    raise Failure("run-busy", f"another run of this project is neither up nor gone: {_holder(project)}",
                  "end that process, then run this again")


def _serves(client: Client, host: str, port: int) -> bool:
    """Whether this supervisor stays, at that address. If not it is gone or going; Failure when it serves elsewhere."""
    hello = client.hello
    if not hello["closing"]:
        if hello["host"] == host and port in (hello["port"], hello["bound"]):
            return True
        if not hello["idle"]:
            client.close()
            raise Failure("other-address", f"this project runs at {client.endpoint} already",
                          "leave out the address, or `modelkit down` first")
        with contextlib.suppress(Failure):
            client.down(0)
    client.close()
    return False


def runs() -> list[Message]:
    """The status of every project that has something running, or had when its supervisor died (`alive` is False)."""
    found = []
    for project in projects():
        try:
            client = connect(project)
            if client is not None:
                with client:
                    found.append(client.status())
                continue
        except Failure as failure:
            found.append({"project": project.id, "alive": False, "error": failure.as_json(), "generations": []})
            continue
        left = state.read(project.state)
        if left is not None:
            found.append({"project": project.id, "modelfile": next(iter(left.modelfiles), ""),
                          "modelfiles": list(left.modelfiles), "alive": False, "pid": left.pid,
                          "endpoint": left.endpoint, "since": left.since, "generations": []})
    return found


def _given(bundle: Bundle) -> Message:
    from modelkit.runtime.environment import passed_on

    return {"bundle": bundle.as_json(), "modelfile": os.path.realpath(bundle.plan.modelfile),
            "environ": passed_on(os.environ)}


def _died(project: Project) -> Failure:
    from modelkit.runtime.launcher import last_words

    return Failure("supervisor-died", "the supervisor of this project ended unexpectedly",
                   "run the command again: it cleans up first", last_words(project))


def _holder(project: Project) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        held = decode(project.lock.read_bytes())
        return f"pid {held['pid']} `{command_of(held['pid'])[:80]}`"
    return f"it holds {project.lock}"


def _peer_uid(connection: socket.socket) -> int:
    return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])
