"""Failures in the shape of Anthropic's API, on its paths."""

from __future__ import annotations

import json
from typing import Any

from modelkit.contract.errors import ContractError

PATH = "/v1/messages"
COUNT_PATH = PATH + "/count_tokens"

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
          429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error"}


def is_ours(path: str) -> bool:
    """Whether failures on this path have this shape."""
    return path == PATH or path.startswith(PATH + "/")


def failure(status: int, message: str) -> dict[str, Any]:
    """A failure, as a body and as the last event of a stream that can't go on."""
    kind = _TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def of(error: ContractError) -> dict[str, Any]:
    """The contract's error; its sentence says the field at fault, which has no place of its own here."""
    named = error.param is None or f"`{error.param}" in error.message
    return failure(error.status, error.message if named else f"`{error.param}`: {error.message}")


def body(error: ContractError) -> bytes:
    return json.dumps(of(error)).encode()
