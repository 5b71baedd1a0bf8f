"""Embeddings and reranking: a context of their own, and the thread that has it.

One vector (or score) is made of each prompt, several prompts in one batch, those of different requests in turn. What
vLLM 0.32 makes of the same weights is the measure: unit vectors, and scores that a sigmoid has put between 0 and 1.
"""

from __future__ import annotations

import asyncio
import math
import mmap
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelkit.contract.errors import ContractError, invalid
from modelkit.llamacpp import cores
from modelkit.llamacpp.computing import LlamaError
from modelkit.llamacpp.jobs import EngineDied
from modelkit.llamacpp.room import pooled_room
from modelkit.llamacpp.weights import load_weights

if TYPE_CHECKING:
    from modelkit.llamacpp.config import Config
    from modelkit.llamacpp.context import Context, Pooling
    from modelkit.llamacpp.library import Model
    from modelkit.llamacpp.vocabulary import Vocabulary

Vector = NDArray[np.float32]

REQUESTS_AT_MOST = 512
"""Requests that may wait; whoever comes then is told to try again."""

_POOLINGS: dict[str, Pooling] = {"1": "mean", "2": "cls", "3": "last"}
"""By the number in a GGUF file's `<architecture>.pooling_type`."""

_HEADS: dict[str, tuple[str, ...]] = {"bert": ("cls.weight", "cls.output.weight"), "qwen3": ("cls.output.weight",),
                                      "modern-bert": ("cls.output.weight",)}
"""Architectures whose rerankers llama.cpp computes as they were trained, and the tensors that make a reranker of them.
"""

_HEADER = 64 * 1024 * 1024  # bytes of a GGUF file in which its tensors are named


class Pool:
    """The context. It belongs to one thread."""

    def __init__(self, model: Model, config: Config, threads: int) -> None:
        """Raises LlamaError for a model that can't do the task."""
        from modelkit.llamacpp.context import Context

        if config.context_length > model.trained_context:  # positions that a model was not trained for are asserted on
            raise LlamaError(f"inputs may have {model.trained_context} tokens, not {config.context_length}: more the "
                             "model was not trained for")
        if config.task == "rerank" and (problem := not_a_reranker(model)):
            raise LlamaError(problem)
        self.length = config.context_length
        pooling = pooling_of(model, config)
        # A text is computed in one piece where its vector is made of all its tokens', or they look ahead.
        whole = pooling in ("mean", "cls") or not causal(model)
        room = pooled_room(config, whole)
        self.room = room.batch
        self.context: Context = Context(
            model, tokens=room.tokens, sequences=room.sequences, batch=room.batch,
            physical_batch=room.physical, threads=threads,
            threads_batch=config.threads_batch or threads, kv_type=config.kv_cache,
            flash_attention=config.flash_attention, pooling=pooling, embeddings=True)
        self.batch = self.context.batch()

    def compute(self, prompts: Sequence[Sequence[int]]) -> list[Vector]:
        """What pooling makes of each prompt; they fit into one batch. Raises LlamaError."""
        self.context.memory.clear()
        self.batch.clear()
        for sequence, prompt in enumerate(prompts):
            self.batch.add(prompt, 0, sequence, outputs=len(prompt))
        self.context.decode(self.batch)
        return [self.context.embedding(sequence) for sequence in range(len(prompts))]

    def close(self) -> None:
        self.context.close()


def causal(model: Model) -> bool:
    return model.metadata.get(f"{model.metadata.get('general.architecture')}.attention.causal") != "false"


def pooling_of(model: Model, config: Config) -> Pooling:
    """The pooling that was said; else the file's; else what vLLM does with such a model."""
    if config.task == "rerank":
        return "rank"
    if config.pooling != "auto":
        return config.pooling
    said = _POOLINGS.get(model.metadata.get(f"{model.metadata.get('general.architecture')}.pooling_type", ""))
    return said or ("last" if causal(model) else "cls")


