"""What a registry's manifest says, checked before it is believed.

The OCI image specification 1.1 (manifest.md, descriptor.md, image-index.md) and Docker's image manifest of version 2,
schema 2, which says the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from modelkit.failure import Failure

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MANIFESTS = (OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
_LISTS = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
ACCEPTED = ", ".join((*_MANIFESTS, *_LISTS))
LARGEST = 4 << 20  # bytes of a manifest: the distribution specification's advice to registries

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_LAYERS = 4096
_LARGEST_LAYER = 1 << 44  # 16 TiB: more than any model, less than what overflows


@dataclass(frozen=True)
class Layer:
    """A descriptor: one blob and what it is."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """An artifact's list of layers. `digest` is of the bytes that were read."""

    digest: str
    layers: tuple[Layer, ...]
    config: Layer
    artifact_type: str = ""


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def parse(body: bytes, where: str) -> Manifest | Layer:
    """The manifest in `body`, or, where it is a list of one, what that one is. Raises Failure for anything else."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        broken(where, "its manifest is not JSON")
    if not isinstance(said, dict):
        broken(where, "its manifest is not an object")
    if said.get("schemaVersion") != 2:
        broken(where, "its manifest is not of schema version 2")
    media_type = said.get("mediaType", "")
    if media_type in _LISTS or (not media_type and "manifests" in said):
        return _only_one(said.get("manifests"), where)
    if media_type not in ("", *_MANIFESTS):
        broken(where, f"its manifest is of an unknown type: {_shown(media_type)}")
    layers = said.get("layers", [])
    layers = [] if layers is None else layers  # how Go writes an empty list
    if not isinstance(layers, list) or len(layers) > _MOST_LAYERS:
        broken(where, "its manifest has no usable list of layers" if not isinstance(layers, list) else
               f"its manifest has {len(layers)} layers, and {_MOST_LAYERS} are allowed")
    kind = said.get("artifactType", "")
    return Manifest(digest_of(body), tuple(_layer(one, where) for one in layers), _layer(said.get("config"), where),
                    kind if isinstance(kind, str) else "")


def _only_one(entries: Any, where: str) -> Layer:
    """A list is a choice between platforms, which models have not: only a list without a choice can be followed."""
    if not isinstance(entries, list) or len(entries) > _MOST_LAYERS:
        broken(where, "it has no usable list of manifests")
    found = [_layer(entry, where) for entry in entries if not _attestation(entry)]
    if len(found) != 1:
        raise Failure("registry-list", f"{where} is a list of {len(found)} manifests, not one model",
                      "name one of them by its digest: `@sha256:…`", tuple(one.digest for one in found[:8]))
    if found[0].media_type not in _MANIFESTS or found[0].size > LARGEST:
        broken(where, "it lists something that is no manifest")
    return found[0]


def _attestation(entry: Any) -> bool:
    platform = entry.get("platform") if isinstance(entry, dict) else None
    return isinstance(platform, dict) and platform.get("os") == "unknown"


def _layer(said: Any, where: str) -> Layer:
    if not isinstance(said, dict):
        broken(where, "its manifest names something that is no layer")
    digest, size, media_type = said.get("digest"), said.get("size"), said.get("mediaType", "")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        broken(where, f"its manifest names a layer by no sha256 digest: {_shown(digest)}")
    if type(size) is not int or not 0 <= size <= _LARGEST_LAYER:
        broken(where, f"its manifest gives an impossible size: {_shown(size)}")
    if not isinstance(media_type, str):
        broken(where, f"its manifest gives an impossible media type: {_shown(media_type)}")
    notes = said.get("annotations")
    notes = notes if isinstance(notes, dict) else {}
    return Layer(media_type, digest, size, {k: v for k, v in notes.items() if isinstance(v, str)})


def broken(where: str, why: str) -> NoReturn:
    raise Failure("registry-broken", f"{where} can't be used: {why}",
                  "the registry is broken or hostile, or this is no model; don't use it")


def _shown(value: Any) -> str:
    text = "".join(c if c.isprintable() else "?" for c in str(value)[:80])
    return f"`{text}`"
