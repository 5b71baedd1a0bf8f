"""Who may come in, and where. `tests/unit/engines/test_servers.py` tries the same in front of real servers."""

from __future__ import annotations

import json

import pytest

from modelkit.contract.door import Door

Heard = list[dict[str, object]]


async def answer(door: Door, method: str, path: str, *headers: tuple[bytes, bytes]) -> int:
    """The status of an answer; 200 is the application's."""
    sent: Heard = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    await door(scope, None, send)  # type: ignore[arg-type]
    return int(str(sent[0]["status"]))


async def application(scope: object, receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]


@pytest.mark.parametrize(("method", "path", "without", "given"), [
    ("GET", "/health", 200, 200), ("HEAD", "/health", 200, 200), ("GET", "/metrics", 200, 200),
    ("POST", "/health", 401, 200), ("GET", "/healthy", 401, 404), ("GET", "/health/", 401, 404),
    ("GET", "/v1/models", 401, 200), ("GET", "/v1/models/a/b", 401, 200), ("GET", "/v1/models2", 401, 404),
    ("GET", "/modelkit/effective", 401, 200), ("POST", "/v1/chat/completions", 401, 200),
    ("GET", "/flush_cache", 401, 404), ("OPTIONS", "/v1/chat/completions", 401, 404), ("DELETE", "/x", 401, 200),
])
async def test_paths(method: str, path: str, without: int, given: int) -> None:
    """200 for what the contract answers: it refuses what is not among its own."""
    door = Door(application, key="k")  # type: ignore[arg-type]
    assert await answer(door, method, path) == without
    assert await answer(door, method, path, (b"authorization", b"Bearer k")) == given


@pytest.mark.parametrize(("said", "status"), [
    (b"Bearer k", 200), (b"bearer  k ", 200), (b"Bearer K", 401), (b"Bearer", 401), (b"Bearer ", 401), (b"k", 401),
    (b"Basic k", 401), (b"Bearer k\xff", 401), (b"Bearer kk", 401)])
async def test_keys(said: bytes, status: int) -> None:
    door = Door(application, key="k")  # type: ignore[arg-type]
    assert await answer(door, "POST", "/v1/completions", (b"authorization", said)) == status


@pytest.mark.parametrize(("said", "status"), [(b"k", 200), (b"Bearer k", 401), (b"K", 401), (b"", 401)])
async def test_anthropics_header(said: bytes, status: int) -> None:
    door = Door(application, key="k")  # type: ignore[arg-type]
    assert await answer(door, "POST", "/v1/messages", (b"x-api-key", said)) == status


async def test_a_refusal_has_the_paths_shape() -> None:
    sent: Heard = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": []}
    await Door(application, key="k")(scope, None, send)  # type: ignore[arg-type]
    assert json.loads(str(sent[1]["body"], "utf-8"))["error"]["type"] == "authentication_error"  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["ключ", " k", "a\nb", ""])
def test_a_key_that_no_client_can_send_ends_the_start(key: str) -> None:
    with pytest.raises(ValueError, match="MODELKIT_API_KEY"):
        Door(application, key=key)  # type: ignore[arg-type]


async def test_no_key_means_that_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELKIT_API_KEY", raising=False)
    assert await answer(Door(application), "POST", "/v1/completions") == 200  # type: ignore[arg-type]
    monkeypatch.setenv("MODELKIT_API_KEY", "k")
    assert await answer(Door(application), "POST", "/v1/completions") == 401  # type: ignore[arg-type]
