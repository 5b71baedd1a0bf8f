"""Which gates a stage asks for: those that every promotion passes, and those of its EXPECT and POLICY lines."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from modelkit.language.layers import effective
from modelkit.language.metrics import metric
from modelkit.language.modelfile import Expectation, Modelfile

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">=": operator.ge, ">": operator.gt}
_SUPPLY = ("safetensors_only", "no_remote_code", "signed", "licence", "api_key", "tls")


@dataclass(frozen=True)
class Asked:
    """One gate that a promotion must pass (`required`), or that is only shown. `id` is unique in a promotion."""

    id: str
    kind: str
    required: bool = True
    threshold: str | None = None
    metric: str = ""
    op: Literal["<", "<=", "==", "!=", ">=", ">"] = ">="
    value: float = 0.0
    policies: tuple[str, ...] = ()

    def met(self, observed: float) -> bool:
        return _COMPARE[self.op](observed, self.value)


def asked(modelfile: Modelfile, stage: str) -> tuple[Asked, ...]:
    """The gates before a stage, in the order in which they are judged."""
    said = effective(modelfile, stage)
    policies = tuple(dict.fromkeys(one.value for one in said.policies))
    supply = tuple(one for one in _SUPPLY if one in policies)
    wanted = tuple(_expected([one.value for one in said.expectations]))
    tests = any(one.kind == "tests" for one in wanted)

    def of(*kinds: str) -> Iterator[Asked]:
        return (one for one in wanted if one.kind in kinds)

    others = {one.kind for one in wanted} - {"soak", "approval", "fit", "tests"}
    return (
        Asked("lint", "lint", threshold="no errors"),
        Asked("lock", "lock", threshold="current"),
        Asked("supply", "supply", threshold=", ".join(supply) or None, policies=supply),
        Asked("params", "params", required="strict" in policies, threshold="nothing lost"),
        *of("soak", "approval"),
        Asked("parity", "parity", threshold="token ids identical"),
        *([] if tests or not modelfile.tests else
          [Asked("tests", "tests", threshold="tests >= 100%", metric="tests", value=1.0)]),
        *of("tests"),
        *of(*others),
        *of("fit"),  # last: what it takes after it has worked
    )


def _expected(wanted: Iterable[Expectation]) -> Iterator[Asked]:
    """The gates of EXPECT lines. A second line about one metric has its number in the id."""
    count: dict[str, int] = {}
    for one in wanted:
        count[one.metric] = count.get(one.metric, 0) + 1
        again = f"#{count[one.metric]}" if count[one.metric] > 1 else ""
        row = metric(one.metric)
        yield Asked(f"{one.metric}{again}", row.gate if row else one.metric, not one.advisory, one.text, one.metric,
                    one.op, one.value)
