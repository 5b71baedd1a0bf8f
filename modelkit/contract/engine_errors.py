"""What an engine says when it refuses or fails, in this API's words: the same mistake, the same answer everywhere."""

from __future__ import annotations

import json
import re
from typing import Any

from modelkit.contract.errors import ContractError, invalid, of_status

READ_AT_MOST = 64 * 1024
"""Bytes of an engine's error body that are looked at."""

_MESSAGE_LENGTH = 1000

# vLLM 0.32: renderers/params.py, v1/engine/input_processor.py, entrypoints/serve/utils/api_utils.py.
# llama-server b11434: server-context.cpp. SGLang 0.5.23: managers/tokenizer_manager.py, managers/utils.py.
# TensorRT-LLM 1.2: executor/base_worker.py.
_TOO_LONG = (
    re.compile(r"context length is (?P<limit>\d+) tokens.*? contains (?P<tokens>(at least )?\d+) input tokens", re.S),
    re.compile(r"prompt \(length (?P<tokens>\d+)\).* longer than the maximum\s+model length of (?P<limit>\d+)", re.S),
    re.compile(r"Input length \((?P<tokens>\d+)\) exceeds model's maximum context length \((?P<limit>\d+)\)"),
    re.compile(r"request \((?P<tokens>\d+) tokens\) exceeds the available context size \((?P<limit>\d+) tokens\)"),
    re.compile(r"maximum context length (is|of) (?P<limit>\d+) tokens"),
    re.compile(r"input \((?P<tokens>\d+) tokens\) is longer than the model's context length \((?P<limit>\d+) tokens"),
    re.compile(r"Input length \((?P<tokens>\d+) tokens\) exceeds the maximum allowed length \((?P<limit>\d+) tokens"),
    re.compile(r"must be greater than 0.* = max_seq_len \((?P<limit>\d+)\) - `splited_prompt_len` \((?P<tokens>\d+)\)"),
    re.compile(r"`prompt_token_ids` length \((?P<tokens>\d+)\) is greater than `max_seq_len` \((?P<limit>\d+)\)"),
)

# vLLM's words for a prompt that fills the context to its last token: a client's own 0 never gets that far.
_NO_ROOM = re.compile(r"max_tokens must be at least 1, got 0")

# vLLM's words for a token id that the model does not have; it names no field.
_NO_SUCH_TOKEN = re.compile(r"Token id (?P<id>-?\d+) is out of vocabulary")

# llama-server answers 500 for what a chat template or a grammar makes of the client's own words; vLLM answers 400.
_CLIENT_AT_FAULT = re.compile(r"jinja|chat template|failed to parse|json_schema|unsupported param", re.I)

_SHARED_MEMORY_FULL = "Context size has been exceeded"  # llama-server: all conversations together, not this one

_PATH = re.compile(r"(?<![\w:/.])/(?!v1/)(?:[\w.+@-]+/)+[\w.+@-]+")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}\b")


def from_engine(status: int, body: bytes, prompt_field: str | None = None, context_length: int = 0) -> ContractError:
    """The client's answer for an engine's answer of 400 or more.

    The engine's own sentence is kept where it is about the request; what it says about itself (a 5xx, a traceback, a
    path) is for its log. `prompt_field` names the field that holds the prompt, `context_length` is the model's.
    """
    said = _said(body)
    message = said.get("message")
    message = message if isinstance(message, str) else ""
    if _NO_ROOM.search(message):
        said |= {"n_prompt_tokens": context_length, "n_ctx": context_length}
    if too_long := _context_length_exceeded(said, message, prompt_field):
        return too_long
    if (unknown := _NO_SUCH_TOKEN.search(message)) and prompt_field:
        return invalid(prompt_field, f"`{prompt_field}` has the token id {unknown['id']}, which this model lacks")
    if status in (422, 501) or (status == 500 and _CLIENT_AT_FAULT.search(message)):
        status = 400
    if status >= 500:
        return _engine_failed(status, message)
    param = said.get("param")
    error = of_status(status, _presentable(message), param.removeprefix("body.") if isinstance(param, str) else None)
    if status == 404 and "model" in message.lower():
        error.code = "model_not_found"
    return error


def from_our_engine(status: int, body: bytes, prompt_field: str | None = None, context_length: int = 0
                    ) -> ContractError:
    """The same for our own engine, whose errors are this API's already: they keep their words and codes."""
    said = _said(body)
    message, code, param = said.get("message"), said.get("code"), said.get("param")
    if not (isinstance(message, str) and isinstance(code, str)):  # its framework's, or nobody's
        return from_engine(status, body, prompt_field, context_length)
    if code == "context_length_exceeded" and param is None:
        param = prompt_field
    return ContractError(status, code, message, param if isinstance(param, str) else None)


def _said(body: bytes) -> dict[str, Any]:
    """The error's fields: OpenAI's envelope, vLLM's flat form, FastAPI's `detail`, or plain text as `message`."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return {} if text.startswith("<") else {"message": text}
    if not isinstance(value, dict):
        return {}
    if isinstance(value.get("error"), dict):
        return dict(value["error"])
    if isinstance(value.get("error"), str):
        return {"message": value["error"]}
    return value if "message" in value else {"message": value.get("detail")}


def _context_length_exceeded(said: dict[str, Any], message: str, prompt_field: str | None) -> ContractError | None:
    tokens, limit = said.get("n_prompt_tokens"), said.get("n_ctx")
    if not (isinstance(tokens, int) and isinstance(limit, int)):
        for pattern in _TOO_LONG:
            if match := pattern.search(message):
                found = match.groupdict()
                tokens, limit = found.get("tokens"), found["limit"]
                break
        else:
            if said.get("type") != "exceed_context_size_error":
                return None
            return ContractError(400, "context_length_exceeded", "the prompt is too long", prompt_field)
    length = f"has {tokens} tokens" if tokens else "is too long"
    sentence = f"the prompt {length}; this model's context length is {limit} tokens"
    return ContractError(400, "context_length_exceeded", sentence, prompt_field)


def _engine_failed(status: int, message: str) -> ContractError:
    if _SHARED_MEMORY_FULL in message:
        return ContractError(503, "engine_overloaded", "other conversations fill the engine's memory; try again")
    if status == 503:
        return of_status(503, "the engine is not ready; try again")
    if status == 504:
        return of_status(504, "the engine took too long")
    if status == 502:
        return of_status(502, "the engine cannot be reached")
    return of_status(500, "the engine failed on this request; its log says why")


def _presentable(message: str) -> str | None:
    """The message without what it tells about the machine; None when nothing useful is left."""
    message = message.split("Traceback (most recent call last)", maxsplit=1)[0]
    message = _ADDRESS.sub("<address>", _PATH.sub("<path>", message)).strip()
    if len(message) > _MESSAGE_LENGTH:
        message = message[: _MESSAGE_LENGTH - 1] + "…"
    return message or None
