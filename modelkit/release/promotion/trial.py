"""A candidate among real requests: a canary, which answers a growing part of them, or a shadow, which gets copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from modelkit.release.promotion.counts import Counts
from modelkit.release.promotion.endpoint import Endpoint, Running
from modelkit.release.promotion.judgement import Judgement, Limits, judge

_LOOK = 0.25  # seconds between two looks
_PATIENCE = 5  # times a step's length, for the requests that it needs


@dataclass(frozen=True)
class Clock:
    """Time, so that tests need none."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Canary:
    """Parts of the traffic in percent, rising; each for at least `each` seconds and `limits.requests` requests."""

    steps: tuple[int, ...]
    each: float = 60.0
    limits: Limits = field(default_factory=Limits)


class Trial:
    """One candidate beside one stable engine. Whatever happens, the split and the mirror are taken back at the end."""

    def __init__(self, endpoint: Endpoint, stable: Running, candidate: Running, *,
                 on_step: Callable[[str], None] = lambda _: None, clock: Clock | None = None) -> None:
        self._endpoint, self._stable, self._candidate = endpoint, stable, candidate
        self._say, self._clock = on_step, clock or Clock()

    def canary(self, wanted: Canary) -> Judgement:
        """Step by step until the last one, or until the candidate is worse. `pass`: every step was."""
        before = self._endpoint.counts(self._stable.generation)
        judged = Judgement("inconclusive", "no step was taken")
        try:
            for percent in wanted.steps:
                self._say(f"canary: {percent} % of new clients")
                self._endpoint.split(self._candidate.generation, percent / 100)
                judged = self._watch(before, wanted.each, wanted.limits)
                if judged.verdict != "pass":
                    return Judgement(judged.verdict, f"at {percent} %: {judged.reason}", judged.observed)
        finally:
            if judged.verdict != "pass":
                self._take_back(self._endpoint.split)
        return Judgement("pass", f"{len(wanted.steps)} steps: {judged.reason}", judged.observed)

    def shadow(self, seconds: float, limits: Limits) -> Judgement:
        """Copies of all requests for so long; no client sees an answer of the candidate's."""
        self._say(f"shadow: copies of all requests for {seconds:g} s")
        before = self._endpoint.counts(self._stable.generation)
        self._endpoint.mirror(self._candidate.generation, 1.0)
        try:
            return self._watch(before, seconds, limits, mirrored=True)
        finally:
            self._take_back(self._endpoint.mirror)

    def _watch(self, stable: Counts, seconds: float, limits: Limits, *, mirrored: bool = False) -> Judgement:
        """Until the time is over and there are enough requests, or the candidate is worse, or patience ends."""
        number = self._candidate.generation
        began, candidate = self._clock.now(), self._endpoint.counts(number, mirrored=mirrored)
        while True:
            self._clock.sleep(_LOOK)
            if (dead := self._crashed()) is not None:
                return dead
            judged = judge(self._endpoint.counts(self._stable.generation) - stable,
                           self._endpoint.counts(number, mirrored=mirrored) - candidate, limits)
            passed = self._clock.now() - began
            if judged.verdict == "fail" or (judged.verdict == "pass" and passed >= seconds):
                return judged
            if passed >= seconds * _PATIENCE:
                return judged

    def _crashed(self) -> Judgement | None:
        now = self._endpoint.look(self._candidate.generation)
        if now is None or not now.ready or now.restarts > self._candidate.restarts:
            return Judgement("fail", "the candidate crashed")
        return None

    def _take_back(self, operation: Callable[[int, float | None], None]) -> None:
        if self._endpoint.look(self._candidate.generation) is not None:
            operation(self._candidate.generation, None)
