"""Verdicts of checks, and how they fold. "The check broke" never reads as "the model is bad", nor as "it passed"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Verdict = Literal["pass", "fail", "error", "inconclusive", "skipped"]

EXIT_CODES: dict[Verdict, int] = {"pass": 0, "fail": 1, "error": 2, "inconclusive": 8, "skipped": 8}


def fold(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict of several that are all required: fail before error before inconclusive before pass.

    What was skipped has shown nothing, so it counts as inconclusive; so does no verdict at all.
    """
    found = set(verdicts)
    if "fail" in found:
        return "fail"
    if "error" in found:
        return "error"
    return "pass" if found == {"pass"} else "inconclusive"
