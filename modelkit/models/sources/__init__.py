"""Where models come from: one file per kind of reference. This file is the registry.

A source answers two questions. `resolve` says what a reference means now, with the digest and size of every file, and
fetches no weights unless the source can't say a digest without them. `fetch` brings the files here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from modelkit.models.artifact import Artifact
    from modelkit.models.reference import Reference
    from modelkit.models.store import Progress, Store

SOURCES = {"pypi": "modelkit.models.sources.pypi", "oci": "modelkit.models.sources.oci",
           "ollama": "modelkit.models.sources.ollama", "https": "modelkit.models.sources.https",
           "hf": "modelkit.models.sources.huggingface"}
"""The kind of a reference and the module that knows it. Loaded when it is needed."""


class Source(Protocol):
    """What a source's file has."""

    def resolve(self, reference: Reference, store: Store, on_progress: Progress) -> Artifact:
        """What `reference` means now. Raises Failure when the source can't be asked or does not have it."""
        ...

    def fetch(self, artifact: Artifact, store: Store, on_progress: Progress) -> Artifact:
        """The same artifact with every file on this machine, each verified against its digest."""
        ...


def source(reference: Reference) -> Source:
    """The source of a reference that is not a path."""
    return cast(Source, import_module(SOURCES[reference.kind]))
