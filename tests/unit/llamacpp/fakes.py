"""An engine without a model, and chats without a template: what the surface needs to be looked at alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelkit.contract.errors import ContractError
from modelkit.llamacpp.jobs import Delta, Job, Token, TokenLogprob

WORDS = ("The", " capital", " is", " Paris", ".", "<|im_end|>", " and", " more")


class Words:
    """A vocabulary of a few words; the sixth ends a turn."""

    pieces = tuple(word.encode() for word in WORDS)
    size = len(WORDS)
    eos, ends = 5, frozenset({5})

    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = True) -> list[int]:
        found = []
        while text:
            one = next((n for n, word in enumerate(WORDS) if text.startswith(word)), None)
            text = text[1 if one is None else len(WORDS[one]):]
            if one is not None:
                found.append(one)
        return found

    def detokenize(self, ids: Sequence[int], show_special: bool = False) -> str:
        return "".join(WORDS[one] for one in ids)

    def written(self, ids: Sequence[int]) -> list[str]:
        return [WORDS[one].replace(" ", "Ġ") for one in ids]


class Work:
    """A job in work: says `words` one after the other, for each choice, whenever `gate` lets it."""

    def __init__(self, engine: FakeEngine, job: Job) -> None:
        self._engine, self.job = engine, job
        self.prompt_tokens, self.cached_tokens, self.completion_tokens = len(job.prompt), 0, 0
        self.queued_seconds = 0.25
        self.prompt_logprobs: tuple[Token | None, ...] = ()
        if job.prompt_logprobs is not None:
            self.prompt_logprobs = (None, *(self.token(one) for one in job.prompt[1:]))
        self.cancelled = False

    def token(self, one: int) -> Token:
        if self.job.logprobs is None:
            return Token(one, Words.pieces[one])
        top = tuple(TokenLogprob(n, Words.pieces[n], -0.5 - n) for n in range(self.job.logprobs))
        return Token(one, Words.pieces[one], -0.25, top)

    async def __aiter__(self) -> AsyncIterator[Delta]:
        for place, one in enumerate(self._engine.says):
            await self._engine.gate.acquire()
            if place >= self._engine.healthy and self._engine.fault is not None:
                raise self._engine.fault
            last = place + 1 == (self.job.max_tokens or 99)
            for choice in range(self.job.choices):
                self.completion_tokens += 1
                end = "stop" if one == Words.eos else "length" if last else None
                yield Delta(choice, "" if end == "stop" else WORDS[one], (self.token(one),), end,
                            one if end == "stop" else None)
            if last or one == Words.eos:
                return

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Counts:
    running: int = 2
    waiting: int = 1
    kv_used: int = 64
    kv_tokens: int = 256
    prefix_queries: int = 100
    prefix_hits: int = 40
    preemptions: int = 3


@dataclass
class FakeEngine:
    """Holds every job it got. `gate` has as many permits as tokens may be said; `refuses` is what `submit` raises.

    `fault` is what an answer raises after `healthy` tokens.
    """

    says: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    vocabulary: Words = field(default_factory=Words)
    works: list[Work] = field(default_factory=list)
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(10_000))
    died: str | None = None
    fault: Exception | None = None
    healthy: int = 0
    refuses: ContractError | None = None

    def submit(self, job: Job) -> Work:
        if self.refuses is not None:
            raise self.refuses
        self.works.append(Work(self, job))
        return self.works[-1]

    def stats(self) -> Counts:
        return Counts()


class FakeReader:
    """A choice whose text passes as it comes."""

    def __init__(self) -> None:
        self.text, self.finish = "", None

    def feed(self, delta: Delta) -> list[dict[str, Any]]:
        self.text += delta.text
        self.finish = delta.finish
        return [{"delta": {"content": delta.text} if delta.text else {}, "logprobs": None,
                 "finish_reason": delta.finish}]

    def message(self) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": self.text}, "logprobs": None, "finish_reason": self.finish,
                "stop_reason": None}


@dataclass
class FakePrepared:
    job: Job
    text: str

    def reader(self, index: int) -> FakeReader:
        return FakeReader()


class FakeChat:
    """A conversation is the concatenation of its contents."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    async def prepare(self, request: dict[str, Any]) -> FakePrepared:
        self.requests.append(request)
        text, ids = await self.prompt(request)
        return FakePrepared(Job(tuple(ids), max_tokens=request.get("max_tokens"), choices=request.get("n", 1)), text)

    async def prompt(self, request: dict[str, Any]) -> tuple[str, list[int]]:
        text = "".join(message["content"] for message in request["messages"])
        return text, Words().tokenize(text)
