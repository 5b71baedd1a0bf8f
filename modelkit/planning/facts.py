"""What the world looked like when a plan was made: data, not calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelkit.models.facts import ModelFacts
from modelkit.models.forms import Step
from modelkit.models.inherited import NOTHING, Inherited
from modelkit.planning.plan import Engine, ModelSource, Origin, ServedAdapter, Weights


@dataclass(frozen=True)
class Facts:
    """Engines found on this machine by the language's word, and what is here of the model.

    `gguf` and `safetensors` are what an engine of that form would load; `base` is what FROM names, and `steps` is what
    has yet to be made from it. `tools` are those that are here to make it. On platforms of containers `image` is the
    engine's, and `source` is where they get the model from.
    """

    engines: Mapping[str, Engine] = field(default_factory=dict)
    reference: str = ""  # FROM, in canonical form
    gguf: Weights | None = None
    safetensors: Weights | None = None
    base: Weights | None = None
    steps: tuple[Step, ...] = ()
    tools: frozenset[str] = frozenset()
    inherited: Inherited = NOTHING
    model: ModelFacts | None = None
    cpus: int = 1
    cpu_flags: tuple[str, ...] = ()
    memory: int | None = None  # bytes that processes of this machine, or this container, may have
    image: str | None = None
    source: ModelSource | None = None
    adapters: tuple[ServedAdapter, ...] = ()
    draft: Weights | None = None
    projector: Weights | None = None
    gpu: str | None = None  # the first GPU of this machine, as its driver names it
    chosen: tuple[str, Origin] | None = None  # the word that answers `QUANTIZE auto`, and who chose it


@dataclass(frozen=True)
class Overrides:
    """What the command line and the environment say; the last layer. None says nothing."""

    port: int | None = None
    port_origin: str = "command line"
    host: str | None = None
    api_key: str | None = None
    api_key_origin: str = "environment"
