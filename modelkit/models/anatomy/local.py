"""The anatomy of weights that are on this machine."""

from __future__ import annotations

from pathlib import Path

from modelkit.models.anatomy.anatomy import Anatomy
from modelkit.models.anatomy.folder import anatomy_of_folder
from modelkit.models.anatomy.header import anatomy_of_header
from modelkit.models.formats.checkpoint import local_files
from modelkit.models.formats.splits import read_split
from modelkit.models.weights import Weights


def anatomy_of(weights: Weights) -> Anatomy:
    """The anatomy of a GGUF file, of the first of several, or of a Hugging Face folder."""
    path = Path(weights.path)
    if weights.form == "safetensors":
        return anatomy_of_folder(local_files(path))
    return anatomy_of_header(read_split(path).parts)
