"""`modelkit gate`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure
from modelkit.release.verdict import EXIT_CODES

if TYPE_CHECKING:
    from modelkit.language.modelfile import Modelfile
    from modelkit.platforms.bundle import Bundle
    from modelkit.release.gates import GateContext, GateReport
    from modelkit.release.record import Gate
    from modelkit.runtime.client import Client

_LONGEST = 100  # characters of what a gate saw, on a line


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Judge the gates from one stage to another; 0 pass, 1 fail, 2 error, 8 when it is not known."""
    from modelkit.cli.gating import context_of, overrides_of
    from modelkit.cli.stages import Stages
    from modelkit.release.gates import run_gates
    from modelkit.release.identity import actor_and_git
    from modelkit.release.record import now

    path = project.find(arguments.file)
    modelfile = project.load(path, terminal, project.remembered(path) | project.given(arguments, path))
    if arguments.source == arguments.target:
        raise Failure("usage", f"there are no gates from stage `{arguments.source}` to itself")
    presume_stages(modelfile, arguments.source, arguments.target)
    if arguments.list:
        return _list(modelfile, arguments.target, terminal)
    overrides = overrides_of(arguments, actor_and_git(path.resolve().parent)[0])
    stages = Stages(modelfile, arguments)
    with terminal.progress() as progress:
        bundles = stages.prepare((arguments.source, arguments.target), progress, terminal)
    with _sockets(path, bundles, arguments.start, terminal) as sockets:
        context = context_of(stages, bundles[0], bundles[1], sockets=sockets, terminal=terminal, overrides=overrides,
                             fresh=arguments.fresh, max_age=arguments.max_age)
        began = now()
        report = run_gates(context, only=arguments.only)
    _show(context, report, began, terminal)
    return EXIT_CODES[report.verdict]


def presume_stages(modelfile: Modelfile, *names: str) -> None:
    """Raise Failure for a stage that is neither in the file nor known without it."""
    from modelkit.language.layers import effective

    for name in names:
        try:
            effective(modelfile, name)
        except KeyError:
            known = ", ".join(dict.fromkeys(("dev", "prod", *modelfile.stages)))
            raise Failure("unknown-stage", f"there is no stage `{name}`", hint=f"it is one of {known}") from None


def _list(modelfile: Modelfile, target: str, terminal: Terminal) -> int:
    from modelkit.release.gates import KINDS, asked

    gates = asked(modelfile, target)
    terminal.document({"schema": "modelkit.asked-gates/1", "stage": target, "gates": [
        {"id": one.id, "kind": one.kind, "required": one.required, "threshold": one.threshold,
         "phase": KINDS[one.kind].phase if one.kind in KINDS else None} for one in gates]})
    terminal.table(("GATE", "KIND", "MUST", "WANTED"), (
        (one.id, one.kind, "required" if one.required else "advisory", one.threshold or "") for one in gates))
    return 0


@contextmanager
def _sockets(path: Path, bundles: list[Bundle], start: bool, terminal: Terminal) -> Iterator[Mapping[str, str]]:
    """The sockets of the stages' engines that are ready here; with `start` of both, stopped again at the end."""
    from modelkit.runtime.client import connect

    client = connect(project.project_of(path))
    if client is None and not start:
        yield {}
        return
    started: list[int] = []
    with client or project.supervisor(path, bundles[1], terminal) as found:
        try:
            yield {bundle.plan.stage: socket for bundle in bundles
                   if (socket := _ready(found, bundle) or (start and _started(found, bundle, started, terminal)))}
        finally:
            for generation in started:
                found.stop(generation, lambda _: None, drain=0)


def _ready(client: Client, bundle: Bundle) -> str | None:
    return next((str(one["socket"]) for one in client.status()["generations"]
                 if one["digest"] == bundle.digest and one["phase"] == "ready"), None)


def _started(client: Client, bundle: Bundle, started: list[int], terminal: Terminal) -> str:
    from modelkit.cli.narrator import Narrator

    found = client.start(bundle, Narrator(terminal))
    started.append(int(found["generation"]))
    return str(found["socket"])


def _show(context: GateContext, report: GateReport, began: str, terminal: Terminal) -> None:
    terminal.document({"schema": "modelkit.gates/1", "model": context.history.records.model, "from": context.source,
                       "to": context.target, "version": context.subject.ir, **report.as_json()})
    way = f"{context.source} -> {context.target}"
    terminal.data(f"{context.history.records.model}  {way}  version {context.subject.ir}")
    terminal.table(("GATE", "VERDICT", "WANTED", "SEEN"), (_row(one, report, began) for one in report.gates))
    stopping = ", ".join(f"{one.id} ({one.verdict})" for one in report.stopping)
    terminal.data(f"{report.verdict}: {stopping}" if stopping else f"{report.verdict}: nothing stands against it")


def _row(gate: Gate, report: GateReport, began: str) -> tuple[str, ...]:
    verdict: str = gate.verdict
    if any(one.gate == gate.id for one in report.overrides):
        verdict += ", overridden"
    elif not gate.required:
        verdict += ", advisory"
    old = f", measured {gate.ended}" if gate.ended < began else ""
    return gate.id, verdict, gate.threshold or "", seen(gate) + old


def seen(gate: Gate) -> str:
    """What a gate saw, in a line."""
    said = [f"{value}" if name in ("why", "error", "stale") else f"{name} {_short(value)}"
            for name, value in gate.observed.items() if name != "first"]
    said += [str(one) for one in gate.observed.get("first", ())[:1]]
    text = ", ".join(said)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _short(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
