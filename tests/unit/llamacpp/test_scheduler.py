"""What is computed, and in which order, must not show in what is answered."""

from __future__ import annotations

import random
from typing import Any

import pytest

from modelkit.contract.errors import ContractError
from modelkit.llamacpp.cells import Cells
from modelkit.llamacpp.computing import ABORTED, NO_ROOM
from modelkit.llamacpp.jobs import Delta, Job, Token
from modelkit.llamacpp.pace import Pace
from modelkit.llamacpp.prefixes import Prefixes
from modelkit.llamacpp.room import SCORED
from modelkit.llamacpp.scheduler import Scheduler
from modelkit.llamacpp.sequence import Request, Sequence
from modelkit.llamacpp.speculation import NGram
from modelkit.llamacpp.text import Writer
from tests.unit.llamacpp.fake_context import END, PIECES, FakeBatch, FakeContext, Greedy, alone

CONTEXT_LENGTH = 200


class Patient(Pace):
    """Times of this machine say nothing about a model that takes none."""

    a_step = float("inf")  # tokens

    def pays(self, guesses: int, expected: float, batch: int) -> bool:
        return True

    def step_tokens(self) -> float:
        return self.a_step


class Bench:
    """A scheduler over the small model, and everything that came out of it."""

    def __init__(self, context: FakeContext | None = None, *, max_concurrency: int = 4, caching: bool = True,
                 busy_tokens: int = 16, draft_tokens: int = 0, adapters: dict[str, Any] | None = None) -> None:
        self.context = context or FakeContext()
        self.cells = Cells(self.context.tokens)
        self.prefixes = Prefixes(self.context.memory, self.cells, self.context.sequences, across=caching,
                                 whole=self.context.memory.whole)
        self.scheduler = Scheduler(
            self.context, self.prefixes, Patient(self.context.batch_tokens, busy_tokens),
            lambda context, index, token, top: Token(token, PIECES[token], float(context.logits(index)[token])),
            ends=frozenset({END}), context_length=CONTEXT_LENGTH, max_concurrency=max_concurrency,
            draft_tokens=draft_tokens, adapters=adapters, look=self.context.look)
        self.requests: list[Request] = []
        self.answers: dict[tuple[int, int], list[int]] = {}
        self.texts: dict[tuple[int, int], str] = {}
        self.finished: dict[tuple[int, int], str] = {}
        self.order: list[tuple[int, int]] = []
        self.failures: dict[int, ContractError] = {}

    def add(self, prompt: list[int], most: int | None = 10, *, guesses: bool = False, **more: Any) -> Request:
        job = Job(tuple(prompt), max_tokens=most, **more)
        request = Request(job, len(self.requests), 0.0)
        self.requests.append(request)
        self.scheduler.add([Sequence(request, choice, Greedy(), Writer(PIECES, job.stop),
                                     proposer=NGram() if guesses else None) for choice in range(job.choices)])
        return request

    def run(self, steps: int = 5000) -> Bench:
        for _ in range(steps):
            if self.scheduler.idle:
                break
            self.step()
        return self

    def step(self) -> None:
        self.scheduler.step()
        assert self.cells.used == self.context.memory.cells, "the count of cells is wrong"
        for request, news in self.scheduler.outcomes:
            if isinstance(news, Delta):
                self.take((request.number, news.choice), news)
            else:
                self.failures[request.number] = news
        self.scheduler.outcomes.clear()

    def take(self, key: tuple[int, int], delta: Delta) -> None:
        assert key not in self.finished
        self.answers.setdefault(key, []).extend(token.id for token in delta.tokens)
        self.texts[key] = self.texts.get(key, "") + delta.text
        if delta.finish:
            self.finished[key] = delta.finish
            self.order.append(key)


def prompt_of(length: int, seed: int = 0) -> list[int]:
    chance = random.Random(seed)
    return [chance.randrange(62) for _ in range(length)]


def test_one_answer_alone() -> None:
    prompt = prompt_of(20)
    bench = Bench()
    bench.add(prompt)
    bench.run()
    assert bench.answers[0, 0] == alone(prompt, 10)
    assert bench.context.steps[0] == [20]


