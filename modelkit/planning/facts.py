"""What the world looked like when a plan was made: data, not calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelkit.models.facts import ModelFacts
from modelkit.planning.plan import Engine, Weights


@dataclass(frozen=True)
class Facts:
    """Engines found on this machine by the language's word, and what is here of the model."""

    engines: Mapping[str, Engine] = field(default_factory=dict)
    reference: str = ""  # FROM, in canonical form
    gguf: Weights | None = None
    safetensors: Weights | None = None
    model: ModelFacts | None = None
    cpus: int = 1


@dataclass(frozen=True)
class Overrides:
    """What the command line and the environment say; the last layer. None says nothing."""

    port: int | None = None
    port_origin: str = "command line"
    host: str | None = None
    api_key: str | None = None
    api_key_origin: str = "environment"
