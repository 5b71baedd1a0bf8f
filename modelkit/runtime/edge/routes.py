"""What the edge serves. Whatever is not in this table does not exist for a client."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelkit.contract import anthropic_errors, effective

_GET = (b"GET", b"HEAD")


@dataclass(frozen=True)
class Route:
    """One path: its label in metrics, its methods, whether it needs a key, and whether an engine answers it."""

    label: str
    methods: tuple[bytes, ...]
    keyed: bool = True
    relayed: bool = True

    @property
    def allow(self) -> bytes:
        return b", ".join(self.methods)


HEALTH = Route("/healthz", _GET, keyed=False, relayed=False)
READY = Route("/readyz", _GET, keyed=False, relayed=False)
METRICS = Route("/metrics", _GET, relayed=False)
MODELS = Route("/v1/models", _GET)
MODEL = Route("/v1/models/{id}", _GET)
RESPONSE = Route("/v1/responses/{id}", (), relayed=False)
"""Stands for what other servers keep of a response: here is nothing, and a client is told so."""

NOWHERE = Route("other", (), relayed=False)
"""Stands for every path that is not served, so that clients can't make up label values."""

ROUTES: dict[bytes, Route] = {
    b"/v1/chat/completions": Route("/v1/chat/completions", (b"POST",)),
    b"/v1/completions": Route("/v1/completions", (b"POST",)),
    b"/v1/embeddings": Route("/v1/embeddings", (b"POST",)),
    b"/v1/rerank": Route("/v1/rerank", (b"POST",)),
    b"/v1/responses": Route("/v1/responses", (b"POST",)),
    **{path.encode(): Route(path, (b"POST",)) for path in (anthropic_errors.PATH, anthropic_errors.COUNT_PATH)},
    b"/v1/models": MODELS,
    effective.PATH.encode(): Route(effective.PATH, _GET),
    b"/healthz": HEALTH,
    b"/readyz": READY,
    b"/metrics": METRICS,
}
_MODELS = b"/v1/models/"

# A model's name: words joined by single slashes, none of them `.` or `..`. Of escapes only those that clients make
# of `/ : @ +`: any other could spell a path that means something else to the engine.
_WORD = rb"(?!\.{1,2}(?:/|%2F|$))(?:[A-Za-z0-9._~@:+-]|%3A|%40|%2B)+"
_MODEL_NAME = re.compile(rb"%b(?:(?:/|%%2F)%b)*" % (_WORD, _WORD), re.IGNORECASE)

LISTING = ", ".join(f"{'/'.join(m.decode() for m in route.methods if m != b'HEAD')} {route.label}"
                    for route in (*ROUTES.values(), MODEL))


def find(path: bytes) -> Route:
    """The route of a raw path. Nothing is normalised: another spelling is another path."""
    route = ROUTES.get(path)
    if route is None:
        if path.startswith(_MODELS) and _MODEL_NAME.fullmatch(path, len(_MODELS)):
            return MODEL
        return RESPONSE if path.startswith(b"/v1/responses/") else NOWHERE
    return route
