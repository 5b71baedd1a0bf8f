"""`/v1/completions`: OpenAI's older request, for a text, several, or token ids. Means what it means in vLLM 0.32."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from modelkit.contract.errors import invalid
from modelkit.llamacpp.answering import Asked
from modelkit.llamacpp.jobs import Answer, Delta, Job, Sampling, Token
from modelkit.llamacpp.logprobs import LegacyLogprobs
from modelkit.llamacpp.sampling import expect_known
from modelkit.llamacpp.tokens import Vocabulary, off_loop, presume_tokens
from modelkit.llamacpp.types import CompletionRequest


async def asked(request: CompletionRequest, vocabulary: Vocabulary, *, adapter: str | None) -> Asked:
    """The request as jobs, one for each of its prompts."""
    sampling = _sampling(request)
    expect_known(sampling, vocabulary)
    prompts = await off_loop(_size(request.prompt), _prompts, request.prompt, vocabulary)
    shaped = request.response_format or request.structured_outputs
    grammar = await asyncio.to_thread(_grammar, request) if shaped else None
    echo = request.logprobs if request.echo else None
    jobs = [Job(
        prompt=tuple(ids), sampling=sampling, max_tokens=max(1, request.max_tokens),
        stop=tuple(request.stop), grammar=grammar, logprobs=request.logprobs, prompt_logprobs=echo, adapter=adapter,
        choices=request.n) for _, ids in prompts]

    def reader(number: int, choice: int, work: Answer) -> Choice:
        text, ids = prompts[number]
        prompt = _Echo(text, ids, work, vocabulary, alone=request.max_tokens == 0) if request.echo else None
        return Choice(request.logprobs, prompt)

    return Asked("text", request.model, jobs, reader, request.stream, request.include_usage)


class Choice:
    """Reads one choice: its text, its log-probabilities in four lists, and the prompt before it when that is echoed."""

    def __init__(self, logprobs: int | None, echo: _Echo | None) -> None:
        self._logprobs = None if logprobs is None else LegacyLogprobs(logprobs)
        self._echo, self._only_echo = echo, echo is not None and echo.alone
        self._texts: list[str] = []
        self._lists: dict[str, list[Any]] | None = None
        self._end: dict[str, Any] = {"finish_reason": None, "stop_reason": None}

    def feed(self, delta: Delta) -> list[dict[str, Any]]:
        text, tokens = ("", ()) if self._only_echo else (delta.text, delta.tokens)
        if self._echo is not None:
            text, tokens, self._echo = self._echo.text + text, (*self._echo.tokens(), *tokens), None
        said = delta.stopped_by if isinstance(delta.stopped_by, str) else None  # the usual end of a text has no reason
        end = {"finish_reason": delta.finish, "stop_reason": said}
        logprobs = None
        if self._logprobs is not None and tokens:
            logprobs = self._logprobs.feed(tokens)
            self._keep(logprobs)
        self._texts.append(text)
        if delta.finish is not None:
            self._end = end
        if not text and logprobs is None and delta.finish is None:
            return []
        return [{"text": text, "logprobs": logprobs, **end}]

    def message(self) -> dict[str, Any]:
        return {"text": "".join(self._texts), "logprobs": self._lists, **self._end, "prompt_logprobs": None}

    def _keep(self, new: dict[str, list[Any]]) -> None:
        if self._lists is None:
            self._lists = {name: list(values) for name, values in new.items()}
        else:
            for name, values in new.items():
                self._lists[name] += values


class _Echo:
    """The prompt as the beginning of an answer: its text as it was sent, its tokens as they were read.

    `alone`: the client asked for 0 tokens, so that nothing follows.
    """

    def __init__(self, text: str | None, ids: list[int], work: Answer, vocabulary: Vocabulary, *, alone: bool) -> None:
        self.text = vocabulary.detokenize(ids, True) if text is None else text
        self.alone = alone
        self._ids, self._work, self._vocabulary = ids, work, vocabulary

    def tokens(self) -> tuple[Token, ...]:
        """With log-probabilities where they were asked for; the first token has none. Known with the first delta."""
        known = self._work.prompt_logprobs or (None,) * len(self._ids)
        return tuple(Token(one, self._vocabulary.pieces[one]) if token is None else token
                     for one, token in zip(self._ids, known, strict=True))


def _prompts(prompt: str | list[str] | list[int] | list[list[int]], vocabulary: Vocabulary
             ) -> list[tuple[str | None, list[int]]]:
    """OpenAI's four forms of a prompt as texts, where they were said, and ids. Control tokens in texts are read."""
    several = [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt
    found: list[tuple[str | None, list[int]]] = []
    for one in several:
        if isinstance(one, str):
            found.append((one, vocabulary.tokenize(one)))
        else:
            presume_tokens(one, vocabulary, "prompt")
            found.append((None, list(one)))
    if not all(ids for _, ids in found):
        raise invalid("prompt", "`prompt` has a text without any token")
    return found


def _size(prompt: str | list[str] | list[int] | list[list[int]]) -> int:
    """Characters and ids."""
    return len(prompt) if isinstance(prompt, str) else sum(1 if isinstance(one, int) else len(one) for one in prompt)


def _sampling(request: CompletionRequest) -> Sampling:
    return Sampling(
        temperature=request.temperature, top_p=request.top_p, top_k=request.top_k, min_p=request.min_p,
        repetition_penalty=request.repetition_penalty, presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty, seed=None if request.seed == -1 else request.seed,
        logit_bias={int(one): bias for one, bias in request.logit_bias.items()}, ignore_eos=request.ignore_eos)


def _grammar(request: CompletionRequest) -> str | None:
    """What shapes the answer. The contract lets one thing do it."""
    from modelkit.llamacpp.grammar import compiled

    formatted, wanted = request.response_format or {"type": "text"}, request.structured_outputs or {}
    if formatted["type"] == "json_schema":
        return compiled("json_schema", formatted["json_schema"]["schema"], "response_format")
    if formatted["type"] == "json_object" or "json_object" in wanted:
        return compiled("json_object", None, "response_format")
    if "json" in wanted:
        return compiled("json_schema", wanted["json"], "structured_outputs.json")
    kinds: tuple[Literal["regex", "choice", "grammar"], ...] = ("regex", "choice", "grammar")
    return next((compiled(kind, wanted[kind], f"structured_outputs.{kind}") for kind in kinds if kind in wanted), None)
