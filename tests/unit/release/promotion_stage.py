"""An address without engines: what a promotion asks of it, and what it would have served at each moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from modelkit.contract.profile import Profile
from modelkit.engines.launch import Launch
from modelkit.failure import Failure
from modelkit.planning.plan import Engine, Plan, Weights
from modelkit.platforms.bundle import Bundle
from modelkit.release.promotion.counts import Counts, Histogram
from modelkit.release.promotion.endpoint import Running
from modelkit.release.record import Actor, Gate, Kind, Record, Records, Subject
from modelkit.release.verdict import Verdict, fold

BOUNDS = tuple(0.001 * 1.1**n for n in range(120))
AT = "2026-11-23T01:45:12Z"


def bundle(stage: str, version: str = "1", folder: Path = Path("/nowhere")) -> Bundle:
    profile = Profile(name="bot", dialect="vllm", context_length=64).as_json()
    engine = Engine(name="vllm", provider="environment", version="0.32.0", command=("vllm",))
    plan = Plan(name="bot", modelfile=str(folder / "Modelfile"), stage=stage, platform="process", engine_name="vllm",
                engine=engine, reference="x", context_length=64, max_concurrency=1, profile=profile, settings=(),
                weights=Weights(reference="x", form="gguf", path=str(folder / "weights"), digest="sha256:1", size=7))
    return Bundle(plan, Launch(argv=(str(folder / "vllm"), stage, version)))


def times(seconds: float, number: int) -> Histogram:
    """So many answers that took so long."""
    at = next(n for n, bound in enumerate(BOUNDS) if seconds <= bound)
    return Histogram(BOUNDS, tuple(number if n == at else 0 for n in range(len(BOUNDS) + 1)))


def counts(requests: int, seconds: float = 0.1, *, errors: int = 0, refused: int = 0) -> Counts:
    good = times(seconds, requests - errors - refused)
    return Counts(requests, errors, refused, good, good)


@dataclass
class Fake:
    """Engines by number. `asked` is what was done, in order; `interrupt` raises at a step, once."""

    serving: Bundle | None = None
    dies: frozenset[str] = frozenset()  # argv of engines that do not start
    interrupt: dict[str, BaseException] = field(default_factory=dict)
    answered: Callable[[int, bool], Counts] = lambda generation, mirrored: counts(0)
    crashed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.engines: dict[int, Bundle] = {}
        self.asked: list[tuple[str, ...]] = []
        self.route: int | None = None
        self.never = self.serving is None  # nothing served at the start, so nothing need
        self._numbers = count(1)
        if self.serving is not None:
            self.route = self._add(self.serving)

    def routed(self) -> Running | None:
        return None if self.route is None else self._running(self.route)

    def look(self, generation: int) -> Running | None:
        if generation not in self.engines:
            return None
        return replace(self._running(generation), restarts=int(generation in self.crashed))

    def bundle(self, generation: int) -> Bundle:
        return self.engines[generation]

    def running(self, bundle: Bundle) -> Running | None:
        return next((self._running(n) for n, one in self.engines.items() if one.digest == bundle.digest), None)

    def start(self, bundle: Bundle) -> Running:
        self._note("start", bundle)
        if bundle.launch.argv[2] in self.dies:
            raise Failure("engine-exited", "it died")
        return self._running(self._add(bundle))

    def switch(self, generation: int, keep_warm: float) -> None:
        self._note("switch", self.engines[generation], f"{keep_warm:g}")
        old, self.route = self.route, generation
        if old is not None and old != generation and not keep_warm:
            del self.engines[old]

    def stop(self, generation: int, drain: float = 0) -> None:
        self._note("stop", self.engines[generation])
        del self.engines[generation]
        self.route = None if self.route == generation else self.route

    def cool(self) -> None:
        pass

    def split(self, generation: int, share: float | None) -> None:
        self._note("split", self.engines[generation], str(share))

    def mirror(self, generation: int, share: float | None) -> None:
        self._note("mirror", self.engines[generation], str(share))

    def counts(self, generation: int, *, mirrored: bool = False) -> Counts:
        return self.answered(generation, mirrored)

    def named(self, generation: int | None) -> str:
        return "nothing" if generation is None else "-".join(self.engines[generation].launch.argv[1:])

    def _add(self, bundle: Bundle) -> int:
        number = next(self._numbers)
        self.engines[number] = bundle
        return number

    def _running(self, number: int) -> Running:
        one = self.engines[number]
        return Running(number, f"socket-{number}", one.digest, one.plan.stage)

    def _note(self, what: str, bundle: Bundle, *more: str) -> None:
        self.asked.append((what, "-".join(bundle.launch.argv[1:]), *more))
        if (error := self.interrupt.pop(what, None)) is not None:
            raise error


@dataclass(frozen=True)
class Found:
    gates: tuple[Gate, ...]

    @property
    def verdict(self) -> Verdict:
        return fold(one.verdict for one in self.gates)


def gate(name: str, verdict: Verdict = "pass") -> Gate:
    return Gate(id=name, kind=name, verdict=verdict, observed={"why": f"{name} says so"}, started=AT, ended=AT)


@dataclass
class Judges:
    """Gates with fixed verdicts."""

    lint: Verdict = "pass"
    tests: Verdict = "pass"
    answers: Verdict = "pass"

    def files(self) -> Found:
        return Found((gate("lint", self.lint),))

    def engines(self, source: Running | None, target: Running) -> Found:
        return Found((gate("tests", self.tests),))

    def smoke(self, target: Running) -> Gate:
        return gate("smoke", self.answers)


def storyteller(records: Records, target: Bundle) -> Callable[[Kind, tuple[Gate, ...], str | None], Record]:
    def story(kind: Kind, gates: tuple[Gate, ...], reason: str | None) -> Record:
        subject = Subject.model_validate({
            "modelfile": "sha256:0", "ir": target.digest, "artifacts": (),
            "engine": {"name": "vllm", "version": "0.32.0", "argv": "sha256:0"}})
        return Record.model_validate({
            "kind": kind, "model": "bot", "from": "dev", "to": "prod", "subject": subject, "gates": gates,
            "reason": reason, "actor": Actor(name="Ann", source="env"), "git": None, "prev": records.head(), "at": AT,
            "tool": "modelkit test"})

    return story