@pytest.mark.parametrize("settings", [
    {}, {"caching": False}, {"max_concurrency": 1}, {"context": FakeContext(tokens=210)},
    {"context": FakeContext(tokens=210, sequences=4)}, {"context": FakeContext(whole=True)},
    {"context": FakeContext(batch_tokens=4)}, {"draft_tokens": 3, "context": FakeContext(wit=2)},
    {"draft_tokens": 3, "context": FakeContext(wit=2, tokens=210)}, {"busy_tokens": 1},
], ids=["plain", "nothing kept", "one at a time", "little room", "few slots", "whole memory", "small batch", "guesses",
        "guesses in little room", "small parts"])
def test_whatever_happens_beside_it_an_answer_is_the_same(settings: dict[str, Any]) -> None:
    chance = random.Random(7)
    if "context" in settings:  # parameters outlive a test
        given = settings["context"]
        settings = settings | {"context": FakeContext(given.tokens, given.sequences, given.batch_tokens,
                                                      whole=given.memory.whole, wit=given.wit)}
    bench = Bench(**settings)
    shared = prompt_of(40, 3)
    wanted = {}
    for number in range(40):
        prompt = shared[:chance.randrange(40)] + prompt_of(chance.randrange(1, 60), chance.randrange(9))
        most, choices = chance.randrange(1, 40), chance.choice((1, 1, 1, 3))
        bench.add(prompt, most, guesses=bool(settings.get("draft_tokens")), choices=choices)
        for choice in range(choices):
            wanted[number, choice] = alone(prompt, most, None, bench.context.wit)
        for _ in range(chance.randrange(6)):
            bench.step()
    bench.run()
    assert bench.answers == wanted
    assert bench.scheduler.idle
    assert bench.cells.busy == 0
    assert bench.context.most_cells <= bench.context.tokens


def test_decodes_come_first_and_a_long_prompt_gets_small_parts_meanwhile() -> None:
    bench = Bench(busy_tokens=32)
    bench.add(prompt_of(5), 50)
    bench.step()
    bench.add(prompt_of(150, 1), 5)
    bench.step()
    assert bench.context.steps[-1] == [1, 32]
    bench.run()
    assert all(step[0] == 1 for step in bench.context.steps[1:6])


def test_a_short_prompt_does_not_wait_for_a_long_one() -> None:
    bench = Bench(FakeContext(batch_tokens=16))
    bench.add(prompt_of(190, 1), 1)
    bench.add(prompt_of(6, 2), 1)
    bench.run()
    assert bench.order == [(1, 0), (0, 0)]


def test_a_prompt_seen_before_is_not_computed_again() -> None:
    prompt = prompt_of(100)
    bench = Bench()
    first, again = bench.add(prompt), None
    bench.run()
    bench.context.steps.clear()
    again = bench.add(prompt)
    bench.run()
    assert (first.cached_tokens, again.cached_tokens) == (0, 99)
    assert bench.context.steps[0] == [1]
    assert bench.answers[1, 0] == bench.answers[0, 0]


def test_a_conversation_goes_on_from_where_it_was() -> None:
    prompt = prompt_of(30)
    bench = Bench()
    bench.add(prompt)
    bench.run()
    longer = prompt + bench.answers[0, 0] + prompt_of(10, 5)
    again = bench.add(longer)
    bench.run()
    assert again.cached_tokens == 39  # the last token of the answer was never computed
    assert bench.answers[1, 0] == alone(longer, 10)


def test_without_caching_nothing_is_kept() -> None:
    bench = Bench(caching=False)
    bench.add(prompt_of(50))
    bench.run()
    again = bench.add(prompt_of(50))
    bench.run()
    assert again.cached_tokens == 0
    assert bench.cells.used == 0


@pytest.mark.parametrize("caching", [True, False])
def test_choices_share_their_prompt(caching: bool) -> None:
    bench = Bench(caching=caching)
    bench.add(prompt_of(100), choices=4)
    bench.run()
    assert bench.scheduler.counts.prompt_tokens == 100
    assert bench.context.most_cells <= 100 + 4 * 10


