"""`server`: the same promises asked of a stub, of llama.cpp and of vLLM. `stub`: the stub alone, with its memory."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import uvicorn

from modelkit.contract.middleware import Contract
from tests.conformance.client import Server
from tests.conformance.meaning import CONCURRENCY, CONTEXT, MODELFILE, PROFILE
from tests.conformance.stub import StubEngine

STAGES = {"llama.cpp": "dev", "vllm": "prod"}


@dataclass
class Stub(Server):
    """A server whose engine is a stub that can be told what to do."""

    app: StubEngine

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
        yield Stub("stub", http, engine)


@pytest.fixture(scope="session")
def stubs() -> Iterator[dict[str, Stub]]:
    """One stub for each dialect."""
    with serving("vllm") as vllm, serving("llama-server") as llama:
        yield {"vllm": vllm, "llama-server": llama}


@pytest.fixture(params=["vllm", "llama-server"])
def stub(request: pytest.FixtureRequest, stubs: dict[str, Stub]) -> Iterator[Stub]:
    """The stub, speaking each dialect in turn, with nothing left of what another test told it."""
    one = stubs[request.param]
    one.app.requests.clear()
    yield one
    one.app.failure, one.app.pause = None, 0.0


@pytest.fixture(scope="session")
def live_urls() -> Iterator[dict[str, str]]:
    """The stages that run already, by engine; none of them runs longer than the tests."""
    urls: dict[str, str] = {}
    yield urls
    for url in urls.values():
        from tests.live.engines import stop_stage

        stop_stage(url)


@pytest.fixture(params=[
    "stub",
    pytest.param("llama.cpp", marks=pytest.mark.live_llamacpp),
    pytest.param("vllm", marks=[pytest.mark.live_vllm, pytest.mark.timeout(900)]),
])
def server(request: pytest.FixtureRequest, stubs: dict[str, Stub], live_urls: dict[str, str]) -> Iterator[Server]:
    """A server with the meaning of this suite. An engine is started for the first test that needs it."""
    if request.param == "stub":
        stubs["vllm"].app.pause = 0.01  # slow enough for clients to leave in mid-answer
        yield stubs["vllm"]
        stubs["vllm"].app.pause = 0.0
        return
    if request.param not in live_urls:
        from tests.live.engines import start_stage

        live_urls[request.param] = start_stage(STAGES[request.param], MODELFILE)
    with httpx.Client(base_url=live_urls[request.param].removesuffix("/v1"), timeout=120) as http:
        yield Server(request.param, http)
