"""What comes over from the engine's thread, as its reader on the event loop sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Thread

import pytest

from modelkit.contract.errors import ContractError, of_status
from modelkit.llamacpp.answer import LlamaAnswer, Outbox
from modelkit.llamacpp.jobs import Delta, EngineDied, Job, Token
from modelkit.llamacpp.sequence import Request


def delta(text: str, choice: int = 0, finish: bool = False) -> Delta:
    return Delta(choice, text, (Token(1, text.encode()),), "stop" if finish else None)


def answer(choices: int = 1, cancel: Callable[[Request], None] = lambda request: None) -> LlamaAnswer:
    return LlamaAnswer(Request(Job((1, 2, 3), choices=choices), 0, 0.0), cancel)


async def texts(one: LlamaAnswer) -> list[tuple[int, str]]:
    return [(found.choice, found.text) async for found in one]


async def test_deltas_come_as_they_are_read() -> None:
    one = answer()
    reader = asyncio.create_task(texts(one))
    for text in "abc":
        one.push(delta(text, finish=text == "c"))
        await asyncio.sleep(0)
    assert await reader == [(0, "a"), (0, "b"), (0, "c")]
    assert (one.prompt_tokens, one.completion_tokens) == (3, 3)


async def test_who_reads_late_gets_fewer_and_longer_ones() -> None:
    one = answer(choices=2)
    for text in "abc":
        one.push(delta(text, 0, text == "c"))
        one.push(delta(text.upper(), 1, text == "c"))
    found = [delta async for delta in one]
    assert [(one.choice, one.text, len(one.tokens), one.finish) for one in found] == [
        (0, "abc", 3, "stop"), (1, "ABC", 3, "stop")]


async def test_cancel_ends_the_iteration_and_is_said_once() -> None:
    said: list[Request] = []
    one = answer(cancel=said.append)
    reader = asyncio.create_task(texts(one))
    await asyncio.sleep(0)
    one.cancel()
    one.cancel()
    one.push(delta("late"))
    assert await reader == []
    assert len(said) == 1


async def test_cancel_after_the_end_frees_nothing_twice() -> None:
    said: list[Request] = []
    one = answer(cancel=said.append)
    one.push(delta("a", finish=True))
    one.cancel()
    assert said == []
    assert await texts(one) == [(0, "a")]


@pytest.mark.parametrize("failure", [of_status(503), EngineDied("it fell over")])
async def test_a_failure_comes_after_what_was_said(failure: ContractError | EngineDied) -> None:
    one = answer()
    one.push(delta("a"))
    one.push(failure)
    assert (await anext(one)).text == "a"
    with pytest.raises(type(failure)):
        await anext(one)
    assert one.ended


async def test_one_call_into_the_loop_for_all_that_waits() -> None:
    loop = asyncio.get_running_loop()
    found: list[str] = []
    outbox = Outbox(loop, lambda request, news: found.append(getattr(news, "text", "")))
    request = Request(Job((1,)), 0, 0.0)
    calls: list[object] = []
    original = loop.call_soon_threadsafe
    loop.call_soon_threadsafe = lambda *given: calls.append(given) or original(*given)  # type: ignore[method-assign]
    thread = Thread(target=lambda: [outbox.post([(request, delta(text))]) for text in "abc"])
    thread.start()
    thread.join()
    await asyncio.sleep(0.01)
    assert found == ["a", "b", "c"]
    assert len(calls) == 1


async def test_a_closed_loop_is_nobody() -> None:
    loop = asyncio.new_event_loop()
    outbox = Outbox(loop, lambda request, news: None)
    loop.close()
    outbox.post([(Request(Job((1,)), 0, 0.0), delta("a"))])
