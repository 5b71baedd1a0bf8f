"""`modelkit parity`."""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack
from typing import TYPE_CHECKING

from modelkit.cli import project
from modelkit.cli.parity_text import say_agreement, say_report
from modelkit.cli.sides import Side, Sides
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Progress, Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.language.modelfile import Modelfile
    from modelkit.release.agreement import Agreement
    from modelkit.release.parity import Conversation

_ENOUGH = 16
"""So many of the shipped conversations stand in for tests in a file without any."""


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Compare the prompts of two sides, and their answers where both give some; 1 when they differ."""
    from modelkit.release.parity import compare
    from modelkit.release.verdict import EXIT_CODES, fold

    names = _sides(arguments)
    modelfile = _modelfile(arguments, terminal, names)
    conversations = _conversations(arguments, modelfile)
    with ExitStack() as stack:
        stages = Stages(modelfile, arguments) if modelfile is not None else None
        made = Sides(arguments, terminal, stack, conversations, stages,
                     names=[name for name in names if name is not None])
        left, right = (made.of_stage(name) if name is not None else made.of_url(which)
                       for which, name in zip(("left", "right"), names, strict=True))
        for side in (left, right):
            terminal.note(str(side))
        with terminal.progress() as progress:
            counted = _Counter(progress, len(conversations), "prompts")
            report = compare(conversations, left.render, right.render, lambda _: counted())
        agreement = _agreement(arguments, terminal, conversations, (left, right))
    document = {**report.as_json(left.name, right.name), "asked": {"left": left.how, "right": right.how},
                "answers": agreement.as_json() if agreement else None}
    verdict = fold(["pass" if report.equal else "fail",
                    *([agreement.verdict(max_kl=arguments.max_kl, min_top1=arguments.min_top1)] if agreement else [])])
    terminal.document({**document, "verdict": verdict})
    say_report(terminal, report, left.name, right.name, full=arguments.full)
    if agreement is not None:
        say_agreement(terminal, agreement, left.name, right.name)
    if verdict == "inconclusive":
        terminal.note("inconclusive: too few answers to decide; add TESTs to the file, or raise --max-tokens")
    return EXIT_CODES[verdict]


def _sides(arguments: Namespace) -> tuple[str | None, str | None]:
    """The two stages by name; None where a side is an address. Raises Failure for too many or too few."""
    urls = [bool(arguments.left_url), bool(arguments.right_url)]
    for which, url in zip(("left", "right"), urls, strict=True):
        for word in ("model", "key_env"):
            if getattr(arguments, f"{which}_{word}") and not url:
                raise Failure("usage", f"`--{which}-{word.replace('_', '-')}` goes with `--{which}-url`")
    said = list(arguments.stages) or ([] if all(urls) else ["dev", "prod"] if not any(urls) else
                                      ["prod" if urls[0] else "dev"])
    if len(said) != 2 - sum(urls):
        wanted = ("no stage", "one stage", "two stages")[2 - sum(urls)]
        raise Failure("usage", f"with {sum(urls)} addresses there must be {wanted}, not {len(said)}",
                      "modelkit parity dev prod")
    if not any(urls) and said[0] == said[1]:
        raise Failure("usage", f"stage `{said[0]}` cannot be compared with itself")
    left = None if urls[0] else said.pop(0)
    return left, None if urls[1] else said.pop(0)


def _modelfile(arguments: Namespace, terminal: Terminal, names: tuple[str | None, str | None]) -> Modelfile | None:
    """The Modelfile; between two addresses there need not be one."""
    try:
        path = project.find(arguments.file)
    except Failure:
        if arguments.file is None and names == (None, None):
            return None
        raise
    return project.load(path, terminal, project.remembered(path) | project.given(arguments, path))


def _conversations(arguments: Namespace, modelfile: Modelfile | None) -> tuple[Conversation, ...]:
    from pathlib import Path

    from modelkit.release.parity import own_conversations, shipped_conversations
    from modelkit.release.parity.conversations import read_conversations

    own = own_conversations(modelfile) if modelfile is not None else ()
    more = [one for name in arguments.conversations for one in read_conversations(Path(name))]
    found = (*shipped_conversations(), *own, *more)
    if arguments.only is None:
        return found
    if not (kept := tuple(one for one in found if arguments.only.lower() in one.name.lower())):
        raise Failure("no-conversations", f"no conversation has `{arguments.only}` in its name")
    return kept


class _Counter:
    def __init__(self, progress: Progress, total: int, label: str) -> None:
        self._progress, self._total, self._label, self._done = progress, total, label, 0

    def __call__(self) -> None:
        self._done += 1
        self._progress(self._done, self._total, self._label)


def _plain(conversations: tuple[Conversation, ...]) -> list[Conversation]:
    return [said for said in conversations if not said.tools and said.add_generation_prompt][:_ENOUGH]


def _read_by_parsers(conversations: tuple[Conversation, ...], sides: tuple[Side, Side]) -> list[Conversation]:
    """Conversations whose answers show whether both sides read calls and reasoning, where one has a parser."""
    wanted = {feature for feature, parser in (("tools", "tool_parser"), ("thinking", "reasoning_parser"))
              if any(side.profile.get(parser) for side in sides)}
    return [said for said in conversations if said.features & wanted and said.messages[-1]["role"] == "user"
            and not said.name.startswith("TEST ")]


def _agreement(arguments: Namespace, terminal: Terminal, conversations: tuple[Conversation, ...],
               sides: tuple[Side, Side]) -> Agreement | None:
    """How the two answer, where both do; said where limits were given and it can't be measured."""
    import asyncio

    from modelkit.release.agreement import measure
    from modelkit.release.client import Client

    limited = arguments.max_kl is not None or arguments.min_top1 is not None
    if arguments.no_answers and limited:
        raise Failure("usage", "`--max-kl` and `--min-top1` are about answers, `--no-answers` wants none")
    left, right = sides
    one, other = left.target, right.target
    if any(side.profile.get("task", "chat") != "chat" for side in sides):
        return None
    if arguments.no_answers or one is None or other is None:
        if limited:
            silent = left.name if one is None else right.name
            raise Failure("no-answers", f"{silent} gives no answers: it does not run", exit_code=8,
                          hint=f"modelkit up -d --wait -s {silent}")
        return None
    own = [said for said in conversations if said.name.startswith("TEST ")]
    asked = [*(own or _plain(conversations)), *_read_by_parsers(conversations, sides)]
    if not own:
        terminal.note(f"no TEST in the file: {len(asked)} of the shipped conversations are answered")

    async def ask(progress: Progress) -> Agreement:
        async with Client(one) as a, Client(other) as b:
            return await measure(asked, a, b, max_tokens=arguments.max_tokens, ours="url" not in (left.how, right.how),
                                 on_progress=lambda done: progress(done, len(asked), "answers"))

    with terminal.progress() as progress:
        return asyncio.run(ask(progress))
