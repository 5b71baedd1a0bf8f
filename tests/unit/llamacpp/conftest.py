"""`http`: a client of the surface, with a fake engine and fake chats behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.unit.llamacpp.fakes import FakeChat, FakeEngine
from tests.unit.llamacpp.surface import behind_the_contract


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def chat() -> FakeChat:
    return FakeChat()


@pytest.fixture
async def http(engine: FakeEngine, chat: FakeChat) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(behind_the_contract(engine, chat))
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        yield client