def test_who_begins_alike_waits_for_the_one_who_computes_it() -> None:
    shared = prompt_of(150)
    bench = Bench(FakeContext(batch_tokens=32))
    for last in range(4):
        bench.add([*shared, last])
    bench.run()
    assert bench.scheduler.counts.prompt_tokens <= 151
    assert bench.answers == {(last, 0): alone([*shared, last], 10) for last in range(4)}


@pytest.mark.parametrize(("a_step", "length", "computed"), [
    (8.0, 30, 30 + 10 + 10),  # the others' 20 first tokens are there one step later
    (20.0, 30, 3 * 30), (float("inf"), 30, 3 * 30),  # a step takes as long as they do
    (8.0, 150, 3 * 150),  # the first one needs many steps
])
def test_a_step_is_waited_for_where_it_costs_less_than_what_is_shared(a_step: float, length: int, computed: int,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patient, "a_step", a_step)
    bench, shared = Bench(FakeContext(batch_tokens=512, tokens=512)), prompt_of(20)
    for last in range(3):
        bench.add([*shared, 50 + last, *prompt_of(length - 21, last)], 1)
    bench.run()
    assert bench.scheduler.counts.prompt_tokens == computed


def test_the_oldest_is_never_put_off_and_all_come_to_an_end() -> None:
    bench = Bench(FakeContext(tokens=200))
    prompts = [one for seed in range(100) if END not in alone(one := prompt_of(40, seed), 100)][:4]
    for prompt in prompts:
        bench.add(prompt, 100)
    bench.run()
    assert bench.scheduler.counts.preemptions > 0
    assert bench.order[0] == (0, 0)
    assert bench.answers == {(number, 0): alone(prompt, 100) for number, prompt in enumerate(prompts)}


def test_who_needs_much_room_is_overtaken_only_so_often() -> None:
    bench = Bench(FakeContext(tokens=256, sequences=32), max_concurrency=8)
    bench.add(prompt_of(30, 100), 160)
    bench.step()
    bench.add(prompt_of(190, 101), 1)  # has no room beside the first one
    for seed in range(60):
        bench.add(prompt_of(3, seed), 2)
    bench.run()
    assert bench.order.index((1, 0)) < 30
    assert len(bench.finished) == 62


def test_context_full_ends_with_length() -> None:
    prompt = next(one for seed in range(100) if END not in alone(one := prompt_of(190, seed), 10))
    bench = Bench()
    bench.add(prompt, None)
    bench.run()
    assert bench.finished[0, 0] == "length"
    assert len(bench.answers[0, 0]) == CONTEXT_LENGTH - 190


def test_end_token_counts_and_has_no_text() -> None:
    prompt = next(one for seed in range(1000) if alone(one := prompt_of(5, seed), 30)[-1] == END)
    bench = Bench()
    bench.add(prompt, 30)
    bench.run()
    said = alone(prompt, 30)
    assert bench.answers[0, 0] == said
    assert bench.texts[0, 0] == b"".join(PIECES[one] for one in said[:-1]).decode()
    assert bench.finished[0, 0] == "stop"


def test_a_stop_string_ends_one_answer_and_frees_its_cells() -> None:
    prompt = prompt_of(5)
    said = b"".join(PIECES[one] for one in alone(prompt, 10)).decode()
    bench = Bench()
    bench.add(prompt, 10, stop=(said[3:5],))
    bench.run()
    assert bench.texts[0, 0] == said[:3]
    assert bench.cells.busy == 0


def test_a_dropped_request_frees_its_place_at_once() -> None:
    bench = Bench(max_concurrency=1)
    first = bench.add(prompt_of(50), 100)
    second = bench.add(prompt_of(50, 1), 3)
    bench.step()
    bench.scheduler.drop(first)
    assert bench.cells.busy == 0
    bench.run()
    assert set(bench.finished) == {(1, 0)}
    bench.scheduler.drop(second)  # harmless


