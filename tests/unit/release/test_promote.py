"""`promote`: the candidate is checked beside what serves; a difference changes nothing; success is recorded."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from modelkit.contract.profile import Profile
from modelkit.engines.launch import Launch
from modelkit.failure import Failure
from modelkit.language.modelfile import Layer, Modelfile, Said
from modelkit.language.source import Span
from modelkit.planning.plan import Engine, Plan, Weights
from modelkit.platforms.bundle import Bundle
from modelkit.release.parity import Conversation
from modelkit.release.promote import Refused, Running, meaning, promote

CONVERSATIONS = (Conversation("greeting", ({"role": "user", "content": "hello"},)),
                 Conversation("fraction", ({"role": "user", "content": "½"},)))
Tokenize = Callable[[str], list[int]]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[[str, Tokenize], str]]:
    """Starts engines that only tokenize, each on a Unix socket of its own."""
    servers = []

    def start(name: str, tokenize: Tokenize) -> str:
        class Handler(BaseHTTPRequestHandler):
            def address_string(self) -> str:
                return "socket"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/tokenize":
                    answer: dict[str, Any] = {"tokens": tokenize(body["messages"][0]["content"])}
                else:
                    answer = {"prompt": "".join(map(chr, body["tokens"]))}
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        path = str(tmp_path / f"{name}.sock")
        server = socketserver.ThreadingUnixStreamServer(path, Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return path

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def code_points(text: str) -> list[int]:
    return [ord(c) for c in text]


def bundle(tmp_path: Path, stage: str) -> Bundle:
    profile = Profile(name="bot", dialect="vllm", context_length=64).as_json()
    plan = Plan(name="bot", modelfile=str(tmp_path / "Modelfile"), stage=stage, platform="process", engine_name="vllm",
                engine=Engine(name="vllm", provider="environment", version="0.32.0", command=("vllm",)),
                reference="x", context_length=64, max_concurrency=1, profile=profile, settings=(),
                weights=Weights(reference="x", form="gguf", path="/somewhere", digest="sha256:1", size=7))
    return Bundle(plan, Launch(argv=("vllm", stage)))


class FakeEndpoint:
    """Engines by stage; remembers what was asked of it."""

    def __init__(self, sockets: dict[str, str], serving: str | None) -> None:
        self.sockets, self.serving, self.asked = sockets, serving, []  # type: ignore[var-annotated]

    def _running(self, bundle: Bundle) -> Running:
        stage = bundle.plan.stage
        return Running(list(self.sockets).index(stage) + 1, self.sockets[stage], bundle.digest)

    def running(self, bundle: Bundle) -> Running | None:
        return self._running(bundle) if bundle.plan.stage == self.serving else None

    def start(self, bundle: Bundle) -> Running:
        self.asked.append(("start", bundle.plan.stage))
        if not self.sockets[bundle.plan.stage]:
            raise Failure("engine-exited", "it died")
        return self._running(bundle)

    def switch(self, generation: int) -> None:
        self.asked.append(("switch", list(self.sockets)[generation - 1]))

    def stop(self, generation: int) -> None:
        self.asked.append(("stop", list(self.sockets)[generation - 1]))


@pytest.fixture
def modelfile(tmp_path: Path) -> Modelfile:
    (tmp_path / "Modelfile").write_text("FROM x\n")
    nowhere = Span(0, 0)
    return Modelfile(path=str(tmp_path / "Modelfile"), name=Said(value="bot", span=nowhere),
                     layer=Layer(base=Said(value="x", span=nowhere)))


def test_equal_stages_switch_and_write_a_record(tmp_path: Path, modelfile: Modelfile, engine: Any) -> None:
    endpoint = FakeEndpoint({"dev": engine("dev", code_points), "prod": engine("prod", code_points)}, "dev")
    source, target = bundle(tmp_path, "dev"), bundle(tmp_path, "prod")
    done = promote(modelfile, source, target, endpoint, conversations=CONVERSATIONS)
    assert endpoint.asked == [("start", "prod"), ("switch", "prod")]
    assert done.parity.equal
    assert done.record is not None
    record = json.loads(done.record.path.read_bytes())
    assert (record["kind"], record["from"], record["to"], record["prev"]) == ("promote", "dev", "prod", None)
    assert record["subject"]["ir"] == meaning(target.plan)
    assert record["subject"]["artifacts"][0]["tree"] == "sha256:1"
    (gate,) = record["gates"]
    assert (gate["id"], gate["verdict"], gate["observed"]["conversations"]) == ("parity", "pass", "2")
    again = promote(modelfile, source, target, endpoint, conversations=CONVERSATIONS)
    assert again.record is not None
    assert json.loads(again.record.path.read_bytes())["prev"] == done.record.id


def test_a_difference_is_refused_and_shown(tmp_path: Path, modelfile: Modelfile, engine: Any) -> None:
    def faulty(text: str) -> list[int]:
        return [0x31 if t == 0xBD else t for t in code_points(text)]

    endpoint = FakeEndpoint({"dev": engine("dev", code_points), "prod": engine("prod", faulty)}, "dev")
    with pytest.raises(Refused) as caught:
        promote(modelfile, bundle(tmp_path, "dev"), bundle(tmp_path, "prod"), endpoint, conversations=CONVERSATIONS)
    assert caught.value.exit_code == 1
    assert "'½' (token 189)" in "\n".join(caught.value.detail)
    assert "fraction" in caught.value.detail[0]
    assert endpoint.asked == [("start", "prod"), ("stop", "prod")]
    assert not (tmp_path / "promotions").exists()


def test_a_candidate_that_dies_changes_nothing(tmp_path: Path, modelfile: Modelfile, engine: Any) -> None:
    endpoint = FakeEndpoint({"dev": engine("dev", code_points), "prod": ""}, "dev")
    with pytest.raises(Failure, match="it died"):
        promote(modelfile, bundle(tmp_path, "dev"), bundle(tmp_path, "prod"), endpoint, conversations=CONVERSATIONS)
    assert endpoint.asked == [("start", "prod")]
    assert not (tmp_path / "promotions").exists()


def test_what_was_started_only_to_compare_is_stopped(tmp_path: Path, modelfile: Modelfile, engine: Any) -> None:
    endpoint = FakeEndpoint({"dev": engine("dev", code_points), "prod": engine("prod", code_points)}, None)
    promote(modelfile, bundle(tmp_path, "dev"), bundle(tmp_path, "prod"), endpoint, conversations=CONVERSATIONS)
    assert endpoint.asked == [("start", "dev"), ("start", "prod"), ("switch", "prod"), ("stop", "dev")]


def test_meaning_leaves_paths_and_addresses_out(tmp_path: Path) -> None:
    plan = bundle(tmp_path, "prod").plan
    assert plan.weights is not None
    moved = plan.model_copy(update={"port": 1, "host": "::1", "modelfile": "elsewhere",
                                    "weights": plan.weights.model_copy(update={"path": "/other"})})
    assert meaning(moved) == meaning(plan)
    assert meaning(plan.model_copy(update={"context_length": 65})) != meaning(plan)
