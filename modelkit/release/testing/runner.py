"""Runs cases: as many at once as keep the engine's batch full, and alone those that what else runs could decide."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from modelkit.contract.request import NEUTRAL
from modelkit.release.testing.case import Case
from modelkit.release.testing.checks import Examiner, Examiners
from modelkit.release.testing.conversation import Asker, Conversation, Manner
from modelkit.release.testing.matcher import Matcher
from modelkit.release.testing.report import Attempt, CaseResult, TestReport

OnProgress = Callable[[int, int, str], None]
"""Called with repetitions done, repetitions in all, and the case's name."""

Dialect = Literal["modelkit", "openai"]

_OPENAI = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "max_tokens", "stop")


@dataclass(frozen=True)
class Options:
    """How cases are run.

    `defaults` are the stage's own sampling fields. `dialect`: whether the endpoint is modelkit's, which takes every
    sampling field, or knows OpenAI's alone. `steady`: the engine's answers do not depend on what else it does at the
    time, so that nothing has to run alone. `repeat` holds for cases that do not say themselves how often.
    """

    concurrency: int = 4
    repeat: int = 1
    seed: int = 0
    retries: int = 2
    timeout: float = 120.0
    pause: float = 0.5
    dialect: Dialect = "modelkit"
    steady: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    stops: tuple[str, ...] = ()
    examiners: Mapping[str, Examiner] = field(default_factory=dict)


def sampling(case: Case, number: int, options: Options) -> dict[str, Any]:
    """Every sampling field of one repetition, said: no default of an engine decides.

    The stage's own, with temperature 0 unless the case says another or repeats itself; what only shapes a random
    choice is then neutral. A repetition's seed is the case's or the options', plus its number.
    """
    fields = {**NEUTRAL, **options.defaults}
    if options.dialect == "modelkit":
        fields.pop("max_tokens", None)  # its contract has it as a default, cut to the context
    if not case.samples:
        fields |= {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
    fields |= case.parameters
    fields["seed"] = fields.get("seed", options.seed) + number
    if options.dialect == "openai":  # which knows no Modelfile: its stop strings are sent, too
        fields = {**({"stop": list(options.stops[:4])} if options.stops else {}), **fields}
        fields = {name: value for name, value in fields.items() if name in _OPENAI}
    return fields


async def run_tests(cases: Iterable[Case], client: Asker, options: Options | None = None,
                    on_progress: OnProgress = lambda done, total, name: None) -> TestReport:
    """Run all, and report in the order given. Cancelled, it stops at once and leaves nothing running."""
    cases, options = tuple(cases), options or Options()
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        matcher = await stack.enter_async_context(Matcher())
        run = _Run(client, options, Examiners(matcher, options.examiners), on_progress)
        try:
            attempts = await run.all(cases)
        except BaseExceptionGroup as group:  # one fault of ours, or of the disk that answers are kept on
            raise group.exceptions[0] from None
    results = tuple(CaseResult(case, tuple(attempts[index]), needed_of(case, options))
                    for index, case in enumerate(cases))
    return TestReport(results, _conditions(cases, options), time.monotonic() - began)


def repeats_of(case: Case, options: Options) -> int:
    return case.repeat if case.repeat > 1 else options.repeat


def needed_of(case: Case, options: Options) -> int:
    """How many repetitions must pass; all of them where only the command line repeats."""
    return case.must_pass if case.repeat > 1 else options.repeat


class _Run:
    def __init__(self, asker: Asker, options: Options, examiners: Examiners, on_progress: OnProgress) -> None:
        self._asker, self._options, self._examiners, self._on_progress = asker, options, examiners, on_progress
        self._done = self._total = 0

    async def all(self, cases: Sequence[Case]) -> list[list[Attempt]]:
        """The repetitions of each case."""
        attempts = [[Attempt(number) for number in range(repeats_of(case, self._options))] for case in cases]
        jobs = [(index, one.number) for index, repetitions in enumerate(attempts) for one in repetitions]
        self._total = len(jobs)
        alone = [job for job in jobs if cases[job[0]].alone and not self._options.steady]
        together = [job for job in jobs if not cases[job[0]].alone or self._options.steady]
        for lane, width in ((together, self._options.concurrency), (alone, 1)):
            queue = iter(lane)

            async def work(queue: Iterable[tuple[int, int]] = queue) -> None:
                for index, number in queue:
                    attempts[index][number] = await self._hold(cases[index], number)

            async with asyncio.TaskGroup() as group:
                for _ in range(min(width, len(lane))):
                    group.create_task(work())
        return attempts

    async def _hold(self, case: Case, number: int) -> Attempt:
        options = self._options
        own = case.parameters.get("stop", ())
        manner = Manner(sampling(case, number, options), (*options.stops, *own), options.timeout, options.retries,
                        options.pause)
        attempt = await Conversation(case, self._asker, self._examiners, manner).hold(number)
        self._done += 1
        self._on_progress(self._done, self._total, case.name)
        return attempt


def _conditions(cases: Sequence[Case], options: Options) -> dict[str, Any]:
    alone = 0 if options.steady else sum(case.alone for case in cases)
    return {"sampling": "greedy, but for cases that say a temperature or repeat themselves",
            "sampled": [case.name for case in cases if case.samples or case.parameters.get("temperature")],
            "seed": options.seed, "fields": "all" if options.dialect == "modelkit" else "OpenAI's",
            "concurrency": options.concurrency, "alone": alone,
            "answers_depend_on_the_batch": not options.steady}
