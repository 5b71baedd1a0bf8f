"""The differences between engines that are known and left: each has a name, what it is, and why it is left."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """`said` is a pattern for facts, `cases` one for the cases where it may show, `by` are the engines that show it."""

    id: str
    what: str
    why: str
    said: str
    by: tuple[tuple[str, ...], ...] = (("vllm",),)
    cases: str = ""

    def explains(self, case: str, said: str, by: tuple[str, ...], of: tuple[str, ...]) -> bool:
        """Whether a found difference is this one. Where an engine was not asked, those asked are looked at alone."""
        sides = {tuple(engine for engine in side if engine in of) for side in self.by}
        return self.about(case) and by in sides and re.fullmatch(self.said, said) is not None

    def about(self, case: str) -> bool:
        return re.search(self.cases, case) is not None


DECLARED: tuple[Difference, ...] = ()
