"""Who may come in, and where: stands in front of engines whose own servers keep more paths open than this API has.

    app = Door(Contract(engines_app))       the key: the variable MODELKIT_API_KEY; none means that nobody is asked

Of what only reads, a list is open; the rest is the contract's to answer, which knows every other path that this API
has. SGLang flushes caches and gives memory back on GET, to whoever asks.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable

from modelkit.contract import anthropic_errors
from modelkit.contract.asgi import App, Receive, Scope, Send
from modelkit.contract.effective import ROOM
from modelkit.contract.errors import ContractError, of_status
from modelkit.contract.middleware import MODELS, with_bearer

KEY = "MODELKIT_API_KEY"

PROBES = ("/health", "/metrics")
"""What a platform reads without a key."""


class Door:
    """ASGI middleware. `probes` are paths that anybody may read; every other path is for those who have the key."""

    def __init__(self, app: App, probes: Iterable[str] = PROBES, key: str | None = None) -> None:
        """Raises ValueError for a key that no header can carry, so that a server fails at its start.

        An empty one is such a key: a secret that has no value must not open the door.
        """
        key = os.environ.get(KEY) if key is None else key
        if key is not None and not (key and key.isascii() and key.isprintable() and key == key.strip()):
            raise ValueError(f"{KEY} must be printable ASCII, not empty, without spaces around it")
        self.app, self.probes = app, frozenset(probes)
        self.key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            body = anthropic_errors.body(refusal) if anthropic_errors.is_ours(scope["path"]) else refusal.body()
            await _refuse(refusal.status, body, send)

    def _refusal(self, scope: Scope) -> ContractError | None:
        path, reads = scope["path"], scope["method"] in ("GET", "HEAD")
        if reads and path in self.probes:
            return None
        if self.key is not None and not self._knows(scope):
            return of_status(401, "this server asks for a key: send it as `Authorization: Bearer KEY`")
        if scope["method"] == "OPTIONS" or (reads and not (path == MODELS or path.startswith((MODELS + "/", ROOM)))):
            return of_status(404, "this API has no such path")
        return None

    def _knows(self, scope: Scope) -> bool:
        said = next((value for name, value in with_bearer(scope)["headers"] if name == b"authorization"), b"")
        kind, _, given = said.partition(b" ")
        return kind.lower() == b"bearer" and self.key is not None and hmac.compare_digest(given.strip(), self.key)


async def _refuse(status: int, body: bytes, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
