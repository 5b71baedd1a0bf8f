"""What the surface asks of the engine's thread, and what it gets back. Values only; nothing here knows llama.cpp."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Sampling:
    """vLLM's names and meaning: penalties first, then the temperature, then min_p, top_k, top_p, then the draw.

    `repetition_penalty` looks at prompt and answer, the two others at the answer alone. Temperature 0 is greedy.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: all tokens
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None  # None: another one each time. Choice number i of a job has seed + i
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    ignore_eos: bool = False


@dataclass(frozen=True)
class Image:
    """A picture of a conversation: the bytes of its file. `digest` is their sha256, for the cache."""

    data: bytes
    digest: str


@dataclass(frozen=True, eq=False)
class ImageSpan:
    """An image of a prompt, or a tile of one: `size` tokens from `start` on, all of which have the negative `id`.

    Equal ids are equal images. `positions` is how far it moves what follows, which is less than `size` for models
    that place images in two dimensions (M-RoPE). `whole`: it must be computed in one step (not causal). `chunk` is
    the projector's own.
    """

    start: int
    size: int
    positions: int
    id: int
    chunk: Any = None
    whole: bool = False


@dataclass(frozen=True)
class Job:
    """One prompt, and how to go on from it `choices` times.

    Where `images` are, `prompt` has their ids, which are negative.
    """

    prompt: tuple[int, ...]
    sampling: Sampling = Sampling()
    max_tokens: int | None = None  # None: to the end of the context
    stop: tuple[str, ...] = ()
    grammar: str | None = None  # of `grammar.compiled`; it holds for the answer from its first token
    grammar_after: tuple[int, ...] = ()  # or from behind the first of these tokens, which end the reasoning
    logprobs: int | None = None  # alternatives to each token; 0: its own alone; None: none
    prompt_logprobs: int | None = None  # the same of the prompt's tokens, which are then all computed
    adapter: str | None = None  # model name of an adapter; None: the base
    choices: int = 1
    show_special: bool = False  # texts of control tokens are part of the answer, for parsers that look for them
    images: tuple[ImageSpan, ...] = ()


@dataclass(frozen=True)
class TokenLogprob:
    """A token and the natural logarithm of its probability, before penalties and temperature (as vLLM's `raw`)."""

    id: int
    piece: bytes  # its text, control tokens shown
    logprob: float


@dataclass(frozen=True)
class Token:
    """One token of an answer or a prompt. Without log-probabilities asked for, `logprob` is None and `top` empty."""

    id: int
    piece: bytes
    logprob: float | None = None
    top: tuple[TokenLogprob, ...] = ()  # the likeliest first


@dataclass(frozen=True)
class Delta:
    """What is new of one choice. Its text is whole UTF-8, and nothing that may turn out to be a stop string.

    `tokens` are those that were drawn since the last delta, whose text may come later; the token that ends an answer
    (end of turn) counts and has no text. `finish` comes once per choice, in its last delta.
    """

    choice: int
    text: str
    tokens: tuple[Token, ...] = ()
    finish: FinishReason | None = None
    stopped_by: str | int | None = None  # the stop string, or the id of the token, that ended it


class Answer(Protocol):
    """A job in work. Iterate to get the deltas of all its choices as they come.

    Whoever leaves before the end calls `cancel`, which frees the sequences at once; more than once is harmless.
    """

    prompt_tokens: int
    cached_tokens: int  # of the prompt, taken from an earlier request; known when the first delta is here
    completion_tokens: int  # of all choices, so far
    prompt_logprobs: tuple[Token | None, ...]  # None for the first one; known when the first delta is here

    def __aiter__(self) -> AsyncIterator[Delta]: ...
    def cancel(self) -> None: ...


class Engine(Protocol):
    """The engine's thread as the event loop sees it. Methods are called on the event loop and do not block.

    `submit` raises `contract.errors.ContractError` (400 `context_length_exceeded` with both numbers, 503
    `engine_overloaded`). An answer whose engine dies raises `EngineDied` from its iteration.
    """

    def submit(self, job: Job) -> Answer: ...


class Pooler(Protocol):
    """The thread of a model that makes embeddings, or one that ranks. The same errors; `EngineDied` from a wait.

    Whoever cancels a wait frees what was not computed yet.
    """

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Unit vectors, one for each prompt."""
        ...

    async def rank(self, pairs: Sequence[Sequence[int]]) -> list[float]:
        """Scores from 0 to 1, one for each pair of a query and a document."""
        ...


class EngineDied(Exception):
    """The engine's thread has ended; one sentence."""
