"""The documents of `bench`, `eval`, `lock` and `ps`, as types."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from modelkit.models.lock import Lock
from modelkit.release.bench.compare import Change
from modelkit.release.bench.document import Machine, Subject
from modelkit.release.bench.result import BenchResult
from modelkit.release.evaluation.score import Question
from modelkit.release.verdict import Verdict


class Bench(TypedDict):
    """`bench`, and what `--out` writes; with `--compare` what is better and worse."""

    schema: Literal["modelkit.bench/1"]
    at: str
    tool: str
    subject: Subject
    machine: Machine
    workload: dict[str, Any]
    runs: list[BenchResult]
    verdict: Verdict
    comparison: NotRequired[list[Change]]


class Scored(TypedDict):
    """A task's score: the mean of its questions, `low` to `high` at 95 %."""

    name: str
    metric: str
    value: float
    low: float
    high: float
    questions: list[Question]
    tool: str
    task: str | None
    shots: int | None
    answered: int
    unscored: int


class HeldScore(TypedDict):
    limit: str
    verdict: Verdict


class Compared(TypedDict):
    """The difference of two scores over the questions that both answered."""

    name: str
    difference: float
    low: float
    high: float
    count: int
    better: int
    worse: int
    verdict: Literal["better", "worse", "same"]


class Eval(TypedDict):
    """`eval`, and what `--out` writes; `limits` are the stage's `EXPECT eval.…`."""

    schema: Literal["modelkit.scores/1"]
    at: str
    tool: str
    subject: Subject
    limit: int | None
    scores: list[Scored]
    limits: NotRequired[list[HeldScore]]
    comparison: NotRequired[list[Compared]]


class ChatTask(TypedDict):
    task: str
    asks: str


class RefusedTask(TypedDict):
    task: str
    needs: str
    instead: list[str]


class Tasks(TypedDict):
    """`eval --list`."""

    chat: list[ChatTask]
    refused: list[RefusedTask]


class Locked(TypedDict):
    """`lock`."""

    path: str
    changed: bool
    digest: str
    lock: Lock


class LockChecked(TypedDict):
    """`lock --check`."""

    path: str
    current: bool
    reasons: list[str]


class RunningProcess(TypedDict):
    """A process of a version: bytes of memory, seconds since it started."""

    replica: int
    phase: str
    pid: int | None
    since: float
    uptime: float
    restarts: int
    socket: str | None
    rss: int
    failure: dict[str, Any] | None


class Running(TypedDict):
    """One version of a stage. `split` and `mirror` are its share of conversations, or of their copies; `warm` the
    seconds for which it stays ready after it has served."""

    id: int
    stage: str
    engine: str
    digest: str
    name: str
    modelfile: str
    phase: str
    pid: int | None
    since: float
    uptime: float
    restarts: int
    load_seconds: float
    socket: str | None
    routed: bool
    split: float | None
    mirror: float | None
    warm: float | None
    in_flight: int
    rss: int
    wanted: int
    ready: int
    replicas: list[RunningProcess]
    balancer: RunningProcess | None
    failure: dict[str, Any] | None


class Run(TypedDict):
    """A project that runs here, or did when its supervisor died: then `alive` is false."""

    project: NotRequired[str]
    alive: bool
    generations: list[Running]
    endpoint: NotRequired[str]
    modelfiles: NotRequired[list[str]]
    pid: NotRequired[int]
    error: NotRequired[dict[str, Any]]


class Deployed(TypedDict):
    """What was brought up through another program; `status` are that program's own lines."""

    model: str
    stage: str
    platform: str
    engine: str
    modelfile: str
    applied: bool
    code: int
    status: list[str]
