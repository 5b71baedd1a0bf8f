"""`modelkit chat`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from modelkit.cli import project
from modelkit.cli.commands.env import NO_KEY, variables_of
from modelkit.cli.stream import answer
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure


def run(arguments: Namespace, terminal: Terminal) -> int:
    """One question from the command line or a pipe, or a conversation at the terminal."""
    with project.running(arguments.file) as client:
        status = client.status()
    routed = [g for g in status["generations"] if g["routed"]]
    real = os.path.realpath(project.find(arguments.file))
    serving = next((g for g in routed if g["modelfile"] == real), routed[0] if len(routed) == 1 else None)
    if serving is None:
        raise Failure("not-ready", "nothing has the address yet", hint="modelkit ps", exit_code=1)
    variables = variables_of(arguments.file, terminal)
    key = variables["OPENAI_API_KEY"]
    chat = _Chat(variables["OPENAI_BASE_URL"], None if key == NO_KEY else key, serving["name"], terminal)
    if arguments.question:
        return chat.ask(" ".join(arguments.question))
    if not sys.stdin.isatty():
        return chat.ask(sys.stdin.read())
    terminal.note(f"{serving['name']} ({serving['stage']}, {serving['engine']}): Ctrl-C stops an answer, Ctrl-D leaves")
    return chat.converse()


class _Chat:
    """A conversation that remembers."""

    def __init__(self, base_url: str, key: str | None, model: str, terminal: Terminal) -> None:
        self._base_url, self._key, self._model, self._terminal = base_url, key, model, terminal
        self._messages: list[dict[str, str]] = []

    def ask(self, question: str) -> int:
        """Print the answer as it comes."""
        if not question.strip():
            raise Failure("usage", "there is nothing to ask", hint='modelkit chat "your question"')
        self._messages.append({"role": "user", "content": question})
        said, out = [], self._terminal.stdout
        try:
            for piece in answer(self._base_url, self._key, self._model, self._messages):
                said.append(piece)
                print(piece, end="", file=out, flush=True)
        finally:
            if said:
                print(file=out, flush=True)
            self._messages.append({"role": "assistant", "content": "".join(said)})
        return 0

    def converse(self) -> int:
        """Until Ctrl-D."""
        import readline  # noqa: F401 - gives input() line editing and history

        while True:
            try:
                question = input(">>> ")
            except EOFError:
                print(file=self._terminal.stdout)
                return 0
            if not question.strip():
                continue
            try:
                self.ask(question)
            except KeyboardInterrupt:
                self._terminal.note("(stopped)")
            except Failure as failure:
                self._terminal.failure(failure)
