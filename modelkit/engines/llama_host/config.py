"""What the host process is told: one JSON file, written by `modelkit.engines.llama_cpp.launch`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

SCHEMA = "modelkit.llama-host/1"

Words = tuple[str, ...]


@dataclass(frozen=True)
class Config:
    """`flags` are llama-server's, a tuple of words each; a binary that does not know one in `optional` runs without."""

    provider: Literal["llama-server", "xllamacpp"]
    command: Words
    flags: tuple[Words, ...]
    optional: tuple[str, ...]
    model: str  # path of the GGUF file
    socket: str  # where we listen
    upstream: str  # where llama-server listens; its name must end in `.sock`
    profile: str  # path of the contract's profile
    fingerprint: str  # what answers carry as `system_fingerprint`
    context_length: int
    slots: int

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def read(cls, path: Path) -> Config:
        """Raises OSError, or ValueError for a file that is not ours."""
        value = json.loads(path.read_text("utf-8"))
        if not isinstance(value, dict) or value.pop("schema", None) != SCHEMA:
            raise ValueError(f"{path} is not a {SCHEMA} document")
        try:
            return cls(**value | {"command": tuple(value["command"]), "optional": tuple(value["optional"]),
                                  "flags": tuple(tuple(words) for words in value["flags"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from None
