"""From words on the command line to whoever makes the checks that take more than the answer."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project, targets
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.release.testing.checks import Examiner
    from modelkit.release.testing.conversation import Asker


_UNSAID: dict[str, Any] = {
    "replay": None, "allow_exec": False, "api_key_env": None, "judge": None, "judge_model": None, "judge_key_env": None,
    "judge_digest": None, "judge_votes": 3, "embeddings": None, "embeddings_model": None, "embeddings_key_env": None}
"""What the words of a command say that has not all of them."""


class Examining:
    """The judge, the embedding model and the programs of one run. `conditions` say who they are, for the report.

    Raises Failure when one that is named is not there, or is not the one that is wanted.
    """

    def __init__(self, arguments: Namespace, asked: targets.Asked | None, terminal: Terminal) -> None:
        self._arguments = arguments = Namespace(**_UNSAID | vars(arguments))
        self._judge = self._embeddings = None
        self.conditions: dict[str, Any] = {}
        if arguments.replay:
            return
        self._judge = _named(arguments, "judge", terminal)
        self._embeddings = _named(arguments, "embeddings", terminal)
        if self._judge is not None:
            self.conditions["judge"] = self._about_judge(self._judge, asked, terminal)
        if self._embeddings is not None:
            self.conditions["embeddings"] = {"model": self._embeddings.target.model,
                                             "digest": targets.identity(self._embeddings)}

    def _about_judge(self, judge: targets.Asked, asked: targets.Asked | None, terminal: Terminal) -> dict[str, Any]:
        digest, wanted = targets.identity(judge), self._arguments.judge_digest
        if wanted and wanted != digest:
            raise Failure("other-judge", f"the judge is {digest or 'one that does not say what it is'}, not {wanted}",
                          "start the judge that was agreed on, or pin this one", exit_code=1)
        if not wanted:
            how = f"--judge-digest {digest} does so" if digest else "it does not say what it is, so it cannot be"
            terminal.note(f"the judge {judge.target.model} is not pinned: {how}")
        itself = asked is not None and (judge.target == asked.target
                                        or (digest is not None and digest == targets.identity(asked)))
        if itself:
            terminal.note("warning: the model judges itself; models find their own answers good")
        return {"model": judge.target.model, "digest": digest, "pinned": bool(wanted), "itself": itself,
                "votes": self._arguments.judge_votes}

    @asynccontextmanager
    async def open(self, folder: Path | None, replay: bool, written: set[str]) -> AsyncIterator[dict[str, Examiner]]:
        """Each of them by its kind of check; with a folder, their answers are kept there, or come from there."""
        from modelkit.release.client import Client
        from modelkit.release.testing.cassettes import Player, PostRecorder, Recorder
        from modelkit.release.testing.judging import Judge
        from modelkit.release.testing.program import Programs
        from modelkit.release.testing.similarity import Embeddings

        arguments = self._arguments
        async with AsyncExitStack() as stack:
            found: dict[str, Examiner] = {}
            if arguments.allow_exec:
                found["exec"] = Programs(withheld=_secrets(arguments))
            if replay and folder is not None:
                found["judge"] = Judge(Player(folder, "judge"), "recorded", votes=arguments.judge_votes)
                found["similar"] = Embeddings(Player(folder, "embeddings"), "recorded")
            if (judge := self._judge) is not None:
                client = await stack.enter_async_context(Client(judge.target))
                asker: Asker = Recorder(client, folder, "judge", written) if folder else client
                found["judge"] = Judge(asker, judge.target.model, votes=arguments.judge_votes)
            if (embeddings := self._embeddings) is not None:
                poster = await stack.enter_async_context(Client(embeddings.target))
                kept = PostRecorder(poster, folder, written) if folder else poster
                found["similar"] = Embeddings(kept, embeddings.target.model)
            yield found


def _named(arguments: Namespace, who: str, terminal: Terminal) -> targets.Asked | None:
    """Who `--judge` or `--embeddings` names: an address, or a Modelfile that runs here."""
    word = getattr(arguments, who)
    if not word:
        return None
    model, key = getattr(arguments, f"{who}_model"), getattr(arguments, f"{who}_key_env")
    if "://" in word:
        if not model:
            raise Failure("usage", f"which model is it at {word}?", f"--{who}-model NAME")
        return targets.Asked(targets.at_url(word, Namespace(model=model, api_key_env=key), terminal))
    if model or key:
        raise Failure("usage", f"`--{who}-{'model' if model else 'key-env'}` goes with an address in `--{who}`")
    return targets.running(project.find(word), None)


def _secrets(arguments: Namespace) -> frozenset[str]:
    """Variables with keys that are ours: no program that tests name gets them."""
    names = {project.API_KEY_VARIABLE, arguments.api_key_env, arguments.judge_key_env, arguments.embeddings_key_env}
    return frozenset(name for name in names if name and name in os.environ)
