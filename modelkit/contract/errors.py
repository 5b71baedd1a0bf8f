"""One shape for every failure: OpenAI's envelope, with string codes."""

from __future__ import annotations

import json
from http import HTTPStatus

_TYPES = {403: "permission_error", 429: "rate_limit_error"}

CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "request_too_large",
    415: "unsupported_media_type",
    421: "misdirected_request",
    429: "rate_limit_exceeded",
    500: "internal_error",
    502: "engine_unreachable",
    503: "engine_unavailable",
    504: "engine_timeout",
}
"""The code of a status about which nothing more is known."""


class ContractError(Exception):
    """A request that gets an error: its status and the four fields of the envelope.

    `message` is a sentence for a person, `param` the request's field at fault (`messages[2].content`), `code` a stable
    slug for programs.
    """

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param

    def body(self) -> bytes:
        return envelope(self.status, self.code, self.message, self.param)


def envelope(status: int, code: str, message: str, param: str | None = None) -> bytes:
    """The body of an error answer."""
    kind = _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    error = {"message": message, "type": kind, "param": param, "code": code}
    return json.dumps({"error": error}).encode()


def of_status(status: int, message: str | None = None, param: str | None = None) -> ContractError:
    """An error known by its status alone."""
    if message is None:
        try:
            message = HTTPStatus(status).phrase
        except ValueError:
            message = "The request failed"
    code = CODES.get(status) or ("internal_error" if status >= 500 else "invalid_request")
    return ContractError(status, code, message, param)


def invalid(param: str, message: str) -> ContractError:
    """A field with the right type and a value that it may not have."""
    return ContractError(400, "invalid_value", message, param)


def wrong_type(param: str, expected: str, value: object) -> ContractError:
    """A field of another type than it must have."""
    return ContractError(400, "invalid_type", f"`{param}` must be {expected}, not {json_type(value)}", param)


def missing(param: str) -> ContractError:
    """A field that must be there."""
    return ContractError(400, "missing_required_parameter", f"`{param}` is required", param)


def unsupported(param: str, message: str) -> ContractError:
    """Something that OpenAI or one engine knows, and this API does not offer."""
    return ContractError(400, "unsupported_parameter", message, param)


def json_type(value: object) -> str:
    """JSON's name for a value's type, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"
