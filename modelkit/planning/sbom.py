"""The lock as a CycloneDX 1.6 bill of materials with machine-learning models. Pure; the same lock gives the same bytes.

https://cyclonedx.org/docs/1.6/json/ says what each field means.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from modelkit.models.lock import Lock, LockedAdapter, LockedArtifact, LockedStage, LockedStep

_NAMESPACE = uuid.UUID("6e0ba6b4-5f0c-5c0e-9d0f-6d6f64656c6b")


def bom(lock: Lock, name: str, stages: Sequence[LockedStage], tool_version: str) -> dict[str, Any]:
    """The document for these stages of the Modelfile called `name`."""
    components: dict[str, dict[str, Any]] = {}
    depends: dict[str, list[str]] = {"modelfile": []}
    for stage in stages:
        ref = f"stage:{stage.name}"
        components[ref] = _application(ref, f"{name} {stage.name}", "", {"settings": stage.settings,
                                                                        "chat-template": stage.template})
        artifact = lock.artifact_for(stage.artifact)
        assert artifact is not None  # read() checks it
        base = f"model:{artifact.resolved}"
        components[base] = _model(artifact, base)
        depends.setdefault(base, [])
        model = base
        for step in stage.steps:
            made = f"{model}+{_words(step)}"
            components[made] = _derived(step, made, name, components[model])
            depends[made] = sorted({model, *([_tool(step, components)] if step.tool else [])})
            model = made
        engine = f"engine:{stage.requires.partition(' ')[0]}@{stage.engine}"
        components[engine] = _application(engine, stage.requires.partition(" ")[0], stage.engine, {})
        depends[ref] = [engine, model, *(_adapter(one, lock, components) for one in stage.adapters)]
        depends["modelfile"].append(ref)
    subject = {"type": "application", "bom-ref": "modelfile", "name": name}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, lock.digest + ' '.join(s.name for s in stages))}",
        "version": 1,
        "metadata": {"component": subject, "tools": {"components": [
            {"type": "application", "name": "modelkit", "version": tool_version}]}},
        "components": [components[ref] for ref in sorted(components)],
        "dependencies": [{"ref": ref, "dependsOn": sorted(set(depends.get(ref, [])))}
                         for ref in ("modelfile", *sorted(components))],
    }


def _model(artifact: LockedArtifact, ref: str) -> dict[str, Any]:
    files = [{"type": "file", "bom-ref": f"{ref}#{file.path}", "name": file.path, "hashes": [_hash(file.digest)],
              "properties": _properties({"size": str(file.size), "role": file.role})} for file in artifact.files]
    component: dict[str, Any] = {
        "type": "machine-learning-model", "bom-ref": ref, "name": artifact.reference,
        "externalReferences": [{"type": "distribution", "url": artifact.resolved}],
        "modelCard": {"modelParameters": {"inputs": [{"format": "text"}], "outputs": [{"format": "text"}]}},
        "properties": _properties({"form": artifact.form, "precision": artifact.precision,
                                   "tokenizer": artifact.tokenizer, "chat-template": artifact.template}),
        "components": files,
    }
    if artifact.revision:
        component["version"] = artifact.revision
    weights = [file for file in artifact.files if file.role in ("weights", "adapter")]
    if len(weights) == 1:
        component["hashes"] = [_hash(weights[0].digest)]
    return component


def _adapter(said: LockedAdapter, lock: Lock, components: dict[str, dict[str, Any]]) -> str:
    artifact = lock.artifact_for(said.artifact)
    assert artifact is not None  # read() checks it
    ref = f"adapter:{artifact.resolved}"
    components[ref] = _model(artifact, ref)
    return ref


def _derived(step: LockedStep, ref: str, name: str, parent: dict[str, Any]) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "machine-learning-model", "bom-ref": ref, "name": f"{name} {_words(step)}",
        "pedigree": {"ancestors": [{"type": "machine-learning-model", "name": parent["name"]}],
                     "notes": f"{step.kind} by {step.tool or 'modelkit'}"},
        "properties": _properties({"step": step.kind, "precision": step.precision, "tool": step.tool,
                                   "importance-matrix": step.imatrix, "size": str(step.size) if step.size else None}),
    }
    if step.output:
        component["hashes"] = [_hash(step.output)]
    return component


def _tool(step: LockedStep, components: dict[str, dict[str, Any]]) -> str:
    name, _, version = step.tool.rpartition(" ")
    ref = f"tool:{step.tool}"
    components[ref] = _application(ref, name or step.tool, version if name else "", {})
    return ref


def _application(ref: str, name: str, version: str, properties: dict[str, str | None]) -> dict[str, Any]:
    component: dict[str, Any] = {"type": "application", "bom-ref": ref, "name": name}
    if version:
        component["version"] = version
    if said := _properties(properties):
        component["properties"] = said
    return component


def _words(step: LockedStep) -> str:
    return f"{step.kind} {step.precision}".strip()


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}


def _properties(said: dict[str, str | None]) -> list[dict[str, str]]:
    return [{"name": f"modelkit:{name}", "value": value} for name, value in said.items() if value]
