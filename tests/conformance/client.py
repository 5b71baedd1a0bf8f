"""A client of one server: plain HTTP for what the `openai` package would hide, and the package itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from openai import OpenAI

from tests.conformance.meaning import NAME
from tests.conformance.observation import Observations

QUESTION = "What is the capital of France?"


def user(content: Any = QUESTION) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


@dataclass
class Server:
    """A server under test. `engine` is what computes: stub, llama.cpp, llama-server or vllm.

    `http` is its public address; `inside` its engine's own socket, which has `/tokenize` too. `seen` is what was
    observed for the running test. Equal requests for whole answers share one answer: `fresh` asks again.
    """

    engine: str
    http: httpx.Client
    inside: httpx.Client | None = None
    seen: Observations = field(default_factory=Observations)
    shared: dict[str, httpx.Response] = field(default_factory=dict)

    @property
    def openai(self) -> OpenAI:
        url = str(self.http.base_url.join("/v1"))
        return OpenAI(base_url=url, api_key="none", http_client=self.http, max_retries=0)

    def post(self, path: str, json: Any = None, raw: bytes | None = None, headers: dict[str, str] | None = None,
             ) -> httpx.Response:
        """Any request; `raw` is a body as it is."""
        if raw is not None:
            answer = self.http.post(path, content=raw,
                                    headers={"content-type": "application/json", **(headers or {})})
        else:
            answer = self.http.post(path, json=json, headers=headers)
        self.observe(path, json, answer)
        return answer

    def observe(self, path: str, request: Any, answer: httpx.Response) -> None:
        body = answer.json() if answer.headers.get("content-type", "").startswith("application/json") else None
        self.seen.whole(path, request, answer.status_code, body)

    def asked(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"model": NAME, "messages": user(), **fields}

    def answer(self, path: str, body: dict[str, Any], *, fresh: bool = False) -> dict[str, Any]:
        """A successful answer; the one that the same request had before, unless it is to be a fresh one."""
        key = path + json.dumps(body, sort_keys=True)
        if fresh or key not in self.shared:
            self.shared[key] = self.http.post(path, json=body)
        answer = self.shared[key]
        self.observe(path, body, answer)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def chat(self, *, fresh: bool = False, **fields: Any) -> dict[str, Any]:
        """A successful answer."""
        return self.answer("/v1/chat/completions", self.asked(fields), fresh=fresh)

    def complete(self, *, fresh: bool = False, **fields: Any) -> dict[str, Any]:
        body = {"model": NAME, "prompt": "Once upon a time", **fields}
        return self.answer("/v1/completions", body, fresh=fresh)

    def refused(self, path: str = "/v1/chat/completions", *, status: int = 400, **fields: Any) -> dict[str, Any]:
        """The error of a request that must fail, its envelope checked."""
        body = self.asked(fields) if path == "/v1/chat/completions" else {"model": NAME, **fields}
        return envelope(self.post(path, body), status)

    @contextmanager
    def stream(self, path: str = "/v1/chat/completions", **fields: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """The chunks of a streamed answer as they come; leaving early is a client that goes away."""
        body = self.asked(fields) if path == "/v1/chat/completions" else {"model": NAME, **fields}
        with self.http.stream("POST", path, json={**body, "stream": True}) as answer:
            if answer.status_code != 200:
                answer.read()
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield chunks(answer.iter_lines())

    def streamed(self, path: str = "/v1/chat/completions", **fields: Any) -> list[dict[str, Any]]:
        """All chunks of a streamed answer."""
        with self.stream(path, **fields) as found:
            said = list(found)
        self.seen.stream(path, fields, said)
        return said

    def tokenize(self, **fields: Any) -> dict[str, Any]:
        """What the engine makes of messages or of a prompt: asked at its own socket, since no edge routes it."""
        assert self.inside is not None
        answer = self.inside.post("/tokenize", json={"model": NAME, **fields})
        self.observe("/tokenize", fields, answer)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def detokenize(self, tokens: list[int]) -> str:
        assert self.inside is not None
        answer = self.inside.post("/detokenize", json={"model": NAME, "tokens": tokens})
        self.observe("/detokenize", {}, answer)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["prompt"])


def chunks(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The framing of server-sent events: `data:` lines of JSON, each its own event, `[DONE]` last and once."""
    done = False
    for line in lines:
        if not line:
            continue
        assert line.startswith("data: "), line
        assert not done, line
        if line == "data: [DONE]":
            done = True
        else:
            yield json.loads(line[6:])
    assert done, "the stream ended without [DONE]"


def envelope(answer: httpx.Response, status: int) -> dict[str, Any]:
    """OpenAI's error object: four fields, a sentence and a string code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert set(said) == {"error"}
    error = said["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["code"], str) and error["code"]
    assert isinstance(error["type"], str) and error["type"]
    assert error["param"] is None or isinstance(error["param"], str)
    return dict(error)


def text(answer: dict[str, Any]) -> str:
    """What the first choice of an answer says."""
    choice = answer["choices"][0]
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def joined(found: list[dict[str, Any]]) -> str:
    """What the chunks of a stream say together."""
    said = [choice for chunk in found for choice in chunk["choices"]]
    return "".join((c["delta"].get("content") or "") if "delta" in c else c["text"] for c in said)


def finish(found: list[dict[str, Any]]) -> str:
    reasons = [c["finish_reason"] for chunk in found for c in chunk["choices"] if c["finish_reason"]]
    assert len(reasons) == 1, reasons
    return str(reasons[0])
