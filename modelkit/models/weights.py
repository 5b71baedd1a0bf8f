"""A model on this machine: the value that the rest of modelkit works with."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Weights(BaseModel):
    """A model on this machine, by digest.

    `path` is a GGUF file or a Hugging Face folder; `digest` is `sha256:…` of the file, or of the folder's manifest.
    `recipe` says how a derived form was made (input digests, tool, version, arguments), None for an original.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: str
    form: Literal["gguf", "safetensors"]
    path: str
    digest: str
    size: int
    recipe: dict[str, Any] | None = None
