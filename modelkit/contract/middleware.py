"""The contract as ASGI: requests are filled on their way in, errors rewritten on their way out, the rest let through.

    vllm serve … --middleware modelkit.contract.middleware.Contract      profile: the file that MODELKIT_PROFILE names
    app = Contract(front, profile)                                       in front of an engine that can't load it

A body is read when the application asks for it and not before, so what rejects a request without reading it (an API
key check further in) still does. A successful answer passes as it comes; only answers of 400 and more are held back.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
from pathlib import Path
from typing import Any

from modelkit.contract import anthropic, anthropic_errors, effective, pooling, reasoning, request, responses
from modelkit.contract import body as json_body
from modelkit.contract.asgi import App, Headers, Message, Receive, Scope, Send
from modelkit.contract.engine_errors import READ_AT_MOST, from_engine, from_our_engine
from modelkit.contract.errors import ContractError, of_status
from modelkit.contract.profile import Profile
from modelkit.contract.translated import Translation
from modelkit.contract.translation import Api

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"

FILLERS = {
    CHAT: (request.chat, "messages"),
    CHAT + "/render": (request.chat, "messages"),
    "/v1/completions": (request.completion, "prompt"),
    pooling.EMBEDDINGS: (pooling.embeddings, "input"),
    pooling.RERANK: (pooling.rerank, "documents"),
    "/tokenize": (request.tokenize, None),
    "/detokenize": (request.detokenize, None),
}
"""The requests that have a meaning: what fills each, and its field for the prompt."""

TRANSLATED: dict[str, Api] = {
    RESPONSES: responses.API,
    anthropic_errors.PATH: anthropic.MESSAGES,
    anthropic_errors.COUNT_PATH: anthropic.COUNT_TOKENS,
}
"""Other APIs, each of whose requests means one of these."""

MODELS = "/v1/models"

_KEYLESS = ("/tokenize", "/detokenize")
"""Paths that vLLM answers without its own key, whatever VLLM_API_KEY says (`serve/middleware/authenticate.py`)."""

_LENGTHS = frozenset((b"content-length", b"transfer-encoding"))
_REWRITTEN = frozenset((b"content-length", b"content-type", b"content-encoding", b"transfer-encoding", b"etag"))
_GONE: Message = {"type": "http.disconnect"}

log = logging.getLogger("modelkit.contract")


class Contract:
    """ASGI middleware that gives every request the meaning of one profile."""

    def __init__(self, app: App, profile: Profile | None = None) -> None:
        """Raises ValueError or OSError for a profile that can't be used, so that a server fails at its start."""
        self.app = app
        self.profile = request.checked_profile(profile if profile is not None else profile_of_environment())
        self.key = os.environ.get("VLLM_API_KEY", "").encode()  # set in containers; behind our edge, the edge asks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self.key:
                scope = with_bearer(scope)
            await _route(self, scope, receive, send).run(scope)
        elif scope["type"] == "websocket":  # nothing of this API speaks it
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self.app(scope, receive, send)


def profile_of_environment() -> Profile:
    """The profile in the file that MODELKIT_PROFILE names."""
    path = os.environ.get("MODELKIT_PROFILE")
    if not path:
        raise ValueError("MODELKIT_PROFILE must name the profile's file")
    try:
        return Profile.loads(Path(path).read_text("utf-8"))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a profile: {error}") from error


class _Exchange:
    """One request and its answer.

    `verdict` is an answer that the contract gives instead of the application: status and body. It is sent as soon as
    the application starts an answer, ends without one, or fails; with the application's own headers if it has any.
    """

    read_at_most = READ_AT_MOST  # bytes of an answer that is held back

    def __init__(self, contract: Contract, receive: Receive, send: Send) -> None:
        self.contract, self.receive_next, self.send_on = contract, receive, send
        self.prompt_field: str | None = None
        self.verdict: tuple[int, bytes] | None = None
        self.extra_headers: Headers = []
        self.held: Message | None = None  # the start of an answer that is being rewritten
        self.said = b""  # its body so far
        self.started = self.ended = False

    async def run(self, scope: Scope) -> None:
        try:
            await self.contract.app(scope, self.receive, self.send)
        except Exception:
            if self.started:
                raise
            if self.verdict is None:
                log.exception("the engine failed on %s %s", scope["method"], scope["path"])
                self.refuse(of_status(500, "the engine failed on this request; its log says why"))
        if not self.started and (self.verdict is not None or self.held is not None):
            await self.answer()

    def refuse(self, error: ContractError) -> None:
        self.verdict = error.status, error.body()

    async def receive(self) -> Message:
        return await self.receive_next()

    async def send(self, message: Message) -> None:
        if self.started:
            if not self.ended:
                await self.send_on(message)
        elif self.held is None:
            await self.start(message)
        elif message["type"] == "http.response.body":
            if len(self.said) < self.read_at_most:
                self.said += message.get("body", b"")[: self.read_at_most - len(self.said)]
            if not message.get("more_body"):
                await self.answer()

    async def start(self, message: Message) -> None:
        """Lets a success through, holds a failure back, puts the verdict in the place of either."""
        if message["type"] != "http.response.start" or (self.verdict is None and message["status"] < 400):
            self.started = message["type"] == "http.response.start"
            await self.send_on(message)
            return
        self.held = message
        if self.verdict is not None:
            await self.answer()

    async def answer(self) -> None:
        """Sends the verdict, or the application's failure in our words."""
        status, body = self.verdict or self.rewritten()
        theirs = self.held.get("headers", ()) if self.held else ()
        headers = [(name, value) for name, value in theirs if name.lower() not in _REWRITTEN]
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *self.extra_headers]
        self.started = self.ended = True
        await self.send_on({"type": "http.response.start", "status": status, "headers": headers})
        await self.send_on({"type": "http.response.body", "body": body})

    def rewritten(self) -> tuple[int, bytes]:
        assert self.held is not None
        profile = self.contract.profile
        read = from_our_engine if profile.dialect == "llamacpp" else from_engine
        error = read(self.held["status"], self.said, self.prompt_field, profile.context_length)
        return error.status, error.body()


