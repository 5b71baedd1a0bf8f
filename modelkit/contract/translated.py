"""APIs that are translations of chat completions, as ASGI: a request goes through the contract as what it means.

What a system prompt, a default, a limit or a model's name mean is said in one place, and no engine's own version of
such an API is ever reached. A stream is translated event by event.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from modelkit.contract import body as json_body
from modelkit.contract.asgi import App, Message, Receive, Scope, Send
from modelkit.contract.chat_reader import UNREADABLE, Failed, Reader, Said
from modelkit.contract.errors import ContractError, of_status
from modelkit.contract.profile import Profile
from modelkit.contract.translation import Api, Event, Places, Translated

_REWRITTEN = frozenset((b"content-length", b"content-type"))
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # json.dumps would make one at each call
_UNREADABLE = "the engine's answer could not be read; its log says why"

log = logging.getLogger("modelkit.contract")


class Translation:
    """One request of such an API and its answer. `contract` answers the request that it becomes."""

    def __init__(self, api: Api, contract: App, profile: Profile, receive: Receive, send: Send) -> None:
        self.api, self.contract, self.profile = api, contract, profile
        self.receive_next, self.send_on = receive, send
        self.translated: Translated | None = None
        self.asked = False
        self.held: Message | None = None  # the start of an answer that is not a stream
        self.said: list[bytes] = []  # its body so far
        self.reader: Reader | None = None  # of a stream
        self.begun = self.ended = False

    async def run(self, scope: Scope) -> None:
        inner = {**scope, "path": self.api.inner, "raw_path": self.api.inner.encode()}
        try:
            await self.contract(inner, self.receive, self.send)
        except Exception:
            if self.reader is None:
                raise
            log.exception("the engine failed in the middle of an answer")
        if self.reader is not None and not self.ended:
            await self.tell(list(self.reader.end()))

    async def receive(self) -> Message:
        """The translated body first. Raises the ContractError of a body that can't be, for its reader to answer."""
        if self.asked:
            return await self.receive_next()
        self.asked = True
        parts, size, more = [], 0, True
        while more:
            message = await self.receive_next()
            if message["type"] != "http.request":
                return message
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False) and size <= self.profile.limits.body_bytes
        if size > self.profile.limits.body_bytes:
            raise ContractError(413, "request_too_large",
                                f"the body has more than {self.profile.limits.body_bytes} bytes")
        self.translated = self.api.request(json_body.read(b"".join(parts)), self.profile)
        return {"type": "http.request", "body": json_body.write(self.translated.body), "more_body": False}

    async def send(self, message: Message) -> None:
        if self.ended:
            return
        if message["type"] == "http.response.start":
            await self.start(message)
        elif message["type"] == "http.response.body":
            body, more = message.get("body", b""), message.get("more_body", False)
            if self.reader is not None:
                await self.tell(self.read(self.reader, body, more=more))
            else:
                self.said.append(body)
                if not more:
                    await self.answer()

    async def start(self, message: Message) -> None:
        headers = message.get("headers", ())
        streams = any(name.lower() == b"content-type" and b"event-stream" in value for name, value in headers)
        if not streams or message["status"] != 200 or self.translated is None or self.translated.writer is None:
            self.held = message
            return
        self.reader = Reader()
        await self.send_on({**message, "headers": [h for h in headers if h[0].lower() != b"content-length"]})

    @staticmethod
    def read(reader: Reader, body: bytes, *, more: bool) -> list[Said]:
        """What a part of the stream says; what can't be read ends it."""
        found: list[Said] = []
        try:
            found.extend(reader.feed(body))
            if not more:
                found.extend(reader.end())
        except UNREADABLE:
            log.exception("an answer could not be translated")
            found.extend(reader.fail(of_status(500, _UNREADABLE)))
        return found

    async def tell(self, found: list[Said]) -> None:
        """Sends the events for it, and ends the answer when its last event is among them."""
        assert self.translated is not None and self.translated.writer is not None and self.reader is not None
        writer, places, events = self.translated.writer, self.translated.places, []
        if not self.begun:
            self.begun, events = True, writer.begin()
        for said in found:
            events += writer.say(Failed(places.renamed(said.error)) if isinstance(said, Failed) else said)
        self.ended = self.reader.over
        if events or self.ended:
            await self.send_on({"type": "http.response.body", "body": b"".join(map(encoded, events)),
                                "more_body": not self.ended})

    async def answer(self) -> None:
        """Sends a whole answer, or a failure in this API's shape."""
        assert self.held is not None
        status, body = self.held["status"], b"".join(self.said)
        if status < 400:
            try:
                assert self.translated is not None
                body = _spelled(self.translated.answer(json.loads(body)))
            except ContractError as error:
                status, body = error.status, self.api.error(error)
            except UNREADABLE:
                log.exception("an answer could not be translated")
                status, body = 500, self.api.error(of_status(500, _UNREADABLE))
        else:
            body = self.api.error(self.failure(status, body))
        self.ended = True
        headers = [header for header in self.held.get("headers", ()) if header[0].lower() not in _REWRITTEN]
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self.send_on({**self.held, "status": status, "headers": headers})
        await self.send_on({"type": "http.response.body", "body": body})

    def failure(self, status: int, body: bytes) -> ContractError:
        """The contract's error, about the fields that the client knows."""
        said = json.loads(body)["error"]
        error = ContractError(status, said["code"], said["message"], said["param"])
        return (self.translated.places if self.translated else Places()).renamed(error)


def encoded(event: Event) -> bytes:
    """An event as it goes over the wire."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _spelled(event))


def _spelled(answer: dict[str, Any]) -> bytes:
    return _ENCODER.encode(answer).encode("utf-8", "replace")
