"""Runs tasks against a model: one's own here, the others in their environments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import modelkit
from modelkit.failure import Failure
from modelkit.models.convert.tool import Tool
from modelkit.release.bridge import bridged
from modelkit.release.client import Answer, Client, Target
from modelkit.release.evaluation import own
from modelkit.release.evaluation.outside import outside as run_outside
from modelkit.release.evaluation.score import Question, Score, scored
from modelkit.release.evaluation.tasks import Runner, Task

Progress = Callable[[int, int | None, str], None]

_TOOL = f"modelkit {modelkit.__version__}"
_TRIES = 3
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}  # statuses that a second request may not meet
_PAUSE = 0.5  # seconds before the second try, twice as long before the third


class Chat(Protocol):
    """Asks a model; `modelkit.release.client.Client` does."""

    async def chat(self, body: dict[str, object]) -> Answer: ...


def _quiet(done: int, total: int | None, label: str) -> None:
    pass


@dataclass(frozen=True)
class Outside:
    """Where runners that are not ours are: `tool` finds one's environment, and it works in the folder `work`."""

    tool: Callable[[Runner], Tool]
    work: Path


def run(tasks: Sequence[Task], target: Target, *, outside: Outside | None = None, limit: int | None = None,
        concurrency: int = 8, on_progress: Progress = _quiet) -> dict[str, Score]:
    """The scores of tasks by name, `limit` questions of each at most.

    A task of lm-eval may have several scores: `gsm8k`, and `gsm8k.flexible-extract` for its second way of reading
    answers. Raises Failure for a task that cannot be run, and when no question of one is answered.
    """
    found = dict[str, Score]()
    for task in tasks:
        if task.runner == "modelkit":
            own_task = own.read(Path(task.source), task.name)
            found[task.name] = asyncio.run(_asked(own_task, target, limit, concurrency, on_progress))
            continue
        if outside is None:
            raise Failure("no-runner", f"`{task.name}` is a task of {task.runner}, which cannot be run here")
        tool = outside.tool(task.runner)
        with bridged(target) as address:  # this thread waits for the tool, so that Ctrl-C ends it
            found |= run_outside(task, address, tool, work=outside.work, limit=limit, concurrency=concurrency,
                                 on_progress=on_progress)
    for score in found.values():
        if not score.answered:
            why = next((one.error for one in score.questions if one.error), "there are none")
            raise Failure("no-answer", f"no question of `{score.name}` was answered: {why}",
                          hint="`modelkit ps` and `modelkit logs` say how the engine is")
    return found


async def _asked(task: own.OwnTask, target: Target, limit: int | None, concurrency: int, on_progress: Progress
                 ) -> Score:
    async with Client(target) as client:
        return await ask(task, client, limit=limit, concurrency=concurrency, on_progress=on_progress)


async def ask(task: own.OwnTask, client: Chat, *, limit: int | None = None, concurrency: int = 8,
              on_progress: Progress = _quiet) -> Score:
    """The score of a task of one's own, so many questions at a time."""
    asked = task.questions[:limit]
    numbers, answered = iter(range(len(asked))), dict[int, Question]()

    async def worker() -> None:
        for number in numbers:  # one iterator for all: each question is taken once
            question = asked[number]
            answer = await _answer(client, task.body(question))
            right = None if answer.error else float(task.right(question, answer.text))
            answered[number] = Question(id=question.id, score=right, error=answer.error)
            on_progress(len(answered), len(asked), f"asking {task.name}")

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(concurrency, len(asked))):
            workers.create_task(worker())
    return scored(task.name, task.rule, [answered[number] for number in sorted(answered)], tool=_TOOL, task=task.digest)


async def _answer(client: Chat, body: dict[str, object]) -> Answer:
    """An answer, asked for again where the way to the model is at fault."""
    for attempt in range(_TRIES):
        answer = await client.chat(body)
        if not answer.error or (answer.status not in _AGAIN and answer.status not in (None, 200)):
            return answer
        if attempt + 1 < _TRIES:
            await asyncio.sleep(_PAUSE * 2**attempt)
    return answer
