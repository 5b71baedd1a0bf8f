"""The checked meaning of a Modelfile: every name known, every value typed, each with its place.

Plain frozen dataclasses: `check` has typed every value already, and importing a validation library would cost more
than checking a file does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, TypeVar

from modelkit.language.kinds import Scalar
from modelkit.language.source import Span

T = TypeVar("T")

StageName = str
Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Said(Generic[T]):
    """A value and where the author said it."""

    value: T
    span: Span


@dataclass(frozen=True, slots=True)
class Quantization:
    """`Q4_K_M [imatrix FILE]`, `fp8`, `none` … or `auto [>= TYPE] [speed >= N tok/s] [imatrix FILE]`.

    `name` is canonical.
    """

    name: str
    at_least: str | None = None
    tokens_per_second: float | None = None
    imatrix: str | None = None  # path of an importance matrix, as written


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """`ENGINE vllm >=0.32,<0.34`: a canonical engine name and a PEP 440 specifier ("" for any)."""

    name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Flag:
    """An engine's own flag, passed as written: `FLAG --enforce-eager`, `FLAG --seed 3`."""

    flag: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    reference: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Unset:
    """`UNSET SYSTEM`, `UNSET PARAMETER temperature`, `UNSET SERVE port`. `instruction` is upper case."""

    instruction: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """A stage's gate: `EXPECT ttft.p95 <= 500ms`. `value` is in the metric's base unit (seconds, fraction, count).

    An `ADVISORY` one is measured and shown, and stops nothing.
    """

    metric: str
    op: Literal["<", "<=", "==", "!=", ">=", ">"]
    value: float
    text: str
    advisory: bool = False


@dataclass(frozen=True, slots=True)
class Assertion:
    """A test's check of the last answer: `EXPECT not contains "Paris"`."""

    kind: str
    operand: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """What one block of the file says, nothing inherited. `None` or empty means it says nothing."""

    base: Said[str] | None = None
    projector: Said[str] | None = None  # a second FROM whose file lets the model see
    quantize: Said[Quantization] | None = None
    engine: Said[EngineChoice] | None = None
    platform: Said[str] | None = None
    system: Said[str] | None = None
    template: Said[str] | None = None
    parameters: Mapping[str, Said[Scalar]] = field(default_factory=dict)
    stop: tuple[Said[str], ...] | None = None
    messages: tuple[Said[Message], ...] | None = None
    adapters: tuple[Said[Adapter], ...] | None = None
    licenses: tuple[Said[str], ...] | None = None
    draft: Said[str] | None = None
    renderer: Said[str] | None = None
    parser: Said[str] | None = None
    requires: Said[str] | None = None
    serve: Mapping[str, Said[Scalar]] = field(default_factory=dict)
    flags: tuple[Said[Flag], ...] = ()
    policies: tuple[Said[str], ...] = ()
    expectations: tuple[Said[Expectation], ...] = ()
    unset: tuple[Said[Unset], ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """`STAGE name [EXTENDS other] { … }`."""

    name: StageName
    span: Span
    extends: Said[StageName] | None = None
    layer: Layer = field(default_factory=Layer)


@dataclass(frozen=True, slots=True)
class Test:
    """`TEST "title" { … }`: a golden conversation."""

    __test__: ClassVar[bool] = False  # pytest must not collect it

    title: str
    span: Span
    turns: tuple[Said[Message], ...] = ()
    tools: Said[str] | None = None
    parameters: Mapping[str, Said[Scalar]] = field(default_factory=dict)
    stop: tuple[Said[str], ...] | None = None
    repeat: int = 1
    must_pass: int | None = None
    expectations: tuple[Said[Assertion], ...] = ()


@dataclass(frozen=True, slots=True)
class Modelfile:
    """One file's meaning, all stages.

    `path` is the file as the user named it. Places are spans into the Source that `check` was given; `where(span)`
    turns one into `file:line`. `files` are the files whose texts were taken in, by where the Modelfile names them.
    """

    path: str
    name: Said[str]
    layer: Layer
    stages: Mapping[StageName, Stage] = field(default_factory=dict)
    tests: tuple[Test, ...] = ()
    line_starts: tuple[int, ...] = (0,)
    files: Mapping[int, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)  # what ARGs were given from outside

    def where(self, span: Span) -> str:
        """`Modelfile:12`, or `Modelfile:12 (prompt.txt)`, for origins and error messages."""
        file = f" ({self.files[span.start]})" if span.start in self.files else ""
        return f"{self.path}:{bisect_right(self.line_starts, span.start)}{file}"

    def lineage(self, stage: StageName) -> tuple[Stage, ...]:
        """The blocks that speak for a stage, the nearest first; empty for a stage the file does not mention.

        Raises KeyError for a name that is neither known to the language nor in the file.
        """
        if stage not in KNOWN_STAGES and stage not in self.stages:
            raise KeyError(stage)
        chain: list[Stage] = []
        name: StageName | None = stage
        while name is not None and (block := self.stages.get(name)) is not None:
            chain.append(block)
            name = block.extends.value if block.extends else None
        return tuple(chain)

    def kind(self, stage: StageName) -> StageName:
        """Which known stage (`experiment`, `dev`, `prod`) this one is or extends: it decides the defaults."""
        name = stage
        while name not in KNOWN_STAGES:
            extends = self.stages[name].extends
            assert extends is not None  # checked: a stage of another name extends one
            name = extends.value
        return name


KNOWN_STAGES: tuple[StageName, ...] = ("experiment", "dev", "prod")