def test_a_stopped_step_is_as_if_it_had_not_been() -> None:
    bench = Bench()
    bench.add(prompt_of(30), 5)
    bench.step()
    bench.add(prompt_of(90, 1), 5)
    bench.context.codes = [ABORTED]
    bench.step()
    bench.run()
    assert bench.answers == {(0, 0): alone(prompt_of(30), 5), (1, 0): alone(prompt_of(90, 1), 5)}


@pytest.mark.parametrize("refusals", [1, 3, 7])
def test_no_room_in_spite_of_our_count(refusals: int) -> None:
    bench = Bench()
    bench.add(prompt_of(100, 9), 3)
    bench.run()
    bench.add(prompt_of(60), 5)
    bench.add(prompt_of(90, 1), 5)
    bench.context.codes = [NO_ROOM] * refusals
    bench.run()
    assert bench.answers[1, 0] == alone(prompt_of(60), 5)
    assert bench.answers[2, 0] == alone(prompt_of(90, 1), 5)


def test_never_any_room_fails_the_request_and_nobody_else() -> None:
    bench = Bench()
    bench.add(prompt_of(60), 5)
    bench.context.codes = [NO_ROOM] * 20
    bench.run()
    assert bench.failures[0].status == 503
    bench.context.codes = []
    bench.add(prompt_of(60), 5)
    bench.run()
    assert bench.answers[1, 0] == alone(prompt_of(60), 5)


def test_adapters_take_turns_and_share_nothing() -> None:
    bench = Bench(adapters={"a": "A", "b": "B"})
    prompt = prompt_of(40)
    for adapter in (None, "a", "b"):
        bench.add(prompt, 20, adapter=adapter)
    bench.run()
    assert bench.answers == {(number, 0): alone(prompt, 20, name) for number, name in enumerate((None, "A", "B"))}


def test_guesses_that_are_right_save_steps() -> None:
    bench = Bench(FakeContext(wit=1), draft_tokens=4)
    prompt = next(one for seed in range(100) if END not in alone(one := prompt_of(20, seed), 60, wit=1))
    bench.add(prompt, 60, guesses=True)
    bench.run()
    counts = bench.scheduler.counts
    assert bench.answers[0, 0] == alone(prompt, 60, wit=1)
    assert counts.accepted > 20
    assert counts.steps < 50


def test_prompt_logprobs_of_every_token_but_the_first() -> None:
    bench = Bench(FakeContext(batch_tokens=16))
    bench.add(prompt_of(50), 1)
    bench.run()
    request = bench.add(prompt_of(50), 3, prompt_logprobs=0, choices=2)
    bench.run()
    known = request.prompt_logprobs
    assert known[0] is None
    assert [one.id for one in known[1:] if one] == prompt_of(50)[1:]
    assert bench.answers[1, 0] == bench.answers[1, 1] == alone(prompt_of(50), 3)


def test_a_step_leaves_no_more_rows_than_the_engine_has_room_for() -> None:
    """More of them end the process (`room.chat_room`)."""
    class Counting(FakeContext):
        def decode(self, batch: FakeBatch) -> int:
            rows.append(sum(part[3] for part in batch.parts))
            return super().decode(batch)

    rows: list[int] = []
    bench = Bench(Counting(batch_tokens=512), max_concurrency=6, draft_tokens=3)
    for number in range(8):
        bench.add(prompt_of(150, number), 5, prompt_logprobs=0 if number < 5 else None, guesses=number % 2 == 0)
    bench.run()
    assert [bench.answers[number, 0] for number in range(8)] == [alone(prompt_of(150, one), 5) for one in range(8)]
    assert SCORED <= max(rows) <= 6 * (1 + 3) + SCORED


def test_what_fails_while_drawing_fails_that_request_alone() -> None:
    class Broken(Greedy):
        def pick(self, context: FakeContext, index: int) -> Token:
            raise ValueError("bad")

    bench = Bench()
    bench.add(prompt_of(10), 5)
    request = Request(Job(tuple(prompt_of(10, 1))), 99, 0.0)
    bench.scheduler.add([Sequence(request, 0, Broken(), Writer(PIECES))])
    bench.run()
    assert bench.failures[99].status == 500
    assert bench.answers[0, 0] == alone(prompt_of(10), 5)