def not_a_reranker(model: Model) -> str | None:
    """Why llama.cpp would not rank as the model was trained to; None if it would."""
    kind = model.metadata.get("general.architecture", "")
    needed = _HEADS.get(kind)
    if needed is None:
        return f"{model.path.name} is of the architecture {kind}, which this engine cannot rerank with: use vLLM"
    if not all(_has_tensor(model.path, name) for name in needed):
        return f"{model.path.name} is no reranker: it lacks {needed[-1]}, or its converter has left out its pooler"
    if kind == "bert" and model.metadata.get("tokenizer.ggml.token_type_count", "1") not in ("0", "1"):
        return f"{model.path.name} tells the query from the document by token types, which llama.cpp does not: use vLLM"
    if kind != "qwen3" and model.classes > 1:
        return f"{model.path.name} has {model.classes} classes; a reranker has one score"
    return None


def _has_tensor(path: Path, name: str) -> bool:
    word = len(name).to_bytes(8, "little") + name.encode()  # as GGUF writes strings
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        return whole.find(word, 0, _HEADER) >= 0


def pair(model: Model, query: str, document: str) -> list[int]:
    """A query and a document as one prompt: the model's own template for it, else special tokens between the two."""
    from modelkit.llamacpp.library import low

    if template := model.chat_template("rerank"):
        texts = {"{query}": query, "{document}": document}
        return model.tokenize(re.sub(r"\{(?:query|document)\}", lambda found: texts[found[0]], template), False, True)
    vocab = model.vocab
    ends = low.llama_vocab_eos(vocab) if low.llama_vocab_eos(vocab) >= 0 else low.llama_vocab_sep(vocab)
    begin = [low.llama_vocab_bos(vocab)] if low.llama_vocab_get_add_bos(vocab) else []
    end = [ends] if low.llama_vocab_get_add_eos(vocab) else []
    between = [low.llama_vocab_sep(vocab)] if low.llama_vocab_get_add_sep(vocab) else []
    return [*begin, *model.tokenize(query, False, True), *end, *between, *model.tokenize(document, False, True), *end]


@dataclass
class _Request:
    """Prompts of one request, and where its client waits. `taken` counts those that were computed or are being so."""

    prompts: Sequence[Sequence[int]]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[list[Vector]]
    found: list[Vector] = field(default_factory=list)
    taken: int = 0

    @property
    def gone(self) -> bool:
        return self.done.cancelled()

    def settle(self, error: Exception | None = None) -> None:
        """From the engine's thread: wakes the client, if it is still there."""
        def now() -> None:
            if not self.done.done():
                self.done.set_result(self.found) if error is None else self.done.set_exception(error)

        try:
            self.loop.call_soon_threadsafe(now)
        except RuntimeError:  # the loop is closed, so nobody waits
            return


@dataclass(frozen=True)
class Stats:
    """Prompts that are being computed, requests that wait, cells of the attention cache (of a batch: it keeps none)."""

    running: int
    waiting: int
    kv_tokens: int
    kv_used: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    preemptions: int = 0


