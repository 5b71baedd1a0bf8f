"""`/tokenize` and `/detokenize`: texts and conversations as the ids that the engine would read, and ids as text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modelkit.contract.errors import invalid, unsupported
from modelkit.llamacpp.types import DetokenizeRequest, Text, TokenizeRequest, Tokens, posted, written

T = TypeVar("T")

_SHORT = 8192
"""Characters or ids that are read on the event loop: a millisecond's work. More of them go to a thread."""


class Vocabulary(Protocol):
    """What the surface asks of the model's tokens; see `vocabulary.Vocabulary`."""

    pieces: tuple[bytes, ...]  # by id, control tokens shown
    size: int
    ends: frozenset[int]

    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = True) -> list[int]: ...
    def detokenize(self, ids: Sequence[int], show_special: bool = False) -> str: ...
    def written(self, ids: Sequence[int]) -> list[str]: ...


class Conversations(Protocol):
    """Who renders messages; see `chat.Chat`."""

    async def prompt(self, request: dict[str, Any]) -> tuple[str, list[int]]: ...


def routes(vocabulary: Vocabulary, chat: Conversations | None, context_length: int) -> list[Route]:
    """The two routes. Without `chat` (an engine that only embeds) there are no conversations."""

    async def tokenize(http: Request) -> Response:
        request = await TokenizeRequest.read(http)
        if request.prompt is not None:
            text = request.prompt
            ids = await off_loop(len(text), vocabulary.tokenize, text, request.add_special_tokens)
        elif chat is not None:
            _, ids = await chat.prompt(request.fields())
        else:
            raise unsupported("messages", "this model reads texts, not conversations")
        texts = await off_loop(len(ids), vocabulary.written, ids) if request.return_token_strs else None
        return written(Tokens(count=len(ids), max_model_len=context_length, tokens=shown(ids), token_strs=texts))

    async def detokenize(http: Request) -> Response:
        request = await DetokenizeRequest.read(http)
        presume_tokens(request.tokens, vocabulary, "tokens")
        return written(Text(prompt=await off_loop(len(request.tokens), vocabulary.detokenize, request.tokens, True)))

    return [posted("/tokenize", tokenize), posted("/detokenize", detokenize)]


def shown(prompt: Sequence[int]) -> list[int]:
    """A prompt's tokens for a client: the positions of images have none, which is -1."""
    return [max(-1, one) for one in prompt]


async def off_loop(size: int, work: Callable[..., T], *arguments: Any) -> T:
    """`work(*arguments)`, in a thread where the loop would stand still for it."""
    return work(*arguments) if size <= _SHORT else await asyncio.to_thread(work, *arguments)


def presume_tokens(ids: Iterable[int], vocabulary: Vocabulary, param: str) -> None:
    """Raises ContractError (400) for an id that the vocabulary has not."""
    for one in ids:
        if not 0 <= one < vocabulary.size:
            raise invalid(param, f"`{param}` has the token id {one}, which this model lacks")
