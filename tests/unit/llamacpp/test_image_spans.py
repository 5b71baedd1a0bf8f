"""Images among the tokens: computed as a whole, found again, put off, cancelled, and where positions are fewer."""

from __future__ import annotations

import pytest

from modelkit.llamacpp import prefixes
from modelkit.llamacpp.computing import ABORTED, NO_ROOM, LlamaError
from modelkit.llamacpp.jobs import ImageSpan
from tests.unit.llamacpp.fake_context import FakeContext, alone
from tests.unit.llamacpp.test_scheduler import Bench

Prompt = list[int | ImageSpan]


def image(number: int, size: int = 12, positions: int | None = None) -> ImageSpan:
    return ImageSpan(0, size, positions or size, -number)


def laid(prompt: Prompt) -> tuple[list[int], tuple[ImageSpan, ...]]:
    """The prompt's tokens, and its images where they stand."""
    tokens: list[int] = []
    spans = []
    for part in prompt:
        if isinstance(part, int):
            tokens.append(part)
        else:
            spans.append(ImageSpan(len(tokens), part.size, part.positions, part.id))
            tokens += [part.id] * part.size
    return tokens, tuple(spans)


def answer(prompt: Prompt, most: int = 10) -> list[int]:
    """What the model answers alone: it sees an image at each of its positions."""
    return alone([one for part in prompt for one in ([part] if isinstance(part, int) else [part.id] * part.positions)],
                 most)


def asked(bench: Bench, prompt: Prompt, most: int = 10, **more: int) -> int:
    tokens, spans = laid(prompt)
    return bench.add(tokens, most, images=spans, **more).number


@pytest.mark.parametrize("positions", [12, 4])
@pytest.mark.parametrize("prompt", [
    [1, 2, image(1), 3], [image(1), 3], [1, image(1), image(2), 5], [1, image(1), *range(40), image(1), 3, 4],
], ids=str)
def test_answers_see_the_images(prompt: Prompt, positions: int) -> None:
    prompt = [one if isinstance(one, int) else image(-one.id, 12, positions) for one in prompt]
    bench = Bench(busy_tokens=3)
    asked(bench, prompt)
    asked(bench, [1, 2, 3])
    bench.run()
    assert bench.answers[0, 0] == answer(prompt)
    assert bench.answers[1, 0] == alone([1, 2, 3], 10)


@pytest.fixture
def everything_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short sequences too, when another one is computed alone."""
    monkeypatch.setattr(prefixes, "_WORTH_KEEPING", 1)


@pytest.mark.usefixtures("everything_is_kept")
@pytest.mark.parametrize("positions", [12, 4])
def test_what_was_seen_is_used_again_as_a_whole(positions: int) -> None:
    bench = Bench()
    one, other = image(1, 12, positions), image(2, 12, positions)
    for prompt, hits in (([1, 2, one, 3], 0), ([1, 2, one, 3], 14), ([1, 2, other, 3], 2), ([1, 2, one, 9], 14),
                         ([1, 2, one, 3, 4, 5, other, 6], 15)):
        before = bench.scheduler.counts.prefix_hits
        number = asked(bench, list(prompt))
        bench.run()
        assert bench.answers[number, 0] == answer(list(prompt))
        assert bench.scheduler.counts.prefix_hits - before == hits
    assert len(bench.context.looked) == 3


def test_choices_share_what_one_of_them_saw() -> None:
    bench = Bench()
    asked(bench, [1, image(1), 2, 3], choices=3)
    bench.run()
    assert [bench.answers[0, choice] for choice in range(3)] == [answer([1, image(1), 2, 3])] * 3
    assert len(bench.context.looked) == 1


@pytest.mark.parametrize("positions", [12, 4])
def test_room_is_made_and_who_was_put_off_sees_again(positions: int) -> None:
    bench = Bench(FakeContext(tokens=70))
    every: list[Prompt] = [[number, image(number, 12, positions), 5] for number in range(1, 40)]
    prompts = [prompt for prompt in every if len(answer(prompt, 40)) == 40][:4]
    for prompt in prompts:
        asked(bench, prompt, 40)
    bench.run()
    assert [bench.answers[number, 0] for number in range(4)] == [answer(prompt, 40) for prompt in prompts]
    assert bench.scheduler.counts.preemptions
    assert len(bench.context.looked) > 4


def test_an_image_of_which_half_was_forgotten_is_computed_again() -> None:
    bench = Bench(FakeContext(tokens=300, batch_tokens=400))
    long: Prompt = [image(1, 20), *([1] * 20), image(2, 270 - 40), 7]
    tokens, spans = laid(long)
    bench.add(tokens, 1, images=spans)
    bench.run()
    bench.add([9] * 60, 1)
    bench.run()
    before = bench.scheduler.counts.prefix_hits
    asked(bench, [image(1, 20), 1, 1, 3], 5)
    bench.run()
    assert bench.answers[2, 0] == answer([image(1, 20), 1, 1, 3], 5)
    assert bench.scheduler.counts.prefix_hits - before in (0, 22)


def test_streams_get_a_step_between_two_images() -> None:
    bench = Bench()
    asked(bench, [1, 2], 30)
    bench.step()
    asked(bench, [image(1), image(2), image(3), 4], 2)
    drawn = []
    while len(bench.context.looked) < 3:
        bench.step()
        drawn.append(len(bench.answers[0, 0]))
    assert drawn[-1] - drawn[0] == 2


@pytest.mark.usefixtures("everything_is_kept")
@pytest.mark.parametrize("codes", [[ABORTED], [NO_ROOM], [NO_ROOM, NO_ROOM, ABORTED]])
def test_what_was_stopped_is_done_again(codes: list[int]) -> None:
    bench = Bench()
    asked(bench, [7, 8], 2)
    bench.run()  # something that can be forgotten
    asked(bench, [image(1, 6, 3), 1, 2])
    bench.context.codes = list(codes)
    bench.run(200)
    if codes.count(NO_ROOM) < 2:
        assert bench.answers[1, 0] == answer([image(1, 6, 3), 1, 2])
    else:
        assert bench.failures[1].status == 503


def test_a_failure_is_the_requests_own() -> None:
    bench = Bench()
    asked(bench, [image(1), 1])
    bench.context.error = LlamaError("no")
    bench.step()
    bench.context.error = None
    asked(bench, [image(1), 1])
    bench.run()
    assert bench.failures[0].status == 500
    assert bench.answers[1, 0] == answer([image(1), 1])
    assert bench.cells.busy == 0


def test_who_leaves_before_an_image_leaves_nothing() -> None:
    bench = Bench()
    asked(bench, [*range(30), image(1), 1])
    bench.step()
    bench.scheduler.drop(bench.requests[0])
    bench.run()
    assert (bench.cells.busy, bench.context.looked) == (0, [])
