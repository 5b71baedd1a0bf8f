"""The dev engine's HTTP: what stands behind the contract (`contract.middleware.Contract`), which fills its requests.

Errors are `ContractError`s, in the contract's envelope; every other failure is a 500 that tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from modelkit.contract.errors import ContractError, of_status
from modelkit.contract.profile import Profile
from modelkit.llamacpp import completions, metrics, tokens
from modelkit.llamacpp.answering import Answering, Asked, Reader
from modelkit.llamacpp.config import Config
from modelkit.llamacpp.jobs import Engine, Job
from modelkit.llamacpp.sse import ClientGone, EventStream, presented, unless_gone
from modelkit.llamacpp.types import ChatRequest, CompletionRequest, Rendered, State, posted, written

OPENING = {"delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
"""What each choice of a chat's stream begins with."""


class Running(Engine, Protocol):
    """The engine, with what its process tells about it."""

    vocabulary: tokens.Vocabulary
    died: str | None  # why its thread has ended

    def stats(self) -> metrics.Counted: ...


class Prepared(Protocol):
    """A conversation, ready for the engine."""

    job: Job
    text: str

    def reader(self, index: int) -> Reader: ...


class Chat(tokens.Conversations, Protocol):
    """Who makes jobs of conversations; see `chat.Chat`."""

    async def prepare(self, request: dict[str, Any]) -> Prepared: ...


def application(engine: Running, chat: Chat | None, config: Config, profile: Profile, *, state: State,
                others: Sequence[Callable[[metrics.Metrics], list[Route]]] = ()) -> FastAPI:
    """The application. Without `chat` it has no routes that generate; `others` are routes of other tasks."""
    surface = _Surface(engine, config.fingerprint, metrics.Metrics(profile.name), profile)
    routes = _generating(surface, chat) if chat is not None else []  # first: routes are tried in their order
    for one in others:
        routes += one(surface.metrics)
    routes += tokens.routes(engine.vocabulary, chat, config.context_length) + _about(surface, state)
    return FastAPI(routes=list(routes), openapi_url=None, docs_url=None, redoc_url=None, exception_handlers={
        ContractError: _refused, ClientDisconnect: _nobody, ClientGone: _nobody})


class _Surface:
    """What the routes share."""

    def __init__(self, engine: Running, fingerprint: str, counted: metrics.Metrics, profile: Profile) -> None:
        self.engine, self.fingerprint, self.metrics, self.profile = engine, fingerprint, counted, profile

    def adapter(self, model: str) -> str | None:
        """The adapter that a request's model stands for."""
        return model if model in self.profile.adapters else None

    async def answer(self, asked: Asked, http: Request) -> Response:
        answering = Answering(asked, self.engine, self.metrics, self.fingerprint)
        if asked.stream:
            return EventStream(answering.events(), answering.close)
        try:
            return written(await unless_gone(http.receive, answering.whole()))
        except ClientGone:
            raise
        except Exception as failure:
            raise presented(failure) from None
        finally:
            answering.close()


def _generating(surface: _Surface, chat: Chat) -> list[Route]:
    async def chat_completions(http: Request) -> Response:
        request = await ChatRequest.read(http)
        prepared = await chat.prepare(request.fields())
        return await surface.answer(Asked(
            "chat", request.model, (prepared.job,), lambda _, choice, __: prepared.reader(choice), request.stream,
            request.include_usage, OPENING, reasons=bool(surface.profile.reasoning_parser)), http)

    async def text_completions(http: Request) -> Response:
        request = await CompletionRequest.read(http)
        asked = await completions.asked(request, surface.engine.vocabulary, adapter=surface.adapter(request.model))
        return await surface.answer(asked, http)

    async def render(http: Request) -> Response:
        request = await ChatRequest.read(http)
        return written(rendered(request, await chat.prepare(request.fields())))

    return [posted("/v1/chat/completions", chat_completions), posted("/v1/completions", text_completions),
            posted("/v1/chat/completions/render", render)]


def rendered(request: ChatRequest, prepared: Prepared) -> Rendered:
    """What would be generated from, and how: nothing is."""
    import uuid

    job = prepared.job
    sampling = {"n": job.choices, "max_tokens": job.max_tokens, "stop": list(job.stop), "logprobs": job.logprobs,
                **{name: getattr(job.sampling, name) for name in (
                    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty",
                    "frequency_penalty", "seed", "ignore_eos")}}
    return Rendered(request_id=f"chatcmpl-{uuid.uuid4().hex}", token_ids=tokens.shown(job.prompt), prompt=prepared.text,
                    sampling_params=sampling, model=request.model, stream=request.stream,
                    stream_options=request.stream_options)


def _about(surface: _Surface, state: State) -> list[Route]:
    """What is told about the engine. `/modelkit/state` is for the contract; no client gets there."""

    async def health(_: Request) -> Response:
        if surface.engine.died is not None:
            raise of_status(503, "the engine has ended")
        return Response()

    async def read_metrics(_: Request) -> Response:
        text = surface.metrics.render(surface.engine.stats())
        return PlainTextResponse(text, headers={"content-type": metrics.CONTENT_TYPE})

    async def read_state(_: Request) -> Response:
        return written(state)

    return [Route("/health", health), Route("/metrics", read_metrics), Route("/modelkit/state", read_state)]


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, ContractError)
    return Response(error.body(), error.status, media_type="application/json")


async def _nobody(_: Request, __: Exception) -> Response:
    """The client left, or the contract answers in our place: nobody reads this."""
    return Response(status_code=499)
