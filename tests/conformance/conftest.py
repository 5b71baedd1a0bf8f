"""`server`: the same promises asked of a stub and of all engines. `engine`: of all engines. `stub`: of the stub.

    pytest tests/conformance -m "live_llamacpp or live_vllm or live_parity" --server vllm=FOLDER    it runs already
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from modelkit.contract.middleware import Contract
from tests.conformance.client import Server
from tests.conformance.meaning import CONCURRENCY, CONTEXT, MODELFILE, PROFILE
from tests.conformance.observation import Observations
from tests.conformance.parity import Record
from tests.conformance.stub import StubEngine

HERE = Path(__file__).parent
STAGES = {"llama.cpp": "dev", "llama-server": "server", "vllm": "prod"}
FOLDERS = pytest.StashKey[dict[str, Path]]()
RECORDED = pytest.StashKey[Record]()


def pytest_configure(config: pytest.Config) -> None:
    said = dict(one.split("=", 1) for one in config.getoption("--server"))
    config.stash[FOLDERS] = {engine: Path(folder) for engine, folder in said.items()}
    config.stash[RECORDED] = Record()


PROMISES = ("test_answers.py", "test_meaning.py", "test_mistakes.py")
"""Modules that every engine is asked in every run of the tests. The others ask the stub and the dev engine there, and
all engines in `make parity`."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a whole run showed is judged after it."""
    for item in items:
        if item.path.parent == HERE and item.path.name not in PROMISES and _asks_others(item):
            item.own_markers[:] = [mark for mark in item.own_markers if not mark.name.startswith("live_")]
            item.add_marker("live_parity")
    items.sort(key=lambda item: item.path.name == "test_parity.py")


def _asks_others(item: pytest.Item) -> bool:
    """Whether an engine is asked that is not the dev engine."""
    asked = getattr(item, "callspec", None)
    return item.get_closest_marker("live_vllm") is not None or (
        asked is not None and "llama-server" in (asked.params.get("server"), asked.params.get("engine")))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Cases that this run did not have keep what was written down of them."""
    if said := session.config.getoption("--parity"):
        path, seen = Path(said), session.config.stash[RECORDED]
        record = Record.loads(path.read_text("utf-8")) if path.exists() else Record()
        path.write_text(record.updated(seen).dumps(), "utf-8")


@dataclass
class Stub(Server):
    """A server whose engine is a stub that can be told what to do."""

    app: StubEngine = field(kw_only=True)

    @property
    def last(self) -> dict:
        """The engine's last request."""
        return self.app.requests[-1]


@contextmanager
def listening(app: Contract) -> Iterator[Path]:
    """The application under uvicorn, on a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="mk") as folder:  # short: a socket's path has 100 characters
        path = Path(folder) / "s"
        server = uvicorn.Server(uvicorn.Config(app, uds=str(path), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the stub did not start"
            time.sleep(0.01)
        yield path
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive(), "the stub did not stop"


@contextmanager
def serving(dialect: str) -> Iterator[Stub]:
    engine = StubEngine(dialect, CONTEXT, CONCURRENCY)
    with (listening(Contract(engine, replace(PROFILE, dialect=dialect))) as path,
          httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://stub", timeout=30) as http):
        yield Stub("stub", http, http, app=engine)


@pytest.fixture(scope="session")
def stubs() -> Iterator[dict[str, Stub]]:
    """One stub for each dialect."""
    with serving("vllm") as vllm, serving("llama-server") as llama, serving("llamacpp") as ours:
        yield {"vllm": vllm, "llama-server": llama, "llamacpp": ours}


@pytest.fixture(params=["vllm", "llama-server", "llamacpp"])
def stub(request: pytest.FixtureRequest, stubs: dict[str, Stub]) -> Iterator[Stub]:
    """The stub, speaking each dialect in turn, with nothing left of what another test told it."""
    one = stubs[request.param]
    one.app.requests.clear()
    one.shared.clear()
    yield one
    one.app.failure, one.app.pause = None, 0.0


@pytest.fixture(scope="session")
def running(request: pytest.FixtureRequest) -> Iterator[dict[str, Server]]:
    """The engines that run already, by name; none that these tests started runs longer than they."""
    from tests.live.engines import running_in, stage_folder, start_stage, stop_stage

    with ExitStack() as stack:
        def client(**options: Any) -> httpx.Client:
            return stack.enter_context(httpx.Client(timeout=120, **options))

        def start(engine: str) -> Server:
            folder = request.config.stash[FOLDERS].get(engine)
            if folder is None:
                url = start_stage(STAGES[engine], MODELFILE)
                stack.callback(stop_stage, url)
                folder = stage_folder(url)
            url, socket = running_in(folder)
            server = Server(engine, client(base_url=url.removesuffix("/v1")),
                            client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://engine"))
            request.config.stash[RECORDED].engines[engine] = server.chat(max_tokens=1)["system_fingerprint"]
            return server

        yield Starting(start)


class Starting(dict[str, Server]):
    """Starts an engine for the first test that needs it."""

    def __init__(self, start: Callable[[str], Server]) -> None:
        super().__init__()
        self.start = start

    def __missing__(self, engine: str) -> Server:
        self[engine] = self.start(engine)
        return self[engine]


LIVE = [
    pytest.param("llama.cpp", marks=pytest.mark.live_llamacpp),
    pytest.param("llama-server", marks=pytest.mark.live_llamacpp),
    pytest.param("vllm", marks=[pytest.mark.live_vllm, pytest.mark.timeout(900)]),
]


@contextmanager
def observed(server: Server, request: pytest.FixtureRequest) -> Iterator[Server]:
    """The server for one test; what it shows belongs to that test's case."""
    server.seen = Observations()
    yield server
    others = request.node.callspec.id.removeprefix(server.engine).removeprefix("-")
    case = f"{request.node.path.stem}::{request.node.originalname}" + (f"[{others}]" if others else "")
    request.config.stash[RECORDED].add(case, server.engine, server.seen)


@pytest.fixture(params=["stub", *LIVE])
def server(request: pytest.FixtureRequest, stubs: dict[str, Stub], running: dict[str, Server]) -> Iterator[Server]:
    """A server with the meaning of this suite."""
    if request.param == "stub":
        stubs["vllm"].app.pause = 0.01  # slow enough for clients to leave in mid-answer
        yield stubs["vllm"]
        stubs["vllm"].app.pause = 0.0
        return
    with observed(running[request.param], request) as one:
        yield one


@pytest.fixture(params=LIVE)
def engine(request: pytest.FixtureRequest, running: dict[str, Server]) -> Iterator[Server]:
    """A server whose answers come from a model."""
    with observed(running[request.param], request) as one:
        yield one
