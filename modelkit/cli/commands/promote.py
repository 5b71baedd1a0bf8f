"""`modelkit promote`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from modelkit.cli import project
from modelkit.cli.commands.up import Narrator
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure
from modelkit.release.promote import Promotion, Running, promote

if TYPE_CHECKING:
    from modelkit.platforms.bundle import Bundle
    from modelkit.runtime.client import Client


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Show that both stages mean the same, then move the address; 1 when they differ."""
    if arguments.source == arguments.target:
        raise Failure("usage", f"stage `{arguments.source}` cannot be promoted to itself")
    path = project.find(arguments.file)
    modelfile = project.load(path, terminal, project.remembered(path) | project.given(arguments, path))
    with terminal.progress() as progress:
        source, target = Stages(modelfile, arguments).prepare((arguments.source, arguments.target), progress, terminal)
    project.say_losses(target.plan, terminal)
    with project.supervisor(path, target, terminal) as client:
        done = promote(modelfile, source, target, _Endpoint(client, terminal), on_step=terminal.note)
        _say(done, target, client, terminal)
    return 0


class _Endpoint:
    """The runtime's client, as `promote` wants to see it."""

    def __init__(self, client: Client, terminal: Terminal) -> None:
        self._client, self._narrate = client, Narrator(terminal)

    def running(self, bundle: Bundle) -> Running | None:
        for generation in self._client.status()["generations"]:
            if generation["digest"] == bundle.digest and generation["phase"] == "ready":
                return Running(generation["id"], generation["socket"], generation["digest"])
        return None

    def start(self, bundle: Bundle) -> Running:
        started = self._client.start(bundle, self._narrate)
        return Running(started["generation"], started["socket"], started["digest"])

    def switch(self, generation: int) -> None:
        self._client.switch(generation, self._narrate)

    def stop(self, generation: int) -> None:
        self._client.stop(generation, self._narrate, drain=0)


def _say(done: Promotion, target: Bundle, client: Client, terminal: Terminal) -> None:
    plan, record = target.plan, done.record
    terminal.document({
        "stage": plan.stage, "model": plan.name, "engine": plan.engine_name, "base_url": f"{client.endpoint}/v1",
        "parity": {"compared": done.parity.compared, "tokens": done.parity.tokens, "differences": []},
        "record": {"id": record.id, "path": str(record.path)} if record else None,
    })
    terminal.data(f"{plan.name} is served by stage {plan.stage} ({plan.engine_name}) at {client.endpoint}/v1")
    terminal.data(f"  parity   {done.parity.compared} conversations, {done.parity.tokens} tokens, all equal")
    if record:
        terminal.data(f"  record   {record.path}")