class _Generation(_Exchange):
    """A request with a body that the contract fills."""

    def __init__(self, contract: Contract, receive: Receive, send: Send, path: str) -> None:
        super().__init__(contract, receive, send)
        self.fill, self.prompt_field = FILLERS[path]
        self.client_headers: Headers = []
        self.headers: Headers = []
        self.asked = False
        profile = contract.profile
        self.path = path
        self.asked_for: dict[str, Any] = {}
        self.both_names = bool(profile.reasoning_parser) and profile.dialect != "llama-server" and path == CHAT
        self.reasoning: reasoning.Stream | None = None
        self.whole: Message | None = None

    async def run(self, scope: Scope) -> None:
        self.client_headers = list(scope["headers"])
        self.headers = [header for header in self.client_headers if header[0] not in _LENGTHS]
        await super().run({**scope, "headers": self.headers})

    async def receive(self) -> Message:
        """The filled body first; then whatever comes, so that the application sees its client leave."""
        if self.asked:
            return _GONE if self.verdict is not None else await self.receive_next()
        self.asked = True
        try:
            self.check_headers()
            body = await self.body()
            if body is None:
                return _GONE
            self.asked_for = json_body.read(body)
            filled = json_body.write(self.fill(self.asked_for, self.contract.profile))
        except ContractError as error:
            self.refuse(error)
            return _GONE
        except Exception:
            log.exception("a request could not be filled")
            self.refuse(of_status(500, "this request could not be read"))
            return _GONE
        self.headers.append((b"content-length", b"%d" % len(filled)))
        return {"type": "http.request", "body": filled, "more_body": False}

    async def start(self, message: Message) -> None:
        """An answer that we finish (reasoning under both names, reranked documents) is of a length that we say."""
        if self.verdict is None and message["status"] == 200 and (self.both_names or self.path == pooling.RERANK):
            headers = list(message.get("headers", ()))
            if any(name.lower() == b"content-type" and b"event-stream" in value for name, value in headers):
                self.reasoning = reasoning.Stream()
            else:
                self.whole = {**message, "headers": [h for h in headers if h[0].lower() not in _LENGTHS]}
                self.started = True
                return
        await super().start(message)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body" and self.started and (self.reasoning or self.whole):
            body, more = message.get("body", b""), bool(message.get("more_body"))
            if self.reasoning:
                message = {**message, "body": self.reasoning.feed(body, more=more)}
            elif self.whole:
                self.said += body
                if more:
                    return
                body = reasoning.whole(self.said) if self.both_names else pooling.reranked(self.said, self.asked_for)
                self.whole["headers"].append((b"content-length", b"%d" % len(body)))
                await self.send_on(self.whole)
                message = {"type": "http.response.body", "body": body}
        await super().send(message)

    def check_headers(self) -> None:
        said = dict(self.client_headers)
        kind = said.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != b"application/json":
            raise ContractError(415, "unsupported_media_type", "the content-type must be application/json")
        if said.get(b"content-encoding", b"identity") != b"identity":
            raise ContractError(415, "unsupported_media_type", "the body must not be compressed")
        length = said.get(b"content-length", b"")
        if length.isdigit() and (len(length) > 15 or int(length) > self.contract.profile.limits.body_bytes):
            raise self.too_large()

    async def body(self) -> bytes | None:
        """The whole body, never more than the limit of it in memory; None if the client left."""
        parts, size, more = [], 0, True
        while more:
            message = await self.receive_next()
            if message["type"] != "http.request":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > self.contract.profile.limits.body_bytes:
                raise self.too_large()
            parts.append(part)
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def too_large(self) -> ContractError:
        limit = self.contract.profile.limits.body_bytes
        return ContractError(413, "request_too_large", f"the body has more than {limit} bytes")


