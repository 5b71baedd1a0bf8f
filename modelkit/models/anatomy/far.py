"""The anatomy of a model that may be far away: its headers are read where they are."""

from __future__ import annotations

from typing import cast

from modelkit.models.anatomy.anatomy import Anatomy
from modelkit.models.anatomy.folder import anatomy_of_folder
from modelkit.models.anatomy.header import anatomy_of_header
from modelkit.models.artifact import Artifact
from modelkit.models.formats.access import Access
from modelkit.models.formats.checkpoint import Files
from modelkit.models.formats.gguf_reader import read_header_from
from modelkit.models.promised import headers
from modelkit.models.reference import Reference
from modelkit.models.store import Store


def anatomy_far(artifact: Artifact, reference: Reference, store: Store) -> Anatomy | None:
    """The anatomy of a model from its headers alone; None where they can't be had without its weights."""
    found = headers(artifact, reference, store)
    if found is None:
        return None
    if isinstance(found, Files):
        return anatomy_of_folder(found)
    parts = found if isinstance(found, tuple) else (cast("Access", found),)
    return anatomy_of_header([read_header_from(part) for part in parts])
