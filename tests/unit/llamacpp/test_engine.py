"""The thread and its face on the event loop, over the small model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from modelkit.contract.errors import ContractError
from modelkit.llamacpp.cells import Cells
from modelkit.llamacpp.computing import LlamaError
from modelkit.llamacpp.config import Config
from modelkit.llamacpp.engine import LlamaEngine
from modelkit.llamacpp.jobs import EngineDied, Job, Sampling
from modelkit.llamacpp.loading import Loaded
from modelkit.llamacpp.pace import Pace
from modelkit.llamacpp.prefixes import Prefixes
from modelkit.llamacpp.scheduler import Scheduler
from tests.unit.llamacpp.fake_context import END, PIECES, VOCABULARY, FakeContext, alone

LENGTH = 200
CONFIG = Config(model="", socket="", profile="", fingerprint="", context_length=LENGTH, max_concurrency=4)
GREEDY = Sampling(temperature=0)
ENDLESS = Sampling(temperature=0, ignore_eos=True)


class FakeVocabulary:
    size, pieces, visible = VOCABULARY, tuple(PIECES), tuple(PIECES)
    control, ends, bos, eos, eot = frozenset[int](), frozenset({END}), None, END, None


class Bench:
    def __init__(self) -> None:
        self.context = FakeContext()
        cells = Cells(self.context.tokens)
        prefixes = Prefixes(self.context.memory, cells, self.context.sequences)
        scheduler = Scheduler(self.context, prefixes, Pace(64, 16), lambda *_: None, ends=frozenset({END}),
                              context_length=LENGTH, max_concurrency=4)
        self.closed: list[str] = []
        self.deaths: list[str] = []
        loaded: Any = Loaded(SimpleNamespace(close=lambda: self.closed.append("model")), FakeVocabulary(),  # type: ignore
                             self.context, cells, scheduler, lambda: None)  # type: ignore[arg-type]
        self.engine = LlamaEngine(loaded, CONFIG, self.deaths.append)

    async def ids(self, job: Job) -> list[int]:
        return [token.id async for delta in self.engine.submit(job) for token in delta.tokens]

    async def settled(self) -> None:
        for _ in range(1000):
            if not self.engine.stats().running + self.engine.stats().waiting:
                return
            await asyncio.sleep(0.001)
        raise AssertionError("somebody still has a place")


@pytest.fixture
def bench() -> Iterator[Bench]:
    one = Bench()
    yield one
    one.engine.close()


async def test_many_answers_at_once(bench: Bench) -> None:
    prompts = [(seed, 7, 9) for seed in range(20)]
    found = await asyncio.gather(*(bench.ids(Job(prompt, GREEDY, 12)) for prompt in prompts))
    assert found == [alone(prompt, 12) for prompt in prompts]
    await bench.settled()
    stats = bench.engine.stats()
    assert (stats.kv_used, stats.generation_tokens) == (0, sum(map(len, found)))


async def test_who_leaves_frees_the_place(bench: Bench) -> None:
    answer = bench.engine.submit(Job((1, 2, 3), ENDLESS))
    async for _ in answer:
        answer.cancel()
    await bench.settled()
    assert bench.engine.stats().kv_used == 0


@pytest.mark.parametrize(("job", "status", "code"), [
    (Job((1,) * LENGTH), 400, "context_length_exceeded"), (Job(()), 400, "invalid_value"),
    (Job((1, VOCABULARY)), 400, "invalid_value"), (Job((-1,)), 400, "invalid_value"),
    (Job((1,), adapter="nobody"), 404, "model_not_found"),
    (Job((1,), Sampling(logit_bias={VOCABULARY: 1.0})), 400, "invalid_value"),
    (Job((1,), choices=5000), 503, "engine_overloaded"),
])
async def test_what_cannot_be_is_refused(bench: Bench, job: Job, status: int, code: str) -> None:
    with pytest.raises(ContractError) as refused:
        bench.engine.submit(job)
    assert (refused.value.status, refused.value.code) == (status, code)


async def test_a_prompt_that_leaves_room_for_one_token(bench: Bench) -> None:
    assert len(await bench.ids(Job((1,) * (LENGTH - 1), ENDLESS))) == 1


async def test_when_the_thread_dies_nobody_waits(bench: Bench) -> None:
    bench.context.holds_after = 8
    answers = [bench.engine.submit(Job((one, 2), ENDLESS)) for one in range(6)]
    assert await asyncio.to_thread(bench.context.holding.wait, 60)
    bench.context.error = LlamaError("llama.cpp failed to compute a batch (-3)")
    bench.context.abort()
    for answer in answers:
        with pytest.raises(EngineDied, match="-3"):
            async for _ in answer:
                pass
    bench.engine.close()  # which waits for the thread
    assert len(bench.deaths) == 1
    with pytest.raises(EngineDied):
        bench.engine.submit(Job((1,)))


async def test_closing_ends_answers_and_frees_the_model(bench: Bench) -> None:
    bench.context.holds_after = 8
    answer = bench.engine.submit(Job((1, 2), ENDLESS))
    await anext(answer)
    bench.engine.close()
    with pytest.raises(EngineDied):
        async for _ in answer:
            pass
    assert bench.context.closed
    assert bench.closed
    assert not bench.deaths
