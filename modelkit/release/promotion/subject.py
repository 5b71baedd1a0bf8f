"""What a promotion is about, by digest: evidence and approvals count for this, and for nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from modelkit.language.layers import effective
from modelkit.language.modelfile import Modelfile
from modelkit.models import lock as locks
from modelkit.models.digests import file_digest
from modelkit.planning.meaning import meaning
from modelkit.planning.plan import Plan, digest
from modelkit.platforms.bundle import Bundle
from modelkit.release import record as records


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
