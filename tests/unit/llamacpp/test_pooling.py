"""Embeddings and reranking on the engine's thread, over a context that is a few lines of Python."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from modelkit.contract.errors import ContractError
from modelkit.llamacpp import pooling
from modelkit.llamacpp.computing import LlamaError
from modelkit.llamacpp.jobs import EngineDied

VOCABULARY = 100


class Pool:
    """Makes (3, 4 · first token) of a prompt, in batches of `room` tokens and `sequences` prompts."""

    def __init__(self, room: int = 8, sequences: int = 4, length: int = 8) -> None:
        self.room, self.length, self.context = room, length, SimpleNamespace(sequences=sequences)
        self.batches: list[list[tuple[int, ...]]] = []
        self.may, self.entered, self.closed = threading.Event(), threading.Event(), False
        self.may.set()
        self.fails: Exception | None = None

    def compute(self, prompts: Sequence[Sequence[int]]) -> list[Any]:
        self.batches.append([tuple(prompt) for prompt in prompts])
        self.entered.set()
        assert self.may.wait(10)
        if self.fails is not None:
            raise self.fails
        return [np.array([3, 4 * prompt[0]], np.float32) for prompt in prompts]

    def close(self) -> None:
        self.closed = True


@contextmanager
def engine(pool: Pool, kind: str = "bert", **more: Any) -> Iterator[pooling.PoolingEngine]:
    model = SimpleNamespace(vocab_size=VOCABULARY, embedding_size=2, metadata={"general.architecture": kind},
                            close=lambda: None)
    made = pooling.PoolingEngine(model, pool, SimpleNamespace(), **more)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        pool.may.set()
        made.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0.002)


def test_vectors_have_length_one_and_the_prompts_order() -> None:
    pool = Pool()
    with engine(pool) as made:
        found = asyncio.run(made.embed([[1] * size for size in (5, 2, 8, 1, 1)]))
    assert all(np.allclose(vector, (0.6, 0.8)) for vector in found) and len(found) == 5
    assert [[len(prompt) for prompt in batch] for batch in pool.batches] == [[5, 2], [8], [1, 1]]
    assert pool.closed


def test_requests_take_turns_in_a_batch() -> None:
    pool = Pool(room=4)

    async def both(made: pooling.PoolingEngine) -> None:
        pool.may.clear()
        first = asyncio.ensure_future(made.embed([[9]]))
        await until(pool.entered.is_set)
        long = asyncio.ensure_future(made.embed([[1]] * 6))
        short = asyncio.ensure_future(made.embed([[2]]))
        await until(lambda: made.stats().waiting == 2)
        pool.may.set()
        await asyncio.gather(first, long, short)

    with engine(pool) as made:
        asyncio.run(both(made))
    assert pool.batches[1] == [(1,), (2,), (1,), (1,)]


def test_whoever_leaves_frees_what_was_not_computed() -> None:
    pool = Pool(sequences=1)

    async def leave(made: pooling.PoolingEngine) -> None:
        pool.may.clear()
        gone = asyncio.ensure_future(made.embed([[1]] * 50))
        await until(pool.entered.is_set)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        pool.may.set()
        assert len(await made.embed([[2]])) == 1

    with engine(pool) as made:
        asyncio.run(leave(made))
    assert pool.batches == [[(1,)], [(2,)]]


@pytest.mark.parametrize(("prompts", "code", "said"), [
    ([[1] * 9], "context_length_exceeded", "has 9 tokens; this model's context length is 8 tokens"),
    ([[1], [VOCABULARY]], "invalid_value", "vocabulary of 100"), ([[-1]], "invalid_value", "vocabulary"),
    ([[]], "invalid_value", "no tokens")])
def test_what_llama_cpp_would_assert_on_is_refused_before(prompts: list[list[int]], code: str, said: str) -> None:
    pool = Pool()
    with engine(pool) as made, pytest.raises(ContractError, match=said) as caught:
        asyncio.run(made.embed(prompts))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, "input")
    assert pool.batches == []


def test_too_many_waiting_requests_are_told_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "REQUESTS_AT_MOST", 1)
    pool = Pool()

    async def crowd(made: pooling.PoolingEngine) -> None:
        pool.may.clear()
        working = asyncio.ensure_future(made.embed([[1]]))
        await until(pool.entered.is_set)
        waiting = asyncio.ensure_future(made.embed([[1]]))
        await until(lambda: made.stats().waiting == 1)
        with pytest.raises(ContractError) as caught:
            await made.embed([[1]])
        assert (caught.value.status, caught.value.code) == (503, "engine_overloaded")
        pool.may.set()
        await asyncio.gather(working, waiting)

    with engine(pool) as made:
        asyncio.run(crowd(made))


def test_nobody_waits_for_a_thread_that_has_ended() -> None:
    pool = Pool(sequences=1)
    deaths: list[str] = []
    pool.fails = LlamaError("no more memory")

    async def ask(made: pooling.PoolingEngine) -> None:
        asked = [asyncio.ensure_future(made.embed([[1], [1]])) for _ in range(2)]
        for one in asked:
            with pytest.raises(EngineDied, match="no more memory"):
                await one
        with pytest.raises(EngineDied):
            await made.embed([[1]])
        await until(lambda: deaths)

    with engine(pool, on_death=deaths.append) as made:
        asyncio.run(ask(made))
        assert made.died == "the engine's thread has ended: no more memory" == deaths[0]


@pytest.mark.parametrize(("kind", "score"), [("bert", pooling.sigmoid(3)), ("qwen3", 3)])
def test_scores_are_a_sigmoids_unless_the_graph_has_one(kind: str, score: float) -> None:
    with engine(Pool(), kind) as made:
        assert asyncio.run(made.rank([[1], [2]])) == [score, score]


def test_a_sigmoid_of_anything_is_between_0_and_1() -> None:
    assert [pooling.sigmoid(value) for value in (-1000, 0, 1000)] == [0, 0.5, 1]
    assert math.isclose(pooling.sigmoid(1.5) + pooling.sigmoid(-1.5), 1)


def test_a_shortened_vector_has_length_one_again() -> None:
    vector = pooling.unit(np.array([3, 4, 12], np.float32))
    assert np.allclose(pooling.shortened(vector, 2), (0.6, 0.8))
    assert pooling.unit(np.zeros(2, np.float32)).tolist() == [0, 0]


@pytest.mark.parametrize(("task", "said", "metadata", "expected"), [
    ("embed", "mean", {}, "mean"), ("embed", "auto", {"x.pooling_type": "2"}, "cls"),
    ("embed", "auto", {"x.pooling_type": "0"}, "last"), ("embed", "auto", {}, "last"),
    ("embed", "auto", {"x.attention.causal": "false"}, "cls"), ("rerank", "mean", {}, "rank")])
def test_the_pooling_is_the_plans_then_the_files_then_vllms(task: Any, said: Any, metadata: Any, expected: str) -> None:
    model = SimpleNamespace(metadata={"general.architecture": "x", **metadata})
    assert pooling.pooling_of(model, SimpleNamespace(task=task, pooling=said)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "tensors", "metadata", "said"), [
    ("llama", (), {}, "architecture llama"), ("bert", ("cls.output.weight",), {}, "left out its pooler"),
    ("bert", ("cls.weight", "cls.output.weight"), {"tokenizer.ggml.token_type_count": "2"}, "token types"),
    ("bert", ("cls.weight", "cls.output.weight"), {"classes": 2}, "2 classes"),
    ("bert", ("cls.weight", "cls.output.weight"), {"tokenizer.ggml.token_type_count": "1"}, None),
    ("qwen3", ("cls.output.weight",), {"classes": 2}, None), ("qwen3", (), {}, "no reranker")])
def test_a_model_that_would_rank_wrongly_is_refused(tmp_path: Any, kind: str, tensors: Sequence[str], metadata: Any,
                                                    said: str | None) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + b"".join(len(name).to_bytes(8, "little") + name.encode() for name in tensors))
    model = SimpleNamespace(path=file, classes=metadata.pop("classes", 1), metadata={"general.architecture": kind,
                                                                                    **metadata})
    problem = pooling.not_a_reranker(model)  # type: ignore[arg-type]
    assert (problem is None) if said is None else (problem is not None and said in problem)
