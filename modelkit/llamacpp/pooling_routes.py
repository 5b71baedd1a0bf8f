"""`/v1/embeddings` and `/v1/rerank`: texts to token ids, vectors and scores to answers with vLLM's fields."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Coroutine, Sequence
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modelkit.contract.errors import invalid
from modelkit.llamacpp.metrics import Metrics
from modelkit.llamacpp.pooling import PoolingEngine, shortened
from modelkit.llamacpp.sse import ClientGone, presented, unless_gone
from modelkit.llamacpp.tokens import off_loop
from modelkit.llamacpp.types import Filled, Usage, posted, written


class EmbeddingRequest(Filled):
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


class Embedding(BaseModel):
    index: int
    object: Literal["embedding"] = "embedding"
    embedding: list[float] | str


class Embeddings(BaseModel):
    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[Embedding]
    usage: Usage


class RerankRequest(Filled):
    query: str
    documents: list[str]
    top_n: int | None = None


class Score(BaseModel):
    index: int
    relevance_score: float


class Ranked(BaseModel):
    """The best first. The contract adds the documents."""

    id: str
    model: str
    usage: Usage
    results: list[Score]


def routes(engine: PoolingEngine, metrics: Metrics) -> list[Route]:
    """The route of the engine's task; the contract lets no other one through."""
    serving = _Serving(engine, metrics)

    async def embeddings(http: Request) -> Response:
        return await serving.answer(serving.embed(await EmbeddingRequest.read(http)), http)

    async def rerank(http: Request) -> Response:
        return await serving.answer(serving.rank(await RerankRequest.read(http)), http)

    return [posted("/v1/embeddings", embeddings), posted("/v1/rerank", rerank)]


class _Serving:
    def __init__(self, engine: PoolingEngine, metrics: Metrics) -> None:
        self._engine, self._metrics = engine, metrics

    async def answer(self, work: Coroutine[Any, Any, Response], http: Request) -> Response:
        """Counts how it ends; a client that leaves frees what it has not got yet."""
        began, reason = time.monotonic(), "error"
        try:
            answer = await unless_gone(http.receive, work)
            reason = "stop"
            return answer
        except ClientGone:
            reason = "abort"
            return Response(status_code=499)  # nobody reads it
        except Exception as failure:
            raise presented(failure) from None
        finally:
            self._metrics.ended[reason] += 1
            self._metrics.whole.observe(time.monotonic() - began)

    async def embed(self, request: EmbeddingRequest) -> Response:
        prompts = await self._prompts(request.input)
        size = self._engine.size
        if request.dimensions is not None and request.dimensions > size:
            raise invalid("dimensions", f"`dimensions` is {request.dimensions}; this model's embeddings have {size}")
        vectors = await self._engine.embed(prompts)
        if request.dimensions is not None:
            vectors = [shortened(vector, request.dimensions) for vector in vectors]
        usage = self._used(prompts)
        return await off_loop(sum(map(len, vectors)), _embedded, vectors, request, usage)

    async def rank(self, request: RerankRequest) -> Response:
        length = sum(map(len, request.documents)) + len(request.query) * len(request.documents)
        pairs = await off_loop(length, self._engine.pairs, request.query, request.documents)
        scores = await self._engine.rank(pairs)
        order = sorted(range(len(scores)), key=lambda index: -scores[index])[:request.top_n]
        ranked = Ranked(id=f"score-{uuid.uuid4().hex}", model=request.model, usage=self._used(pairs),
                        results=[Score(index=index, relevance_score=scores[index]) for index in order])
        return written(ranked)

    async def _prompts(self, said: Any) -> list[list[int]]:
        if isinstance(said, str):
            said = [said]
        if isinstance(said[0], int):
            return [said]
        if isinstance(said[0], list):
            return list(said)
        tokenize = self._engine.vocabulary.tokenize
        return await off_loop(sum(map(len, said)), lambda: [tokenize(text) for text in said])

    def _used(self, prompts: Sequence[Sequence[int]]) -> Usage:
        tokens = sum(map(len, prompts))
        self._metrics.prompt_tokens += tokens
        return Usage(prompt_tokens=tokens, total_tokens=tokens, completion_tokens=0)


def _embedded(vectors: Sequence[NDArray[Any]], request: EmbeddingRequest, usage: Usage) -> Response:
    data = [Embedding.model_construct(index=index, embedding=_base64(vector) if request.encoding_format == "base64"
                                      else vector.tolist()) for index, vector in enumerate(vectors)]
    return written(Embeddings.model_construct(id=f"embd-{uuid.uuid4().hex}", created=int(time.time()),
                                              model=request.model, data=data, usage=usage))


def _base64(vector: NDArray[Any]) -> str:
    """32-bit floats, the lowest byte first: what OpenAI's client reads."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
