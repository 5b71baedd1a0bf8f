"""What of a plan goes into the lock, and when what is there no longer answers the Modelfile. Pure.

A locked stage has two halves. What the Modelfile *asks for* (`_ASKED`): when that changes, the lock is stale and is
brought up to date. What was *found* for it (versions, digests): that stays, whatever is released or installed later,
until somebody asks for an upgrade.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from modelkit.failure import Failure
from modelkit.language.quantization import AUTO
from modelkit.models.artifact import Artifact
from modelkit.models.facts import ModelFacts
from modelkit.models.forms import Step
from modelkit.models.lock import Lock, LockedAdapter, LockedArtifact, LockedFile, LockedRung, LockedStage, LockedStep
from modelkit.planning.forms import Wanted
from modelkit.planning.plan import Plan, digest
from modelkit.planning.resolve import CONCURRENCY_OF_STAGE, CONTEXT_LENGTH, SAMPLING

_ASKED = {"artifact": "FROM", "quantize": "QUANTIZE", "requires": "ENGINE", "settings": "the settings"}
_OF_THE_FILE = ("modelfile", "stage")


@dataclass(frozen=True)
class Made:
    """One step of a stage's weights: what made it, and what came out where that is known."""

    step: Step
    tool: str = ""
    imatrix: str | None = None  # digest
    output: str | None = None  # digest
    size: int | None = None


def locked_artifact(reference: str, artifact: Artifact, precision: str, facts: ModelFacts | None) -> LockedArtifact:
    """`reference` as a committed file may say it."""
    portable = artifact.resolved if artifact.place is None or "://" in artifact.resolved else reference
    return LockedArtifact(
        reference=reference, resolved=portable, form=artifact.form, revision=artifact.revision,
        precision=precision,
        tokenizer=facts.tokenizer_digest if facts else None, template=facts.template_digest if facts else None,
        files=tuple(LockedFile(path=p.path, digest=p.digest, size=p.size, role=p.role)
                    for p in sorted(artifact.files)))


def locked_stage(plan: Plan, wanted: Wanted, artifact: LockedArtifact, made: Sequence[Made], engine: str, *,
                 adapters: Sequence[LockedAdapter] = (), images: Sequence[str] = ()) -> LockedStage:
    """A stage as it is now. `plan` must be made without overrides: the command line is nobody else's."""
    own = plan.chat_template
    return LockedStage(
        name=plan.stage, artifact=artifact.reference, quantize=wanted.quantize, requires=wanted.requires,
        settings=settings_digest(plan), engine=engine,
        template="sha256:" + hashlib.sha256(own.encode()).hexdigest() if own else artifact.template,
        steps=tuple(LockedStep(kind=one.step.kind, precision=one.step.precision, tool=one.tool, imatrix=one.imatrix,
                               output=one.output, size=one.size) for one in made),
        adapters=tuple(adapters), images=tuple(sorted(images)), rung=wanted.rung)


def settings_digest(plan: Plan) -> str:
    """Of everything that the Modelfile says about a stage, and of the language's defaults.

    What the model, the machine or the command line adds is not in it.
    """
    said = {s.name: s.value for s in plan.settings if s.origin.kind in _OF_THE_FILE
            and not (s.name == "quantize" and s.value == AUTO)}  # chosen or not, it is the same file
    texts = {name: plan.profile.get(name) for name in ("system", "messages", "stop") if name in said}
    defaults = [CONTEXT_LENGTH, CONCURRENCY_OF_STAGE, {name: row.default for name, row in SAMPLING.items()}]
    return digest({"name": plan.name, "settings": said, "texts": texts, "flags": plan.flags,
                   "platform": plan.platform, "template": plan.chat_template, "defaults": defaults})


def stale(now: LockedStage, locked: LockedStage | None) -> str | None:
    """Why the lock no longer answers the Modelfile, None when it does."""
    if locked is None:
        return f"stage `{now.name}` is not in it"
    for name, word in _ASKED.items():
        if getattr(now, name) != getattr(locked, name):
            values = "" if name == "settings" else f" from `{getattr(locked, name)}` to `{getattr(now, name)}`"
            return f"{word} of stage `{now.name}` changed{values}"
    if now.rung is not None and (change := _chosen(now, locked)) is not None:
        return change
    if [(s.kind, s.precision, s.imatrix) for s in now.steps] != [(s.kind, s.precision, s.imatrix)
                                                                 for s in locked.steps]:
        return f"the way to the weights of stage `{now.name}` changed"
    if [(one.name, one.artifact) for one in now.adapters] != [(one.name, one.artifact) for one in locked.adapters]:
        return f"ADAPTER of stage `{now.name}` changed"
    return None


