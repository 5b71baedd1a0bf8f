"""An engine with no model: its answers follow from the request, and it remembers what it was asked.

A token is a word with the blank before it. With temperature 0 the words follow from the conversation, else from the
seed too. It has slots, sees its clients leave, and refuses as the engine whose dialect it speaks.
"""

from __future__ import annotations

import asyncio
import json
import math
import zlib
from typing import Any

WORDS = ("The", "capital", "of", "France", "is", "Paris.", "It", "is", "a", "city", "on", "the", "river", "Seine",
         "and", "people", "like", "it")


class StubEngine:
    """An ASGI application that answers like an engine behind the contract.

    `requests` holds every request as it came. `failure` is a status and a body to answer with instead; `pause` the
    seconds between two tokens.
    """

    def __init__(self, dialect: str, context_length: int, slots: int) -> None:
        self.dialect = dialect
        self.context_length = context_length
        self.slots = asyncio.Semaphore(slots)
        self.requests: list[dict[str, Any]] = []
        self.failure: tuple[int, bytes] | None = None
        self.pause = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "POST":
            await _answer(send, 404, b'{"detail":"Not Found"}')
            return
        message = await receive()
        if message["type"] != "http.request":
            await _answer(send, 400, b'{"detail":"There was an error parsing the body"}')
            return
        request = json.loads(message["body"])
        self.requests.append(request)
        prompt = _prompt(request)
        if self.failure is not None:
            await _answer(send, *self.failure)
        elif scope["path"] == "/tokenize":
            ids = [zlib.crc32(word.encode()) for word in prompt]
            await _answer(send, 200, json.dumps({"tokens": ids, "count": len(ids), "max_model_len": self.context_length,
                                                 "token_strs": None}).encode())
        elif len(prompt) >= self.context_length:
            await _answer(send, 400, self.too_long(len(prompt)))
        else:
            await self.generate(request, prompt, receive, send)

    def too_long(self, tokens: int) -> bytes:
        """As vLLM and as llama-server say it."""
        limit = self.context_length
        if self.dialect == "vllm":
            return json.dumps({"error": {
                "message": f"This model's maximum context length is {limit} tokens. However, your prompt contains "
                           f"{tokens} input tokens, which exceeds this limit even without any output tokens.",
                "type": "BadRequestError", "param": "input_tokens", "code": 400}}).encode()
        return json.dumps({"error": {
            "code": 400, "message": f"request ({tokens} tokens) exceeds the available context size ({limit} tokens)",
            "type": "exceed_context_size_error", "n_prompt_tokens": tokens, "n_ctx": limit}}).encode()

    async def generate(self, request: dict[str, Any], prompt: list[str], receive: Any, send: Any) -> None:
        """Until the end, or until the client is gone."""
        gone = asyncio.ensure_future(_gone(receive))
        work = asyncio.ensure_future(self.work(request, prompt, send))
        await asyncio.wait((gone, work), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        work.cancel()
        await asyncio.gather(gone, work, return_exceptions=True)

    async def work(self, request: dict[str, Any], prompt: list[str], send: Any) -> None:
        async with self.slots:
            writer = _Writer(request, len(prompt), send)
            prompts = request.get("prompt")
            several = len(prompts) if isinstance(prompts, list) and not isinstance(prompts[0], int) else 1
            for index in range(several * request.get("n", 1)):
                await self.choice(request, prompt, index, writer)
            await writer.end()

    async def choice(self, request: dict[str, Any], prompt: list[str], index: int, writer: _Writer) -> None:
        said, limit = "", self.context_length - len(prompt)
        if (asked := request.get("max_tokens", -1)) > 0:
            limit = min(limit, asked)
        for word in _words(request, prompt, index)[:limit]:
            if self.pause:
                await asyncio.sleep(self.pause)
            said += word
            if stopped := _stopped(said, request.get("stop", [])):
                await writer.token(index, stopped[len(said) - len(word):], "stop")
                return
            await writer.token(index, word)
        whole = len(_words(request, prompt, index))
        await writer.token(index, None, "stop" if whole <= limit else "length")


class _Writer:
    """One answer, streamed or whole, in the engines' common form."""

    def __init__(self, request: dict[str, Any], prompt_tokens: int, send: Any) -> None:
        self.request, self.send = request, send
        self.prompt_tokens, self.completion_tokens = prompt_tokens, 0
        self.chat = "messages" in request
        self.forced = _tool_forced(request)
        self.choices: dict[int, dict[str, Any]] = {}
        self.started = False

    async def token(self, index: int, text: str | None, finish: str | None = None) -> None:
        self.completion_tokens += text is not None
        choice: dict[str, Any] = {"index": index, "finish_reason": finish, "logprobs": self.logprobs(text)}
        if not self.request.get("stream"):
            whole = self.choices.setdefault(index, {"index": index, "text": "", "content": []})
            whole["text"] += text or ""
            whole["content"] += (choice["logprobs"] or {"content": []})["content"]
            whole["finish_reason"] = finish
            return
        if self.forced:
            call: dict[str, Any] = {"index": 0, "function": {"arguments": text or ""}}
            if index not in self.choices:  # a call begins with its name
                self.choices[index] = {}
                name = self.request["tools"][0]["function"]["name"]
                call = {"index": 0, "id": "c1", "type": "function", "function": {"name": name, **call["function"]}}
            choice |= {"delta": {"role": "assistant", "tool_calls": [call]}}
        else:
            choice |= {"delta": {"role": "assistant", "content": text or ""}} if self.chat else {"text": text or ""}
        await self.event({"choices": [choice]})

    def logprobs(self, text: str | None) -> dict[str, Any] | None:
        wanted = self.request.get("logprobs")
        if not text or wanted is None or wanted is False:
            return None
        one = {"token": text, "logprob": -math.log(2), "bytes": list(text.encode())}
        return {"content": [{**one, "top_logprobs": [one] * self.request.get("top_logprobs", 0)}]}

    async def event(self, fields: dict[str, Any]) -> None:
        if not self.started:
            self.started = True
            await self.send({"type": "http.response.start", "status": 200,
                             "headers": [(b"content-type", b"text/event-stream; charset=utf-8")]})
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        data = json.dumps({"id": "1", "object": kind, "created": 0, "model": self.request["model"], **fields})
        await self.send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})

    async def end(self) -> None:
        usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens,
                 "total_tokens": self.prompt_tokens + self.completion_tokens}
        if self.request.get("stream"):
            if self.request.get("stream_options", {}).get("include_usage"):
                await self.event({"choices": [], "usage": usage})
            await self.send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
            return
        choices = [self.whole(choice) for choice in self.choices.values()]
        kind = "chat.completion" if self.chat else "text_completion"
        await _answer(self.send, 200, json.dumps({"id": "1", "object": kind, "created": 0, "usage": usage,
                                                  "model": self.request["model"], "choices": choices}).encode())

    def whole(self, choice: dict[str, Any]) -> dict[str, Any]:
        said = {"index": choice["index"], "finish_reason": choice["finish_reason"], "logprobs": None}
        if not self.chat:
            return {**said, "text": choice["text"], "logprobs": self.four_lists(choice["content"])}
        if choice["content"]:
            said["logprobs"] = {"content": choice["content"]}
        if self.forced:
            function = self.request["tools"][0]["function"]
            if self.request["tool_choice"] == "required":
                said["finish_reason"] = "tool_calls"
            call = {"id": "c1", "type": "function", "function": {"name": function["name"], "arguments": choice["text"]}}
            return {**said, "message": {"role": "assistant", "content": None, "tool_calls": [call]}}
        return {**said, "message": {"role": "assistant", "content": choice["text"]}}

    def four_lists(self, content: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Log-probabilities as /v1/completions has them; the alternatives are made up."""
        if not content:
            return None
        lengths = [len(token["token"]) for token in content]
        others = {str(n): -9.0 for n in range(1, self.request["logprobs"])}
        return {"tokens": [t["token"] for t in content], "token_logprobs": [t["logprob"] for t in content],
                "top_logprobs": [{t["token"]: t["logprob"], **others} for t in content],
                "text_offset": [sum(lengths[:n]) for n in range(len(lengths))]}


def _prompt(request: dict[str, Any]) -> list[str]:
    """The words of the prompt, as a chat template would write them."""
    if "messages" in request:
        return " ".join(f"<{m['role']}> {m['content']}" for m in request["messages"]).split()
    prompt = request.get("prompt", "")
    return prompt.split() if isinstance(prompt, str) else [str(p) for p in prompt]


def _words(request: dict[str, Any], prompt: list[str], index: int) -> list[str]:
    forced = request.get("response_format", {}).get("json_schema", {}).get("schema")
    if forced or _tool_forced(request):
        return _forced(forced or request["tools"][0]["function"]["parameters"])
    start = 0
    if request["temperature"] > 0:
        start = zlib.crc32(json.dumps([prompt, request.get("seed"), index, request["temperature"]]).encode())
    count = 10_000 if request.get("ignore_eos") else 16
    return [("" if n == 0 else " ") + WORDS[(start + n) % len(WORDS)] for n in range(count)]


def _tool_forced(request: dict[str, Any]) -> bool:
    return request.get("tool_choice") not in (None, "none", "auto")


def _forced(schema: dict[str, Any]) -> list[str]:
    value = {name: one["enum"][0] for name, one in schema.get("properties", {}).items()}
    return [part + " " for part in json.dumps(value).split(" ")]


def _stopped(said: str, stops: list[str]) -> str | None:
    """The text before the first stop string; None while there is none."""
    found = [at for stop in stops if (at := said.find(stop)) >= 0]
    return said[: min(found)] or " " if found else None


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