class PoolingEngine:
    """`jobs.Pooler` on llama.cpp. `size` is how many numbers an embedding has."""

    def __init__(self, model: Model, pool: Pool, vocabulary: Vocabulary,
                 on_death: Callable[[str], None] | None = None) -> None:
        self.model, self.vocabulary, self.size = model, vocabulary, model.embedding_size
        self.died: str | None = None  # why the thread has ended, if it has
        self._pool, self._on_death = pool, on_death
        self._softmaxed = model.metadata.get("general.architecture") == "qwen3"  # in llama.cpp's graph
        self._waiting: deque[_Request] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._running = 0
        self._thread = threading.Thread(target=self._work, name="llama.cpp", daemon=True)
        self._thread.start()

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[Vector]:
        return [unit(vector) for vector in await self._pooled(prompts, "input")]

    async def rank(self, pairs: Sequence[Sequence[int]]) -> list[float]:
        scores = [float(vector[0]) for vector in await self._pooled(pairs, "documents")]
        return scores if self._softmaxed else [sigmoid(score) for score in scores]

    def pairs(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        """A query with each of the documents, as `rank` takes them."""
        return [pair(self.model, query, document) for document in documents]

    def stats(self) -> Stats:
        return Stats(running=self._running, waiting=len(self._waiting), kv_tokens=self._pool.room)

    def close(self) -> None:
        """Ends the thread after the batch that it computes, and frees the model; harmless twice."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        self._thread.join()
        self._pool.close()
        self.model.close()

    async def _pooled(self, prompts: Sequence[Sequence[int]], param: str) -> list[Vector]:
        for prompt in prompts:
            self._presume_fits(prompt, param)
        loop = asyncio.get_running_loop()
        request = _Request(prompts, loop, loop.create_future())
        with self._ready:
            if self.died is not None:
                raise EngineDied(self.died)
            if len(self._waiting) >= REQUESTS_AT_MOST:
                raise ContractError(503, "engine_overloaded", "too many requests wait for the engine; try again")
            self._waiting.append(request)
            self._ready.notify()
        return await request.done

    def _presume_fits(self, prompt: Sequence[int], param: str) -> None:
        limit = self._pool.length
        if len(prompt) > limit:
            sentence = f"the prompt has {len(prompt)} tokens; this model's context length is {limit} tokens"
            raise ContractError(400, "context_length_exceeded", sentence, param)
        if not prompt:
            raise invalid(param, f"`{param}` has a text of no tokens")
        if min(prompt) < 0 or max(prompt) >= self.model.vocab_size:
            raise invalid(param, f"`{param}` has a token id beyond the vocabulary of {self.model.vocab_size} tokens")

    # on the thread

    def _work(self) -> None:
        taken: list[tuple[_Request, int]] = []
        try:
            while taken := self._take():
                vectors = self._pool.compute([request.prompts[index] for request, index in taken])
                self._deliver(taken, vectors)
        except Exception as error:
            self._end(f"the engine's thread has ended: {error}", taken)
            if self._on_death is not None:
                self._on_death(str(self.died))
        else:
            self._end("the engine is closed", taken)

    def _take(self) -> list[tuple[_Request, int]]:
        """Prompts for one batch, of each waiting request in turn; waits for the first, and is empty after `close`."""
        taken: list[tuple[_Request, int]] = []
        room = self._pool.room
        with self._ready:
            self._running = 0
            while not taken:
                self._ready.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return []
                while self._waiting and len(taken) < self._pool.context.sequences:
                    request = self._waiting[0]
                    if not request.gone:
                        if len(request.prompts[request.taken]) > room:
                            break
                        room -= len(request.prompts[request.taken])
                        taken.append((request, request.taken))
                        request.taken += 1
                        if request.taken < len(request.prompts):
                            self._waiting.append(request)
                    self._waiting.popleft()
            self._running = len(taken)
        return taken

    def _deliver(self, taken: list[tuple[_Request, int]], vectors: list[Vector]) -> None:
        for (request, _), vector in zip(taken, vectors, strict=True):
            request.found.append(vector)  # prompts of a request are taken in order
            if len(request.found) == len(request.prompts):
                request.settle()

    def _end(self, reason: str, taken: list[tuple[_Request, int]]) -> None:
        with self._ready:
            self.died = reason
            left, self._waiting = [*self._waiting, *(request for request, _ in taken)], deque()
        for request in left:
            request.settle(EngineDied(reason))


def unit(vector: Vector) -> Vector:
    """The vector of length 1 in the same direction; one of length 0 stays."""
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


def shortened(vector: Vector, dimensions: int) -> Vector:
    """The first numbers of a unit vector, as a unit vector: what models trained for it (Matryoshka) allow."""
    return unit(vector[:dimensions])


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def start(config: Config, on_progress: Callable[[float], None] | None = None,
          on_death: Callable[[str], None] | None = None, weights: Model | None = None) -> PoolingEngine:
    """Loads the model, makes its context and starts the thread; blocks meanwhile. As `engine.start` of a chat's engine.
    """
    threads = config.threads or cores.usable_cores()
    model = weights or load_weights(config.model, config, on_progress)
    try:
        from modelkit.llamacpp.vocabulary import Vocabulary

        return PoolingEngine(model, Pool(model, config, threads), Vocabulary(model), on_death)
    except BaseException:
        model.close()
        raise


