"""The clients and servers of others on both sides: the openai package, httpx, uvicorn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest
import uvicorn

from modelkit.runtime.edge import Upstream
from tests.unit.runtime.edge.harness import END, EVENTS, OK, VERSION, Bench, Call, always, bench, event, post, until


def chunk(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return event(json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                             "choices": [choice]}))


def client(made: Bench, **options: Any) -> openai.AsyncOpenAI:
    settings: dict[str, Any] = {"api_key": "unused", "max_retries": 0} | options
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{made.port}/v1", **settings)


ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


async def test_openai_reads_a_stream() -> None:
    async with bench(always(EVENTS, chunk("one"), chunk(" two"), event("[DONE]"), END)) as made, client(made) as api:
        for _ in range(3):
            stream = await api.chat.completions.create(**ASK, stream=True)
            assert [part.choices[0].delta.content async for part in stream] == ["one", " two"]
        assert made.engines[0].connections == 1


async def test_openai_is_told_that_the_engine_stopped() -> None:
    async def dies(call: Call) -> None:
        await call.request()
        await call.say(EVENTS, chunk("one"))

    async with bench(dies) as made, client(made) as api:
        got = []
        with pytest.raises(openai.APIError) as caught:
            async for part in await api.chat.completions.create(**ASK, stream=True):
                got.append(part.choices[0].delta.content)
        assert got == ["one"] and caught.value.code == "engine_stopped"


async def test_openai_waits_as_long_as_it_is_told_while_there_is_no_engine() -> None:
    async with bench() as made, client(made, max_retries=5) as api:
        asking = asyncio.create_task(api.chat.completions.create(**ASK))
        await until(lambda: bool(made.log))
        body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": []}).encode()
        answer = OK.replace(b"Length: 2\r\n\r\n{}", b"Length: %d\r\n\r\n%b" % (len(body), body))
        made.edge.route((await made.engine(always(answer))).upstream)
        assert (await asking).id == "c"


async def test_openai_knows_the_errors() -> None:
    async with bench(always(OK)) as made, client(made) as api:
        with pytest.raises(openai.NotFoundError) as caught:
            await api.moderations.create(model="m", input="hi")
        assert caught.value.code == "not_found"


async def test_openai_that_leaves_a_stream_frees_the_engine() -> None:
    gone = asyncio.Event()

    async def endless(call: Call) -> None:
        await call.request()
        await call.say(EVENTS, chunk("one"))
        await call.gone()
        gone.set()

    async with bench(endless) as made, client(made) as api:
        stream = await api.chat.completions.create(**ASK, stream=True)
        async for _ in stream:
            break
        await stream.close()
        await gone.wait()


class App:
    """What vLLM is to the edge: an ASGI application under uvicorn."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        streams = b"stream" in body
        kind = b"text/event-stream" if streams else b"application/json"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        if b"endless" in body:
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            assert (await receive())["type"] == "http.disconnect"
            self.left.set()
            return
        for number in range(3):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def uvicorn_behind(made: Bench, app: App, **options: Any) -> AsyncIterator[None]:
    path = f"{made.folder}/uvicorn.sock"
    server = uvicorn.Server(uvicorn.Config(app, uds=path, lifespan="off", log_level="critical", **options))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    made.edge.route(Upstream(path, VERSION, "prod", "uvicorn"))
    yield
    server.should_exit = True
    await serving


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_uvicorn_behind(http: str) -> None:
    app = App()
    async with bench() as made, uvicorn_behind(made, app, http=http), httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{made.port}") as api:
        for _ in range(3):
            response = await api.post("/v1/completions", json={"stream": True})
            assert response.text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
            response = await api.post("/v1/completions", json={"n": "x" * 300_000})
            assert response.status_code == 200
        async with api.stream("POST", "/v1/completions", json={"stream": "endless"}) as streaming:
            assert await anext(streaming.aiter_raw()) == b"data: 1\n\n"
        await app.left.wait()


async def test_uvicorn_that_closes_idle_connections() -> None:
    async with bench() as made, uvicorn_behind(made, App(), timeout_keep_alive=0), made.client() as asking:
        for _ in range(10):
            assert (await asking.ask(post())).status == 200
            await asyncio.sleep(0.001)
