"""A stage on a platform of other programs: made ready, written down, held to its lock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli.policies import presume_policies
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure
from modelkit.models.store import Progress, quiet

if TYPE_CHECKING:
    from modelkit.cli.weights import Found
    from modelkit.models.lock import Lock
    from modelkit.planning.plan import Plan
    from modelkit.platforms.manifests import Manifests


def manifests(stages: Stages, stage: str, on_progress: Progress, terminal: Terminal) -> Manifests:
    """What is written for a stage, with everything in it by digest; the lock is brought up to date.

    Raises Failure for what its platform, its engine or a policy refuses.
    """
    from modelkit import platforms

    found, plan = ready(stages, stage, on_progress)
    presume_policies(stages.modelfile, plan, found)
    made = platforms.manifests(plan)
    presume_pinned(plan)
    stages.settle([(stage, found)], terminal)
    return made


def ready(stages: Stages, stage: str, on_progress: Progress = quiet) -> tuple[Found, Plan]:
    """A stage with everything that its platform needs. Machines elsewhere fetch models themselves: nothing of the
    weights comes here for them, only what headers say."""
    from modelkit.platforms import platform_row

    where = platform_row(stages.look(stage).wanted.platform).where
    if where == "elsewhere":
        found = _inspected(stages, stage, on_progress)
        plan = stages.plan(stage, found)
        stages.presume_possible(found, plan, ask=True)
    else:
        found, plan = stages.ready(stage, on_progress)
    if stages.images.find(stage, plan, on_progress):
        plan = stages.plan(stage, found)
    return (found, plan) if where != "here" else (found, _mountable(plan, on_progress))


def presume_pinned(plan: Plan) -> None:
    """Raise Failure for an image that only its tag names."""
    for image in (plan.image, *plan.images.values()):
        if image is not None and "@sha256:" not in image:
            raise Failure("image-unpinned", f"the image {image} of stage `{plan.stage}` has no digest",
                          hint="run `modelkit lock`, or write `SERVE image name@sha256:…`")


def lock_digest(lock: Lock | None, stage: str) -> str:
    """Of what the lock has of a stage, whatever it has of others."""
    from modelkit.planning.plan import digest

    locked = None if lock is None else lock.stage_named(stage)
    if lock is None or locked is None:
        return ""
    artifacts = [lock.artifact_for(reference) for reference in locked.artifacts]
    return digest({"stage": locked.model_dump(mode="json"),
                   "artifacts": [one.model_dump(mode="json") for one in artifacts if one is not None]})


def _inspected(stages: Stages, stage: str, on_progress: Progress) -> Found:
    from modelkit.models.promised import promised

    found = stages.inspect(stage, on_progress)
    if found.facts is None:  # the lock says which files, not what is in them; nothing may depend on who wrote it
        found = replace(found, facts=promised(found.reference, stages.store, on_progress)[1])
    # vLLM makes fp8 while it loads; nobody makes anything else there.
    left = [step for step in found.route
            if (step.kind, step.precision, found.wanted.engine) != ("compress", "fp8", "vllm")]
    if left:
        raise Failure("weights-not-made-there", f"stage `{stage}` would have to {left[0]}, and the machines of "
                      f"platform {found.wanted.platform} load what they fetch",
                      hint="make it here with `modelkit convert`, `modelkit push` it into a registry, and write "
                      "`FROM oci://…` in the stage",
                      detail=tuple(str(step) for step in left[1:]))
    return found


def _mountable(plan: Plan, on_progress: Progress) -> Plan:
    """The plan with folders that a container can read: without links that lead out of them."""
    from modelkit.models.mounted import mountable

    def moved(path: str, digest: str) -> str:
        return str(mountable(Path(path), digest, on_progress))

    source = plan.source
    if source is not None and source.kind == "folder" and plan.weights is not None:
        source = source.model_copy(update={"name": moved(source.name, plan.weights.digest)})
    adapters = tuple(
        one.model_copy(update={"source": one.source.model_copy(update={"name": moved(one.source.name, one.digest)})})
        if one.source is not None and one.source.kind == "folder" else one for one in plan.adapters)
    return plan.model_copy(update={"source": source, "adapters": adapters})

