"""vLLM leaves some paths open whatever its key is; the contract in front of it asks there, too."""

from __future__ import annotations

import json

import pytest

from modelkit.contract.middleware import Contract
from tests.unit.contract.asgi import JSON_HEADERS, Application, call
from tests.unit.contract.profiles import FULL

BODIES = {"/tokenize": {"prompt": "x"}, "/detokenize": {"tokens": [1]}}


@pytest.mark.parametrize(("header", "status"), [
    (b"Bearer secret", 200), (b"bearer secret", 200), (b"Bearer wrong", 401), (b"secret", 401), (b"", 401),
    ("Bearer gehe\u00edm".encode(), 401),
])
@pytest.mark.parametrize("path", list(BODIES))
def test_where_vllm_asks_nobody(path: str, header: bytes, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    app = Application()
    headers = (*JSON_HEADERS, (b"authorization", header))
    answer = call(Contract(app, FULL), path=path, body=BODIES[path], headers=headers)
    assert answer.status == status and bool(app.scopes) == (status == 200)
    if status == 401:
        assert json.loads(answer.body)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(("headers", "status"), [
    (((b"x-api-key", b"secret"),), 200), (((b"x-api-key", b"wrong"),), 401), ((), 401),
    (((b"authorization", b"Bearer secret"),), 200),
    (((b"authorization", b"Bearer wrong"), (b"x-api-key", b"secret")), 401),
])
def test_anthropics_header_says_the_same_key(headers: tuple[tuple[bytes, bytes], ...], status: int,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    app = Application(chunks=(b'{"count": 1}',))
    answer = call(Contract(app, FULL), path="/v1/messages/count_tokens", headers=(*JSON_HEADERS, *headers),
                  body={"model": "support", "messages": [{"role": "user", "content": "x"}]})
    assert answer.status == status and bool(app.scopes) == (status == 200)
    if status == 401:
        assert answer.json["error"]["type"] == "authentication_error"


def test_vllm_reads_the_key_of_anthropics_header_where_it_looks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    app = Application()
    call(Contract(app, FULL), path="/v1/messages", headers=(*JSON_HEADERS, (b"x-api-key", b"whatever")), body=b"{}")
    assert dict(app.scopes[0]["headers"])[b"authorization"] == b"Bearer whatever"


def test_behind_an_edge_nobody_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    assert call(Contract(Application(), FULL), path="/tokenize", body=BODIES["/tokenize"]).status == 200


def test_what_vllm_asks_for_itself_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    for path in ("/health", "/metrics"):
        assert call(Contract(Application(), FULL), "GET", path).status == 200
