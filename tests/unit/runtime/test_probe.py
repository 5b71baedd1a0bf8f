"""Ready is who answers a request of the stage's task."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.runtime.probe import Probe

ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"choices": [{}]}), "embed": ("/v1/embeddings", {"data": [{}]}),
    "rerank": ("/v1/rerank", {"results": [{}]})}


async def probed(task: str, answers: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a probe asks an engine that has these answers by path."""
    asked: list[tuple[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
        body, path = await reader.readexactly(length), head.split()[1]
        if path != "/health":
            asked.append((path, json.loads(body)))
        found = answers.get(path) if path != "/health" else {}
        raw = json.dumps(found).encode()
        status = b"404 Not Found" if found is None else b"200 OK"
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(raw), raw))
        writer.close()

    with tempfile.TemporaryDirectory(prefix="mk-") as folder:
        server = await asyncio.start_unix_server(serve, Path(folder) / "s")
        async with server:
            await Probe(Path(folder) / "s", os.getsid(0), "m", task=task).ready(0.01)
    return asked


@pytest.mark.parametrize("task", list(ANSWERS))
def test_an_engine_is_asked_what_it_is_there_for(task: str) -> None:
    path, answer = ANSWERS[task]
    ((asked, body),) = asyncio.run(probed(task, {path: answer}))
    assert asked == path and body["model"] == "m"


@pytest.mark.parametrize("task", list(ANSWERS))
@pytest.mark.parametrize("answer", [None, {"choices": [], "data": [], "results": []}])
def test_an_engine_that_cannot_is_not_ready(task: str, answer: Any) -> None:
    with pytest.raises(Failure) as caught:
        asyncio.run(probed(task, {ANSWERS[task][0]: answer} if answer is not None else {}))
    assert caught.value.code == "engine-not-working"
