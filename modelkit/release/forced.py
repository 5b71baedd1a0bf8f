"""What two models think of one given answer: the probabilities of each of its positions, none of them generated."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from modelkit.release.client import Client
from modelkit.release.distributions import Distribution
from modelkit.release.parity.conversations import Conversation

_TOP = 20


class Unable(Exception):
    """A side can't say the probabilities of a given text."""


async def forced(left: Client, right: Client, said: Conversation, answer: str
                 ) -> tuple[list[Distribution], list[Distribution]]:
    """The distributions of both at each token of `answer`, after the left's prompt of the conversation.

    Both read the same ids, the left's, so that this measures models and not tokenizers. Raises Unable.
    """
    body = said.request()
    prompt = await _ids(left, {**body, "add_generation_prompt": True})
    given = await _ids(left, {"prompt": answer, "add_special_tokens": False})
    ids = [*prompt, *given]
    return await asyncio.gather(_echoed(left, ids, len(given)), _echoed(right, ids, len(given)))


async def _ids(client: Client, body: dict[str, Any]) -> list[int]:
    root = client.target.base_url.removesuffix("/v1")
    status, answer = await _post(client, f"{root}/tokenize", {"model": client.target.model, **body})
    tokens = answer.get("tokens") if status == 200 and isinstance(answer, dict) and "count" in answer else None
    if not isinstance(tokens, list):
        raise Unable
    return [int(one) for one in tokens]


async def _echoed(client: Client, ids: list[int], last: int) -> list[Distribution]:
    """`echo` gives the prompt's own log-probabilities; nothing, or one token that is thrown away, is generated."""
    status, answer = await _post(client, "completions", {
        "model": client.target.model, "prompt": ids, "echo": True, "max_tokens": 0, "temperature": 0,
        "logprobs": _TOP})
    try:
        tops = answer["choices"][0]["logprobs"]["top_logprobs"][: len(ids)] if status == 200 else None
    except (KeyError, IndexError, TypeError):
        tops = None
    if not isinstance(tops, list) or len(tops) != len(ids) or not all(isinstance(one, dict) for one in tops[-last:]):
        raise Unable
    return [{str(token): float(value) for token, value in one.items()} for one in tops[-last:]]


async def _post(client: Client, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    try:
        return await client.post(path, body)
    except httpx.HTTPError as error:
        raise Unable from error
