"""What clients send and get, as pydantic models, and how they are read and written.

Requests come filled and checked by the contract: nothing is refused or changed here that it let through, and fields
that a model does not name stay in it. Answers have the fields of vLLM's, those that are null among them. Chunks of
streams are no models; see `sse.Chunks`.

Routes read and write for themselves, on Starlette: pydantic reads the bytes, which takes a third of the time that
FastAPI takes, and what FastAPI would add, which is nothing then, is 0.3 s of every start.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modelkit.contract.errors import of_status

log = logging.getLogger("modelkit.llamacpp")


def posted(path: str, answer: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route(path, answer, methods=["POST"])


def written(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


class Filled(BaseModel):
    """A request as the contract made it."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str = ""

    @classmethod
    async def read(cls, http: Request) -> Self:
        """Raises ContractError (400) for what somebody else than the contract wrote."""
        try:
            return cls.model_validate_json(await http.body())
        except ValidationError as error:
            log.error("a request is not as the contract makes them: %s", error)
            raise of_status(400, "this request is not as the contract makes them") from None

    def fields(self) -> dict[str, Any]:
        """Every field that is there, as it came."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class StreamOptions(BaseModel):
    include_usage: bool = False


class Generation(Filled):
    """What chats and completions share."""

    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = 1

    @property
    def include_usage(self) -> bool:
        return self.stream and self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(Generation):
    messages: list[dict[str, Any]]


class CompletionRequest(Generation):
    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int
    echo: bool = False
    logprobs: int | None = None
    stop: list[str] = []
    ignore_eos: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    logit_bias: dict[str, float] = {}
    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None


class TokenizeRequest(Filled):
    """A text, or a conversation."""

    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    add_special_tokens: bool = True
    return_token_strs: bool = False


class DetokenizeRequest(Filled):
    tokens: list[int]


class ReasoningTokens(BaseModel):
    reasoning_tokens: int


class Usage(BaseModel):
    """Tokens. Prompts count once each, answers all."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int
    prompt_tokens_details: None = None  # vLLM says it when told to, and modelkit does not tell it
    completion_tokens_details: ReasoningTokens | None = None  # where the stage has a reasoning parser


NULL_UNLESS_SAID = ("refusal", "annotations", "audio", "function_call", "reasoning")
"""Fields that a whole message has in any case, as vLLM's has."""


class Answer(BaseModel):
    """A whole answer. Its choices are the readers' (`chat`, `completions`)."""

    id: str
    object: Literal["chat.completion", "text_completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    service_tier: None = None
    system_fingerprint: str
    usage: Usage


class Tokens(BaseModel):
    """Of `/tokenize`."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class Text(BaseModel):
    """Of `/detokenize`."""

    prompt: str


class Rendered(BaseModel):
    """A conversation as the engine would read it: vLLM's fields, and `prompt`, the text behind the ids."""

    request_id: str
    token_ids: list[int]
    prompt: str
    sampling_params: dict[str, Any]
    model: str
    features: None = None
    stream: bool
    stream_options: StreamOptions | None = None
    cache_salt: None = None
    priority: int = 0
    kv_transfer_params: None = None


class State(BaseModel):
    """What this engine really has, for the contract's `effective`. `template` is the text's digest."""

    version: str
    model: str
    context_length: int
    max_concurrency: int
    template: str | None
    adapters: list[str]
    kv_cache: str
    kv_tokens: int
