"""Where the containers of a stage get their model from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.models.reference import Reference
from modelkit.planning.plan import ModelSource, Weights

if TYPE_CHECKING:
    from modelkit.models.artifact import Artifact


def folder_source(weights: Weights | None) -> ModelSource | None:
    """For containers of this machine: what is here of the model, None while nothing is."""
    return None if weights is None else ModelSource(kind="folder", name=weights.path)


def remote_source(artifact: Artifact | None, stage: str) -> ModelSource | None:
    """For containers elsewhere: the hub's repository or the registry's artifact; None while the base is not known.

    Raises Failure `weights-not-reachable` for a base that only this machine can read.
    """
    if artifact is None:
        return None
    reference = Reference.parse(artifact.resolved, Path.cwd())
    if reference.kind == "hf":
        return ModelSource(kind="hub", name=reference.repo, revision=artifact.revision)
    if reference.kind == "oci":
        return ModelSource(kind="oci", name=f"{reference.host}/{reference.name}@{reference.digest}")
    raise Failure("weights-not-reachable", f"other machines cannot fetch {artifact.reference}, and stage `{stage}` "
                  "runs on them", hint="name a repository of the Hugging Face Hub in the stage's FROM, or `modelkit "
                  "push` the model to a registry and write `FROM oci://…`")
