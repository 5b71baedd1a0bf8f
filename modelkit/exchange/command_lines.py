"""Engines' command lines to Modelfiles: `vllm serve …`, `llama-server …`, and `docker run` of their images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from modelkit.exchange import llama_server, vllm
from modelkit.exchange.draft import Draft
from modelkit.exchange.losses import Account
from modelkit.exchange.shell import Command, EngineName, find_command
from modelkit.exchange.sources import Imported, Source
from modelkit.failure import Failure

_INTO: dict[EngineName, Callable[[Draft, Command, Path], None]] = {
    "vllm": vllm.into, "llama-server": llama_server.into}
STAGES: dict[EngineName, str] = {"vllm": "prod", "llama-server": "dev"}


def read(source: Source) -> tuple[Imported, ...]:
    """The one command that a script or the words of a command line hold. Raises Failure where there is none."""
    command = find_command(source.words or source.text, source.name)
    if command.engine != source.format:
        raise Failure("other-engine", f"{source.name} starts {command.engine}, not {source.format}",
                      hint=f"`modelkit import {command.engine}` reads it")
    shown = "vllm serve" if command.engine == "vllm" else command.engine
    draft = drafted(command, f"a `{shown}` command line", Account(), source.folder)
    if source.called:
        draft.name(source.called, said="--name")
    return (Imported("", draft.settled(), draft.account.graded),)


def drafted(command: Command, origin: str, account: Account, folder: Path) -> Draft:
    """A draft of everything that a command says."""
    draft = Draft(origin, command.engine, STAGES[command.engine], account)
    _INTO[command.engine](draft, command, folder)
    return draft