class _Verdict(_Exchange):
    """A request that the profile answers. The application is asked only whether this client may know."""

    async def start(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in (401, 403):
            self.verdict = None
        await super().start(message)


class _NotServed(_Verdict):
    """A path of another task than the profile's. The application may have it, or not, and never gets its body."""

    def __init__(self, contract: Contract, receive: Receive, send: Send, error: ContractError) -> None:
        super().__init__(contract, receive, send)
        self.refuse(error)

    async def receive(self) -> Message:
        return _GONE


class _Models(_Verdict):
    """The list of models, or one."""

    def __init__(self, contract: Contract, receive: Receive, send: Send, name: str) -> None:
        super().__init__(contract, receive, send)
        profile = contract.profile
        models = [card(profile, served) for served in profile.models]
        if not name:
            self.verdict = 200, json.dumps({"object": "list", "data": models}).encode()
        elif found := next((model for model in models if model["id"] == name), None):
            self.verdict = 200, json.dumps(found).encode()
        else:
            self.refuse(request.no_such_model(name, profile))


class _Effective(_Exchange):
    """What the engine really has. The engine's own answer is read, and never passed on unless it is a refusal."""

    read_at_most = 4 * 1024 * 1024

    def __init__(self, contract: Contract, receive: Receive, send: Send) -> None:
        super().__init__(contract, receive, send)
        self.reader = effective.READERS.get(contract.profile.dialect)
        self.application: Any = None

    async def run(self, scope: Scope) -> None:
        if self.reader is None:
            self.refuse(of_status(404, "this engine does not say what it has"))
            await self.answer()
            return
        self.application = scope.get("app")
        inner = {**scope, "method": "GET", "path": self.reader.path, "raw_path": self.reader.path.encode()}
        await super().run(inner)

    async def start(self, message: Message) -> None:
        self.held = message  # every answer is read to its end

    async def answer(self) -> None:
        if self.verdict is None and self.held is not None and self.held["status"] < 400 and self.reader is not None:
            try:
                said = json.loads(self.said)
            except ValueError:
                said = None
            found = self.reader.read(self.application, said if isinstance(said, dict) else {})
            self.verdict = 200, json.dumps(found.as_json()).encode()
        await super().answer()


class _Refusal(_Exchange):
    """A request that this API has no answer for; the application never hears of it."""

    async def run(self, scope: Scope) -> None:
        await self.answer()


def _route(contract: Contract, scope: Scope, receive: Receive, send: Send) -> _Exchange | Translation:
    """What to do with a request. Only what has a meaning reaches a handler that could generate."""
    method, path = scope["method"], scope["path"]
    root = scope.get("root_path", "")
    if root and path.startswith(root + "/"):
        path = path[len(root) :]
    if contract.key and path in _KEYLESS and not _has_key(scope, contract.key):
        refused = _Refusal(contract, receive, send)
        refused.refuse(of_status(401, "this API wants a key; send it as `Authorization: Bearer KEY`"))
        refused.extra_headers = [(b"www-authenticate", b"Bearer")]
        return refused
    models = path == MODELS or path.startswith(MODELS + "/")
    if method == "POST" and path in FILLERS:
        if (other := pooling.other_task(path, contract.profile)) is not None:
            return _NotServed(contract, receive, send, other)
        return _Generation(contract, receive, send, path)
    if method == "POST" and path in TRANSLATED:
        return Translation(TRANSLATED[path], contract, contract.profile, receive, send)
    if method in ("GET", "HEAD") and models:
        return _Models(contract, receive, send, path[len(MODELS) + 1 :])
    if method == "GET" and path == effective.PATH:
        return _Effective(contract, receive, send)
    allowed = "POST" if path in FILLERS or path in TRANSLATED else "GET" if models else None
    known = path.startswith((effective.ROOM, RESPONSES + "/", anthropic_errors.PATH + "/"))
    if method == "OPTIONS" or (allowed is None and method in ("GET", "HEAD") and not known):
        return _Exchange(contract, receive, send)
    refusal = _Refusal(contract, receive, send)
    if allowed:
        error = of_status(405, f"{path} takes {allowed}, not {method}")
        refusal.extra_headers = [(b"allow", allowed.encode())]
    else:
        hint = f"; {responses.NOTHING_KEPT}" if path.startswith(RESPONSES + "/") else ""
        error = of_status(404, f"this API has no such path{hint}")
    refusal.verdict = error.status, anthropic_errors.body(error) if anthropic_errors.is_ours(path) else error.body()
    return refusal


def with_bearer(scope: Scope) -> Scope:
    """The same request, a key in `x-api-key` said as everybody here reads it."""
    headers = scope["headers"]
    key = next((value for name, value in headers if name == b"x-api-key"), None)
    if key is None or any(name == b"authorization" for name, _ in headers):
        return scope
    return {**scope, "headers": [*headers, (b"authorization", b"Bearer " + key)]}


def _has_key(scope: Scope, key: bytes) -> bool:
    said = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, given = said.partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), key)


def card(profile: Profile, name: str) -> dict[str, Any]:
    """A served model as `/v1/models` shows it."""
    model: dict[str, Any] = {"id": name, "object": "model", "created": 0, "owned_by": "modelkit",
                             "max_model_len": profile.context_length}
    if profile.task != "chat":
        model["task"] = profile.task
    return model if name == profile.name else {**model, "parent": profile.name}
