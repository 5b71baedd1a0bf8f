"""What one stage says in the end: the file's own settings, then the stages it extends, then its own block.

Engine-neutral and pure: engine defaults below and the command line above are the planner's layers. A scalar is
replaced, PARAMETER and SERVE merge by name, `stop` MESSAGE ADAPTER LICENSE replace the whole list, FLAG POLICY EXPECT
add up. A block's UNSET drops what the blocks below it said, before the block's own settings apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from modelkit.language.kinds import Scalar
from modelkit.language.modelfile import (
    Adapter,
    EngineChoice,
    Expectation,
    Flag,
    Layer,
    Message,
    Modelfile,
    Quantization,
    Said,
    StageName,
    Unset,
)
from modelkit.language.source import Span

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Layered(Generic[T]):
    """A value, where it was said, and by which block: the file itself, or the stage called `block`."""

    value: T
    layer: Literal["modelfile", "stage"]
    span: Span
    block: StageName | None = None


@dataclass(frozen=True, slots=True)
class Effective:
    """One stage's settings, merged. None or empty means that the file says nothing.

    `unset` holds what the file dropped and did not set again, so that the base model's own value is not used either.
    """

    stage: StageName
    kind: StageName
    base: Layered[str] | None = None
    projector: Layered[str] | None = None  # of that base; said beside it
    quantize: Layered[Quantization] | None = None
    engine: Layered[EngineChoice] | None = None
    platform: Layered[str] | None = None
    system: Layered[str] | None = None
    template: Layered[str] | None = None
    draft: Layered[str] | None = None
    renderer: Layered[str] | None = None
    parser: Layered[str] | None = None
    parameters: Mapping[str, Layered[Scalar]] = field(default_factory=dict)
    stop: tuple[Layered[str], ...] = ()
    messages: tuple[Layered[Message], ...] = ()
    adapters: tuple[Layered[Adapter], ...] = ()
    licenses: tuple[Layered[str], ...] = ()
    serve: Mapping[str, Layered[Scalar]] = field(default_factory=dict)
    flags: tuple[Layered[Flag], ...] = ()
    policies: tuple[Layered[str], ...] = ()
    expectations: tuple[Layered[Expectation], ...] = ()
    unset: frozenset[Unset] = frozenset()


_SCALARS = {"FROM": "base", "QUANTIZE": "quantize", "ENGINE": "engine", "PLATFORM": "platform", "SYSTEM": "system",
            "TEMPLATE": "template", "DRAFT": "draft", "RENDERER": "renderer", "PARSER": "parser"}
_MAPPINGS = {"PARAMETER": "parameters", "SERVE": "serve"}
_REPLACED = {"MESSAGE": "messages", "ADAPTER": "adapters", "LICENSE": "licenses"}
_ADDED = {"FLAG": "flags", "POLICY": "policies", "EXPECT": "expectations"}


def effective(modelfile: Modelfile, stage: StageName) -> Effective:
    """What `stage` says in the end. Raises KeyError for a stage that is neither known nor in the file."""
    merge = _Merge()
    blocks = modelfile.lineage(stage)
    merge.add(modelfile.layer, None)
    for block in reversed(blocks):
        merge.add(block.layer, block.name)
    return Effective(stage=stage, kind=modelfile.kind(stage), unset=frozenset(merge.unset), **merge.fields)


def below(modelfile: Modelfile, stage: StageName) -> Effective:
    """What `stage` would say without its own block: what it inherits."""
    merge = _Merge()
    merge.add(modelfile.layer, None)
    for block in reversed(modelfile.lineage(stage)[1:]):
        merge.add(block.layer, block.name)
    return Effective(stage=stage, kind=modelfile.kind(stage), unset=frozenset(merge.unset), **merge.fields)


class _Merge:
    """The layers so far, as fields of Effective."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.unset: set[Unset] = set()

    def add(self, layer: Layer, block: StageName | None) -> None:
        """Put a block on top of those before it."""
        for said in layer.unset:
            self._drop(said.value)

        def layered(said: Said[T]) -> Layered[T]:
            return Layered(said.value, "stage" if block else "modelfile", said.span, block)

        if layer.base is not None:
            self.fields["projector"] = layered(layer.projector) if layer.projector is not None else None
        for instruction, name in _SCALARS.items():
            if (said := getattr(layer, name)) is not None:
                self.fields[name] = layered(said)
                self._said(instruction)
        for instruction, name in _MAPPINGS.items():
            if values := getattr(layer, name):
                self.fields[name] = self.fields.get(name, {}) | {key: layered(said) for key, said in values.items()}
                for key in values:
                    self._said(instruction, key)
        for instruction, name in _REPLACED.items():
            if (values := getattr(layer, name)) is not None:
                self.fields[name] = tuple(layered(said) for said in values)
                self._said(instruction)
        if layer.stop is not None:
            self.fields["stop"] = tuple(layered(said) for said in layer.stop)
            self._said("PARAMETER", "stop")
        for name in _ADDED.values():
            if values := getattr(layer, name):
                self.fields[name] = (*self.fields.get(name, ()), *(layered(said) for said in values))

    def _said(self, instruction: str, key: str | None = None) -> None:
        """What a lower block dropped is said again."""
        if self.unset:
            self.unset.discard(Unset(instruction, key))

    def _drop(self, unset: Unset) -> None:
        self.unset.add(unset)
        instruction, key = unset.instruction, unset.key
        if instruction in _MAPPINGS:
            name = _MAPPINGS[instruction]
            kept = {k: v for k, v in self.fields.get(name, {}).items() if key is not None and k != key}
            self.fields[name] = kept
            if instruction == "PARAMETER" and key in (None, "stop"):
                self.fields.pop("stop", None)
        elif instruction in _ADDED:
            name = _ADDED[instruction]
            said = self.fields.get(name, ())
            self.fields[name] = tuple(s for s in said if key is not None and _key(s.value) != key)
        elif name := _SCALARS.get(instruction) or _REPLACED.get(instruction, ""):
            self.fields.pop(name, None)
            if instruction == "FROM":
                self.fields.pop("projector", None)


def _key(value: Flag | Expectation | str) -> str:
    """What UNSET calls one of several: a flag by itself, an expectation by its metric, a policy by its name."""
    if isinstance(value, Flag):
        return value.flag
    return value.metric if isinstance(value, Expectation) else value
