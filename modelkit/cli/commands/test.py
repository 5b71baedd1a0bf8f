"""`modelkit test`."""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli import project, targets
from modelkit.cli.examiners import Examining
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure
from modelkit.release.client import Client
from modelkit.release.testing import TestReport, cassettes, formats, golden_update, options_of, run_tests, suite_of
from modelkit.release.verdict import EXIT_CODES

if TYPE_CHECKING:
    from modelkit.language.modelfile import Modelfile
    from modelkit.release.testing import Options, Suite
    from modelkit.release.testing.conversation import Asker
    from modelkit.release.testing.runner import OnProgress


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Hold the tests; 0 when all pass, 1 when one fails, 2 when one could not be held, 8 when one was skipped."""
    path = project.find(arguments.file)
    modelfile = project.load(path, terminal, project.remembered(path) | project.given(arguments, path))
    _presume_sensible(arguments)
    suite = _chosen(suite_of(modelfile), path, arguments)
    held = _Held.of(modelfile, suite, arguments, terminal)
    with terminal.progress("test") as progress:
        report = asyncio.run(held.run(lambda done, total, name: progress(done, total, "testing")))
    if arguments.update:
        report = _updated(suite, report, held, terminal)
    _say(report, arguments, terminal)
    return EXIT_CODES[report.verdict]


def _presume_sensible(arguments: Namespace) -> None:
    if arguments.replay and (arguments.url or arguments.stage or arguments.update):
        other = "--update" if arguments.update else "--url" if arguments.url else "-s"
        raise Failure("usage", f"`--replay` asks nobody, so `{other}` says nothing")
    if arguments.update and arguments.repeat > 1:
        raise Failure("usage", "`--update` records one answer, `--repeat` asks for several")
    for who in ("judge", "embeddings"):
        if not getattr(arguments, who) and any(getattr(arguments, f"{who}_{what}", None)
                                               for what in ("model", "key_env", "digest")):
            raise Failure("usage", f"who is it? `--{who}` is missing")


def _chosen(suite: Suite, path: Path, arguments: Namespace) -> Suite:
    if not suite.cases:
        raise Failure("no-tests", f"{path} has no tests", "write a `TEST \"…\" {` block, or a *.golden.yaml beside it")
    chosen = suite.named(arguments.names)
    if not chosen.cases:
        near = ", ".join(case.name for case in suite.cases[:8])
        raise Failure("no-tests", f"no test's name contains {' or '.join(arguments.names)}", f"there are: {near}")
    return chosen


@dataclass(frozen=True)
class _Held:
    """Whom the tests are held with, and how."""

    suite: Suite
    options: Options
    examining: Examining
    asked: targets.Asked | None
    recorded: cassettes.Recorded | None  # with --record and --replay
    folder: Path | None
    replay: bool
    names: bool  # only some of the tests
    written: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, modelfile: Modelfile, suite: Suite, arguments: Namespace, terminal: Terminal) -> _Held:
        folder = Path(arguments.record or arguments.replay) if arguments.record or arguments.replay else None
        asked = recorded = None
        if arguments.replay:
            assert folder is not None
            recorded = cassettes.open_folder(folder, modelfile)
            stage, dialect, width, profile = recorded.stage, recorded.dialect, None, recorded.profile
        else:
            asked = targets.asked_of(arguments, terminal)
            stage = asked.stage or project.stage_of(arguments)
            found = targets.spoken(asked)
            dialect, width, profile = found.dialect, found.width, asked.plan.profile if asked.plan else None
        try:
            options = options_of(modelfile, stage, profile=profile, width=width,
                                 dialect="modelkit" if dialect == "modelkit" else "openai",
                                 repeat=arguments.repeat, seed=arguments.seed, retries=arguments.retries,
                                 timeout=float(arguments.timeout))
        except KeyError:
            raise Failure("unknown-stage", f"{modelfile.path} has no stage `{stage}`") from None
        if arguments.concurrency:
            options = replace(options, concurrency=arguments.concurrency)
        if asked is not None and dialect != "modelkit":
            terminal.note("nobody there speaks modelkit's contract: the model is asked as it is, without the "
                          "Modelfile's system prompt and messages")
        if arguments.record:
            assert asked is not None and folder is not None
            recorded = cassettes.Recorded(
                cassettes.meaning_of(modelfile, stage), dialect, stage, asked.target.model,
                asked.plan.engine_name if asked.plan else None, asked.digest, dict(profile) if profile else None)
            cassettes.begin(folder, recorded)
        examining = Examining(arguments, asked, terminal)
        return cls(suite, options, examining, asked, recorded, folder, bool(arguments.replay), bool(arguments.names))

    async def run(self, on_progress: OnProgress) -> TestReport:
        """Hold them all, keep the answers where that is wanted."""
        async with self._asker() as asker, self.examining.open(self.folder, self.replay, self.written) as examiners:
            report = await run_tests(self.suite.cases, asker, replace(self.options, examiners=examiners), on_progress)
        if self.folder is not None and not self.replay and not self.names:
            cassettes.finish(self.folder, self.written)
        return replace(report, conditions={**report.conditions, **self._subject(), **self.examining.conditions})

    @asynccontextmanager
    async def _asker(self) -> AsyncIterator[Asker]:
        if self.replay:
            assert self.folder is not None
            yield cassettes.Player(self.folder, self._service)
            return
        assert self.asked is not None
        async with Client(self.asked.target, read_timeout=self.options.timeout) as client:
            yield cassettes.Recorder(client, self.folder, self._service, self.written) if self.folder else client

    @property
    def _service(self) -> str:
        return f"model {self.recorded.meaning}" if self.recorded else "model"

    def _subject(self) -> dict[str, object]:
        if self.asked is None:
            assert self.recorded is not None
            return {"replayed": True, "stage": self.recorded.stage, "model": self.recorded.model,
                    "engine": self.recorded.engine, "digest": self.recorded.digest}
        plan = self.asked.plan
        return {"replayed": False, "stage": self.asked.stage, "model": self.asked.target.model,
                "engine": plan.engine_name if plan else None, "digest": self.asked.digest,
                "url": None if self.asked.target.socket else self.asked.target.base_url}


def _updated(suite: Suite, report: TestReport, held: _Held, terminal: Terminal) -> TestReport:
    """The report as it is once golden files say what was answered."""
    digest = held.asked.digest if held.asked else None
    texts = []
    for golden in suite.goldens:
        if new := golden_update.changes(golden, report.cases):
            texts.append((golden, new, golden_update.rewritten(golden, new, digest)))
    for golden, new, text in texts:  # all could be rewritten, so all are
        golden_update.write(golden.path, text)
        report = golden_update.accepted(report, new)
        terminal.note(f"wrote {len(new)} {'text' if len(new) == 1 else 'texts'} into {golden.page.name}")
    if not texts:
        terminal.note("no exact text of a golden file differs")
    return report


def _say(report: TestReport, arguments: Namespace, terminal: Terminal) -> None:
    terminal.document(report.as_json())
    if arguments.format == "full":
        for line in formats.as_text(report):
            terminal.data(line)
        return
    for line in formats.as_text(report):
        terminal.note(line)
    for line in [formats.junit(report).rstrip()] if arguments.format == "junit" else formats.github(report):
        terminal.data(line)
    if arguments.format == "github" and (summary := os.environ.get("GITHUB_STEP_SUMMARY")):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(formats.markdown(report, f"modelkit test {report.conditions.get('stage') or ''}".strip()))
