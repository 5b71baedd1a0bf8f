"""The surface with fakes behind it and the contract before it, and how it is asked."""

from __future__ import annotations

import json
from typing import Any

import httpx

from modelkit.contract.middleware import Contract
from modelkit.contract.profile import Profile
from modelkit.llamacpp.app import application
from modelkit.llamacpp.config import Config
from modelkit.llamacpp.types import State
from tests.unit.llamacpp.fakes import FakeChat, FakeEngine

CONFIG = Config("model.gguf", "engine.sock", "profile.json", "fake-1", 256, 4)
PROFILE = Profile("tiny", "llamacpp", 256, adapters=("tuned",))
STATE = State(version="1", model="/models/m.gguf", context_length=256, max_concurrency=4, template="sha256:0",
              adapters=["tuned"], kv_cache="f16", kv_tokens=1024)
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


def behind_the_contract(engine: FakeEngine, chat: FakeChat) -> Contract:
    return Contract(application(engine, chat, CONFIG, PROFILE, state=STATE), PROFILE)


async def post(http: httpx.AsyncClient, path: str, **fields: Any) -> dict[str, Any]:
    answer = await http.post(path, json={"model": "tiny", **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def streamed(http: httpx.AsyncClient, path: str, **fields: Any) -> list[Any]:
    answer = await http.post(path, json={"model": "tiny", "stream": True, **fields})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, nothing = answer.text.split("\n\n")
    assert nothing == "" and all(event.startswith("data: ") for event in events)
    return [event[6:] if event == "data: [DONE]" else json.loads(event[6:]) for event in events]
