"""The application that Ray's replicas run, with stand-ins for Ray's own parts."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from importlib.resources import files
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from modelkit.platforms import ray


class Server:
    """Stands for LLMServer: its API is a list of what was added to it."""

    async def __serve_build_asgi_app__(self) -> Any:
        added: list[Any] = []
        return SimpleNamespace(added=added, add_middleware=added.append)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    parts = {name: ModuleType(name) for name in ("ray", "ray.serve", "ray.serve.llm", "ray.serve.llm.deployment")}
    parts["ray"].serve = parts["ray.serve"]  # type: ignore[attr-defined]
    parts["ray.serve"].ingress = lambda: lambda one: ("with an API", one)  # type: ignore[attr-defined]
    parts["ray.serve.llm"].LLMConfig = SimpleNamespace(model_validate=dict)  # type: ignore[attr-defined]
    parts["ray.serve.llm"].build_llm_deployment = lambda config, **more: (config, more)  # type: ignore[attr-defined]
    parts["ray.serve.llm.deployment"].LLMServer = Server  # type: ignore[attr-defined]
    for name, module in parts.items():
        monkeypatch.setitem(sys.modules, name, module)
    path = str(files("modelkit.platforms").joinpath(f"children/{ray.PROGRAM}.py"))
    spec = importlib.util.spec_from_file_location(ray.PROGRAM, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_replica_serves_the_engines_own_api(program: Any) -> None:
    config, more = program.application({"llm_config": {"engine_kwargs": {"max_model_len": 8}}})
    assert config["engine_kwargs"] == {"max_model_len": 8}
    assert more["deployment_cls"] == ("with an API", program.Engine)


async def test_without_its_key_a_replica_does_not_serve(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKIT_NEEDS", "VLLM_API_KEY")
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    with pytest.raises(RuntimeError, match="VLLM_API_KEY is not set on this node"):
        await program.Engine().__serve_build_asgi_app__()
    monkeypatch.setenv("VLLM_API_KEY", "any")
    assert (await program.Engine().__serve_build_asgi_app__()).added == [program.Leaving]


class Client:
    """Sends a request, then nothing more; hears what is sent to it."""

    def __init__(self) -> None:
        self.asked, self.heard = False, asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if self.asked:
            await asyncio.Event().wait()
        self.asked = True
        return {"type": "http.request", "body": b"{}"}

    async def send(self, message: dict[str, Any]) -> None:
        self.heard.set()


async def test_an_answer_without_a_client_is_told_so(program: Any) -> None:
    heard: list[str] = []
    begun = asyncio.Event()

    async def whole(scope: Any, receive: Any, send: Any) -> None:
        heard.append((await receive())["type"])
        begun.set()
        heard.append((await receive())["type"])

    client = Client()
    task = asyncio.create_task(program.Leaving(whole)({"type": "http"}, client.receive, client.send))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == ["http.request", "http.disconnect"]


async def test_a_stream_without_a_client_is_cancelled(program: Any) -> None:
    ended = asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        try:
            while True:
                await send({"type": "http.response.body", "more_body": True})
                await asyncio.sleep(0)
        finally:
            ended.set()

    client = Client()
    task = asyncio.create_task(program.Leaving(stream)({"type": "http"}, client.receive, client.send))
    await client.heard.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_an_answer_and_a_failure_pass_as_they_are(program: Any) -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start"})
        raise ValueError("the engine's own")

    client = Client()
    with pytest.raises(ValueError, match="the engine's own"):
        await program.Leaving(answer)({"type": "http"}, client.receive, client.send)
    assert client.heard.is_set()
