"""What gates are told: what is promoted, by whom, and the functions that measure it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelkit.language.modelfile import Modelfile
from modelkit.release.evaluation.score import Score
from modelkit.release.history import History
from modelkit.release.identity import Actor
from modelkit.release.parity import ParityReport
from modelkit.release.record import Override, Subject
from modelkit.release.verdict import Verdict


class TestsResult(Protocol):
    """The result of the file's tests."""

    @property
    def total(self) -> int: ...
    @property
    def flaky(self) -> Sequence[str]: ...
    def count(self, verdict: Verdict, /) -> int: ...
    def as_json(self) -> Any: ...


class Held(Protocol):
    """A limit of a load, `text` as its EXPECT has it, and whether it was kept; `why` where that is not known."""

    @property
    def limit(self) -> Limit: ...
    @property
    def observed(self) -> float | None: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def why(self) -> str | None: ...


class Limit(Protocol):
    """What a load was held to."""

    @property
    def text(self) -> str: ...


class Bench(Protocol):
    """The result of a load that was held to the stage's EXPECT lines."""

    @property
    def limits(self) -> Sequence[Held]: ...
    @property
    def samples(self) -> Sequence[Any]: ...
    def as_json(self) -> Any: ...


@dataclass(frozen=True)
class Soaked:
    """How long a stage has run what it runs: seconds since its engine was last started, and how often that was again.
    """

    seconds: float
    restarts: int = 0
    since: str = ""  # UTC, as records spell it


@dataclass(frozen=True)
class Measures:
    """How things are found out. What is None cannot be found out here; `absent` says why, by the gate's kind.

    Each may raise Failure (or OSError, or httpx's errors): the gate's verdict is `error` then, never `fail`.
    """

    lint: Callable[[], Sequence[str]] | None = None  # the errors
    lock: Callable[[], str | None] | None = None  # why it is stale
    supply: Callable[[], Mapping[str, str | None]] | None = None  # by policy: what offends against it
    lost: Callable[[], Sequence[str]] | None = None  # settings that the engine cannot honour
    soaked: Callable[[], Soaked | None] | None = None  # None: the stage before does not run
    memory: Callable[[], float | None] | None = None  # bytes at most; None: not known
    predicted: Callable[[], float | None] | None = None  # bytes that it was planned with; None: not known
    parity: Callable[[], ParityReport] | None = None
    tests: Callable[[], TestsResult] | None = None
    bench: Callable[[], Bench] | None = None
    evaluate: Callable[[str], Score] | None = None  # an evaluation by its name, of the candidate
    baseline: Callable[[str], Score | None] | None = None  # and of what runs now; None: nothing runs
    absent: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)  # digests of what is asked, by kind: the tests' cases …


@dataclass(frozen=True)
class GateContext:
    """A promotion that is judged. `history` is that of the stage `target`, `subject` what shall serve there."""

    modelfile: Modelfile
    source: str
    target: str
    subject: Subject
    history: History
    actor: Actor
    measures: Measures
    overrides: tuple[Override, ...] = ()
    authors: frozenset[str] = frozenset()  # identities; who wrote it does not approve of it
    max_age: float | None = None  # seconds that evidence counts; None: the kind's own
    fresh: bool = False  # measure anew, whatever evidence there is
    signers: frozenset[str] | None = None  # ids of records whose signature is good; None: claims count
    on_step: Callable[[str], None] = lambda _: None
