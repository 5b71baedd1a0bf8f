"""What modelkit refuses to have on a machine: code and pickles that come with models, and names that lead elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelkit.models.artifact import Artifact
    from modelkit.models.store import Store


def presume_wanted(artifact: Artifact) -> None:
    """Refuse, before anything is fetched, what the list of files already shows to be unwanted. Raises Failure."""


def presume_safe(artifact: Artifact, store: Store) -> None:
    """Refuse, by magic and content, an artifact that is here and that no engine should be given. Raises Failure."""
