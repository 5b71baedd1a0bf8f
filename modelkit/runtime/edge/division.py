"""Which side of a split a request belongs to: one side for the whole of a conversation, the more so as a share grows.

Never by chance: a conversation that changed its model in the middle would be worth nothing as evidence. Who talks is
known by, in this order: the header `X-Session-Id`; the end user whom the body names (`user`, `safety_identifier`,
Anthropic's `metadata.user_id`); of a chat its beginning, up to the first word of the user, which each later turn
repeats; and where there is no chat, the API key or the client's address, so that one client's vectors are all of one
model.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from modelkit.runtime.edge.request import Request

if TYPE_CHECKING:
    from modelkit.runtime.edge.upstream import Backend

SESSION = b"x-session-id"
_TALKS = {b"/v1/chat/completions": "messages", b"/v1/messages": "messages", b"/v1/messages/count_tokens": "messages",
          b"/v1/responses": "input"}
_NAMED = ("user", "safety_identifier")
_ALL = 2.0 ** 64


class Part(NamedTuple):
    """A backend that gets this share of the conversations."""

    backend: Backend
    share: float

    def takes(self, who: bytes) -> bool:
        """Whether this conversation is in the share; one that is stays in it while the share grows.

        Each version draws its own: not always the same ones have to try what is new.
        """
        drawn = blake2b(who, digest_size=8, key=self.version[:64]).digest()
        return int.from_bytes(drawn) < self.share * _ALL

    @property
    def version(self) -> bytes:
        return self.backend.upstream.version.encode()


def who(request: Request, body: bytes, peer: str) -> bytes:
    """Whose request this is, as words to be hashed."""
    if session := request.forwarded_value(SESSION):
        return b"session " + session
    client = request.fields.get(b"authorization") or request.fields.get(b"x-api-key") or peer.encode()
    said = _read(body)
    user = next((name for name in map(said.get, _NAMED) if isinstance(name, str) and name), None)
    metadata = said.get("metadata")
    if user is None and isinstance(metadata, dict) and isinstance(metadata.get("user_id"), str):
        user = metadata["user_id"]
    if user:
        return b"user %b %b" % (client, user.encode("utf-8", "replace"))
    if start := _beginning(said.get(_TALKS.get(request.path, ""))):
        return b"chat " + start
    return b"client " + client


def _read(body: bytes) -> dict[str, Any]:
    """The body as far as it is one; whether it is a good one, the engine says."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _beginning(messages: object) -> bytes:
    """What every turn of a conversation begins with."""
    if isinstance(messages, list):
        end = next((at for at, one in enumerate(messages) if isinstance(one, dict) and one.get("role") == "user"),
                   len(messages))
        messages = messages[:end + 1]
    return json.dumps(messages, sort_keys=True).encode() if messages else b""