def _chosen(now: LockedStage, locked: LockedStage) -> str | None:
    """What changed of `QUANTIZE auto`'s choice."""
    assert now.rung is not None
    if locked.rung is None:
        return f"it has no choice of `QUANTIZE {now.quantize}` of stage `{now.name}`"
    if now.rung.hardware != locked.rung.hardware:
        return (f"`QUANTIZE {now.quantize}` of stage `{now.name}` chose {_named(locked.rung)} for "
                f"{locked.rung.hardware}, and takes {_named(now.rung)} on {now.rung.hardware}")
    if now.rung.precision != locked.rung.precision:
        return (f"`QUANTIZE {now.quantize}` of stage `{now.name}` chose {_named(locked.rung)}, and takes "
                f"{_named(now.rung)} now")
    return None


def _named(rung: LockedRung) -> str:
    return "the base's own precision" if rung.precision == "none" else rung.precision


def kept(now: LockedStage, locked: LockedStage | None) -> LockedStage:
    """What goes into the lock: what was found before stays as long as the Modelfile asks for the same."""
    if locked is None or stale(now, locked) is not None:
        return now
    steps = tuple(_known_longer(new, old) for new, old in zip(now.steps, locked.steps, strict=True))
    adapters = tuple(_known_longer(new, old) for new, old in zip(now.adapters, locked.adapters, strict=True))
    return locked.model_copy(update={"engine": locked.engine or now.engine, "steps": steps, "adapters": adapters,
                                     "images": _known_images(now.images, locked.images),
                                     "template": locked.template or now.template})


def _known_images(now: Sequence[str], locked: Sequence[str]) -> tuple[str, ...]:
    """An image that was found before stays; one that nobody had asked for yet may be known now."""
    return tuple(sorted({one.partition("@")[0]: one for one in (*now, *locked)}.values()))


_Part = TypeVar("_Part", LockedStep, LockedAdapter)


def _known_longer(new: _Part, old: _Part) -> _Part:
    """What was made before stays; a step that nobody had made yet may be known now."""
    learned = not old.tool or (new.tool == old.tool and new.output is not None and old.output is None)
    return new if learned else old


def drift(now: LockedStage, locked: LockedStage) -> Iterator[str]:
    """In what this machine differs from the lock, one phrase each."""
    if locked.engine and now.engine and now.engine != locked.engine:
        yield f"the engine is {now.engine}, and the lock has {locked.engine}"
    if locked.template and now.template and now.template != locked.template:
        yield f"the chat template is {now.template[:19]}, and the lock has {locked.template[:19]}"
    for new, old in zip(now.steps, locked.steps, strict=False):
        if new.tool and old.tool and new.tool != old.tool:
            yield f"the weights are made by {new.tool}, and the lock has {old.tool}"
        elif new.output and old.output and new.output != old.output:
            yield f"`{new.kind}` made {new.output[:19]}, and the lock has {old.output[:19]}"
    for adapter, old_one in zip(now.adapters, locked.adapters, strict=False):
        if adapter.tool and old_one.tool and adapter.tool != old_one.tool:
            yield f"the adapter `{adapter.name}` is made by {adapter.tool}, and the lock has {old_one.tool}"
        elif adapter.output and old_one.output and adapter.output != old_one.output:
            yield f"the adapter `{adapter.name}` is {adapter.output[:19]}, and the lock has {old_one.output[:19]}"


def presume_files(artifact: Artifact, locked: LockedArtifact, where: str) -> None:
    """Raise Failure unless the files that are here are those that the lock has."""
    found, wanted = {p.path: p.digest for p in artifact.files}, {f.path: f.digest for f in locked.files}
    if found == wanted:
        return
    changed = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    raise Failure("lock-mismatch", f"{artifact.reference} is not what {where} says: `{changed[0]}` "
                  + ("is missing" if changed[0] not in found else "is new" if changed[0] not in wanted else
                     f"is {found[changed[0]][:19]}…, not {wanted[changed[0]][:19]}…"),
                  "if the change is wanted, run `modelkit lock --upgrade`; if not, somebody replaced it",
                  data={"changed": changed})


def presume_current(now: LockedStage, lock: Lock | None, where: str, why: str) -> LockedStage:
    """The stage's place in a lock that may not be changed now. Raises Failure `lock-stale` (exit 1)."""
    locked = lock.stage_named(now.name) if lock is not None else None
    reason = stale(now, locked) if lock is not None else "it does not exist"
    if reason is not None or locked is None:
        raise Failure("lock-stale", f"{where} is not up to date: {reason} ({why})", "run `modelkit lock`, look at what "
                      "changed, and commit it", exit_code=1)
    differences = list(drift(now, locked))
    if differences:
        raise Failure("lock-drift", f"stage `{now.name}` is not what {where} says: {differences[0]} ({why})",
                      "install what the lock names, or take what is here with `modelkit lock --upgrade`",
                      detail=tuple(differences[1:]), exit_code=1)
    return locked
