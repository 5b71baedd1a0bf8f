"""What the objects of a stage are called on a cluster, and the labels that find them again."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from modelkit.engines.container import SecretVariable
from modelkit.planning.plan import ModelSource, Plan

Object = dict[str, Any]

_LONGEST = 40
"""Characters of a stage's name. 63 are a DNS label's; what is appended (`-contract-0123456789`) must fit, too."""


def object_name(plan: Plan) -> str:
    """The stage's name as a DNS label, the same for the same Modelfile and stage, and no other's.

    `support` in `prod` is `support-prod`. A name that has to be changed to be a label (`Acme/Bot`) gets a part of its
    own digest, so that two of them (`acme-bot`) never meet.
    """
    wanted = f"{plan.name}-{plan.stage}"
    label = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")
    if not label[:1].isalpha():
        label = f"m-{label}".strip("-")
    if label == wanted and len(label) <= _LONGEST and "-" not in plan.stage:
        return label
    told_apart = hashlib.sha256(f"{plan.name}\0{plan.stage}".encode()).hexdigest()[:8]
    return f"{label[:_LONGEST - 9].rstrip('-')}-{told_apart}"


def selector(plan: Plan) -> dict[str, str]:
    """The labels that the stage's pods have and no others; they never change while the stage is there."""
    return {"app.kubernetes.io/instance": object_name(plan), "app.kubernetes.io/component": "engine"}


def labels(plan: Plan) -> dict[str, str]:
    """The labels of everything that is written for a stage."""
    assert plan.engine is not None
    return {"app.kubernetes.io/name": plan.engine.name, **selector(plan),
            "app.kubernetes.io/version": re.sub(r"[^A-Za-z0-9_.-]", "-", plan.engine.version).strip("-_."),
            "app.kubernetes.io/managed-by": "modelkit"}


def provenance(plan: Plan) -> dict[str, str]:
    """What a person or `modelkit status` wants to know of an object: where it comes from."""
    assert plan.source is not None
    return {"modelkit.dev/model-name": plan.name, "modelkit.dev/stage": plan.stage,
            "modelkit.dev/model": source_text(plan.source)}


def source_text(source: ModelSource) -> str:
    """A model's source as one word: `hf://org/repo@revision`, `oci://host/name@sha256:…`."""
    if source.kind == "hub":
        return f"hf://{source.name}@{source.revision}"
    return f"oci://{source.name}" if source.kind == "oci" else source.name


def metadata(plan: Plan, suffix: str = "", **more: Any) -> Object:
    """The metadata of one object of the stage; the namespace is that of whoever applies it."""
    return {"name": object_name(plan) + suffix, "labels": labels(plan), "annotations": provenance(plan), **more}


def secret_name(plan: Plan) -> str:
    """The Secret that holds a stage's keys. Nobody but a person writes it."""
    return f"{object_name(plan)}-keys"


def secret_notes(plan: Plan, secrets: tuple[SecretVariable, ...]) -> tuple[str, ...]:
    """How the Secret is made that the pods ask for: what must be in it, and what may."""
    create = f"kubectl create secret generic {secret_name(plan)}"
    needed = [f"--from-file={one.key}={_where(one.reference)}" for one in secrets if not one.optional]
    wanted = [f"--from-file={one.key}={_where(one.reference)}" for one in secrets if one.optional]
    notes = [f"create its Secret first, or its pods wait: {create} {' '.join(needed)}"] if needed else []
    if wanted and needed:
        notes.append(f"where the model is private, that Secret has its token, too: {' '.join(wanted)}")
    elif wanted:
        notes.append(f"where the model is private, create the Secret with its token first: {create} {' '.join(wanted)}")
    return tuple(notes)


def _where(reference: str) -> str:
    """The file that `kubectl --from-file` reads a secret from; a pipe for a variable, so that no `ps` shows it."""
    kind, _, place = reference.partition(":")
    if kind == "env":
        return f"<(printf %s \"${place}\")"
    return f"'{place}'" if re.search(r"[^\w./-]", place) else place
