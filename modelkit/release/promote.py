"""`promote`: show that the other stage means the same, then put it behind the same address.

The order is the promise: the candidate runs beside what serves, parity is checked between the two, only then does the
address change hands; what served before drains. A difference leaves everything as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import modelkit
from modelkit.engines.call import call
from modelkit.failure import Failure
from modelkit.language.layers import effective
from modelkit.language.modelfile import Modelfile
from modelkit.models import lock as locks
from modelkit.models.digests import file_digest
from modelkit.planning.meaning import meaning
from modelkit.planning.plan import Plan, digest
from modelkit.platforms.bundle import Bundle
from modelkit.release import record as records
from modelkit.release.parity import (
    Conversation,
    ParityReport,
    Rendering,
    compare,
    own_conversations,
    shipped_conversations,
)
from modelkit.release.parity.engine import engine_side

TOOL = f"modelkit {modelkit.__version__}"


@dataclass(frozen=True)
class Running:
    """An engine that runs and is ready, routed or not."""

    generation: int
    socket: str
    bundle_digest: str


class Endpoint(Protocol):
    """The project's address and the engines behind it; the runtime's client fits."""

    def running(self, bundle: Bundle) -> Running | None:
        """The ready engine of this very bundle, if there is one."""

    def start(self, bundle: Bundle) -> Running:
        """Start it beside the others, not routed; it stops if we go away before `switch`."""

    def switch(self, generation: int) -> None:
        """Route new requests to it, drain and stop what served before."""

    def stop(self, generation: int) -> None:
        """Stop one that is not routed."""


@dataclass(frozen=True)
class Promotion:
    """What happened: the parity report, and the record when it went through."""

    parity: ParityReport
    record: records.Written | None


class Refused(Failure):
    """Parity differed; nothing was changed."""

    def __init__(self, report: ParityReport, source: str, target: str) -> None:
        first = report.differences[0]
        more = len(report.differences) - 1
        super().__init__(
            "parity-differs",
            f"{source} and {target} render {len(report.differences)} of {report.compared} conversations "
            "to different tokens",
            hint="the same base, TEMPLATE and SYSTEM must reach both stages; nothing was changed",
            detail=(
                f"conversation `{first.conversation}`: token {first.at} differs, after {first.before!r}",
                f"  {source}: {first.left}, {first.left_count} tokens in all",
                f"  {target}: {first.right}, {first.right_count} tokens in all",
                *([f"{more} more: " + ", ".join(d.conversation for d in report.differences[1:8])] if more else []),
            ),
            exit_code=1,
        )
        self.report = report


def promote(modelfile: Modelfile, source: Bundle, target: Bundle, endpoint: Endpoint, *,
            conversations: Sequence[Conversation] | None = None,
            on_step: Callable[[str], None] = lambda _: None) -> Promotion:
    """Move the project's address from `source`'s stage to `target`'s.

    Raises Refused when the two render a conversation differently, Failure when an engine does not start; in both
    cases what served before still serves.
    """
    if conversations is None:
        conversations = (*shipped_conversations(), *own_conversations(modelfile))
    started: list[int] = []

    def running(bundle: Bundle) -> Running:
        on_step(f"{bundle.plan.stage}: {bundle.plan.engine_name}")
        if (engine := endpoint.running(bundle)) is not None:
            return engine
        engine = endpoint.start(bundle)
        started.append(engine.generation)
        return engine

    began = records.now()
    try:
        left, right = running(source), running(target)
        on_step(f"parity: {len(conversations)} conversations")
        report = compare(conversations, _renderer(left.socket, source.plan),
                         _renderer(right.socket, target.plan))
        if not report.equal:
            raise Refused(report, source.plan.stage, target.plan.stage)
        on_step("switch")
        endpoint.switch(right.generation)
        if right.generation in started:
            started.remove(right.generation)
    finally:
        for generation in started:
            endpoint.stop(generation)
    return Promotion(report, _write(modelfile, source, target, report, began))


def _renderer(socket: str, plan: Plan) -> Callable[[Conversation], Rendering]:
    return engine_side(lambda path, body: call(socket, path, body), plan.name, plan.task)


def subject(modelfile: Modelfile, target: Bundle) -> records.Subject:
    """What the promoted stage runs, by digest. Its weights go by the name that FROM gives them: no machine's path."""
    base = effective(modelfile, target.plan.stage).base
    modelfile_bytes = Path(modelfile.path).read_bytes()
    plan, engine = target.plan, target.plan.engine
    assert engine is not None
    assert plan.weights is not None
    lock = locks.path_of(Path(modelfile.path))
    known = locks.read(lock)
    locked = known.stage_named(plan.stage) if known else None
    return records.Subject(
        modelfile="sha256:" + hashlib.sha256(modelfile_bytes).hexdigest(),
        ir=meaning(plan), lock=file_digest(lock) if lock.is_file() else None,
        artifacts=(records.Artifact(id="weights", uri=base.value if base else "",
                                    revision=_revision(known, locked.artifact if locked else None),
                                    tree=plan.weights.digest, bytes=plan.weights.size),
                   *_adapters(plan, known, locked)),
        template="sha256:" + hashlib.sha256(plan.chat_template.encode()).hexdigest() if plan.chat_template else None,
        engine=records.EngineSubject(name=engine.name, version=engine.version,
                                     argv=digest(list(target.launch.argv[1:]))),
    )


def _revision(lock: locks.Lock | None, reference: str | None) -> str | None:
    """The source's own word for the state of a model (a commit, a manifest's digest), where the lock has it."""
    artifact = lock.artifact_for(reference) if lock and reference else None
    return artifact.revision or None if artifact else None


def _adapters(plan: Plan, lock: locks.Lock | None, locked: locks.LockedStage | None) -> Iterator[records.Artifact]:
    """The adapters that go with the weights, by the names that the lock has for them."""
    names = {one.name: one.artifact for one in locked.adapters} if locked else {}
    for one in plan.adapters:
        said = names.get(one.name)
        yield records.Artifact(id=f"adapter {one.name}", uri=said or one.name, revision=_revision(lock, said),
                               tree=one.digest, bytes=one.size)


def _write(modelfile: Modelfile, source: Bundle, target: Bundle, report: ParityReport, began: str) -> records.Written:
    path = Path(modelfile.path)
    store = records.Records(path, target.plan.name, target.plan.stage)
    actor, git = records.actor_and_git(path.resolve().parent)
    gate = records.Gate(
        id="parity", kind="parity", verdict="pass", threshold="token ids identical",
        observed={"conversations": str(report.compared), "tokens": str(report.tokens), "differences": "0"},
        runner=records.runner(TOOL), started=began, ended=records.now(),
    )
    return store.append(records.Record.model_validate({
        "kind": "promote", "model": target.plan.name, "from": source.plan.stage, "to": target.plan.stage,
        "subject": subject(modelfile, target), "gates": (gate,), "actor": actor, "git": git,
        "prev": store.head(), "at": records.now(), "tool": TOOL,
    }))
