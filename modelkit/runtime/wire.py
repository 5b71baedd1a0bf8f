"""How commands and a supervisor talk: JSON objects, one a line, over a Unix socket.

A request is `{"id", "op", …}`. Every answer carries its id: events as they happen, then one with `"event": "done"`
and a `result`, or `"event": "failed"` and a `failure`.
"""

from __future__ import annotations

import json
from typing import Any

from modelkit.failure import Failure

PROTOCOL = 1
LINE = 32 * 1024 * 1024  # bytes; a bundle carries its files, chat template included

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """One message. Raises ValueError on anything but a JSON object."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message


def failure_as_json(failure: Failure) -> Message:
    return {"code": failure.code, "message": failure.message, "hint": failure.hint, "detail": list(failure.detail),
            "exit_code": failure.exit_code, "data": failure.data}


def failure_from_json(value: Message) -> Failure:
    return Failure(value["code"], value["message"], value["hint"], tuple(value["detail"]), value["exit_code"],
                   value["data"])
