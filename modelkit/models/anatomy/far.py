"""The anatomy of a model that may be far away: its headers are read where they are."""

from __future__ import annotations

from modelkit.models.anatomy.anatomy import Anatomy
from modelkit.models.anatomy.folder import anatomy_of_folder
from modelkit.models.anatomy.header import anatomy_of_header
from modelkit.models.artifact import Artifact
from modelkit.models.formats.checkpoint import Files
from modelkit.models.promised import alone, gguf_headers, headers
from modelkit.models.reference import Reference
from modelkit.models.store import Store


def anatomy_far(artifact: Artifact, reference: Reference, store: Store) -> Anatomy | None:
    """The anatomy of a model from its headers alone; None where they can't be had without its weights.

    Headers are asked for by range requests, several files at once. Raises Failure where the source can't be asked, or
    gives what can't be a model.
    """
    if artifact.form == "safetensors":
        files = headers(artifact, reference, store)
        return alone(lambda: anatomy_of_folder(files)) if isinstance(files, Files) else None
    found = gguf_headers(artifact, reference, store)
    return None if found is None else anatomy_of_header(found)
