"""What the gates of a promotion are told: functions over the files, the supervisor and the engines of both stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.failure import Failure

if TYPE_CHECKING:
    from argparse import Namespace

    from modelkit.cli.stages import Stages
    from modelkit.cli.terminal import Terminal
    from modelkit.platforms.bundle import Bundle
    from modelkit.release.gates import GateContext
    from modelkit.release.identity import Actor
    from modelkit.release.record import Override


def context_of(stages: Stages, source: Bundle, target: Bundle, *, sockets: Mapping[str, str], terminal: Terminal,
               overrides: tuple[Override, ...] = (), fresh: bool = False, max_age: float | None = None,
               ) -> GateContext:
    """What the gates from one stage to another are told. `sockets` has the engine's of each stage that runs; a gate
    that asks one of the others is skipped."""
    from modelkit.cli.gate_measures import Measuring
    from modelkit.release import history
    from modelkit.release.gates import GateContext
    from modelkit.release.identity import actor_and_git, authors
    from modelkit.release.promotion.subject import subject
    from modelkit.release.record import Records
    from modelkit.release.signature import signers
    from modelkit.release.verification import verify

    path = Path(stages.modelfile.path)
    told = history.read(Records(path, target.plan.name, target.plan.stage))
    allowed = signers(told.records.root)
    actor, _ = actor_and_git(path.resolve().parent)
    live = told.live.record.subject.ir if told.live and told.live.record.subject else None
    return GateContext(
        modelfile=stages.modelfile, source=source.plan.stage, target=target.plan.stage,
        subject=subject(stages.modelfile, target), history=told, actor=actor,
        measures=Measuring(stages, source, target, sockets, live=live, terminal=terminal).measures(),
        overrides=overrides, authors=authors(path), fresh=fresh, max_age=max_age,
        signers=frozenset(verify(told, allowed).signed) if allowed else None, on_step=terminal.note)


def overrides_of(arguments: Namespace, actor: Actor) -> tuple[Override, ...]:
    """What `--override`, `--reason` and `--until` say. Raises Failure when one of them is missing."""
    from modelkit.release.history import instant
    from modelkit.release.record import Override

    names: Sequence[str] = tuple(dict.fromkeys(arguments.override or ()))
    if not names:
        return ()
    for word in ("reason", "until"):
        if not (getattr(arguments, word) or "").strip():
            raise Failure("usage", f"`--override` needs `--{word}`", hint="an override says who, why and until when: "
                          '--override ttft.p95 --reason "…" --until 2026-12-01')
    until = instant(arguments.until, end=True)
    who = f"{actor.name} <{actor.email}>" if actor.email else actor.name
    return tuple(Override(gate=name, reason=arguments.reason.strip(), actor=who, expires=until) for name in names)
