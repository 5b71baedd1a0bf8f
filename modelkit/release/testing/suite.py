"""All tests of a Modelfile, and how a stage's model is asked: what `modelkit test` and the gate `tests` share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelkit.language.layers import effective
from modelkit.language.modelfile import Modelfile
from modelkit.release.testing.case import Case, request_fields
from modelkit.release.testing.golden import GoldenFile, golden_files, presume_names_differ, read_golden
from modelkit.release.testing.modelfile_cases import cases_of
from modelkit.release.testing.runner import Dialect, Options

_UNKNOWN, _MOST = 4, 64  # conversations at once: where the engine's width is not known, and at most


@dataclass(frozen=True)
class Suite:
    """The cases of a Modelfile, its own and those of its golden files."""

    cases: tuple[Case, ...]
    goldens: tuple[GoldenFile, ...] = ()

    def named(self, words: Iterable[str]) -> Suite:
        """Only the cases whose name contains one of the words, whatever the case; all without words."""
        wanted = [word.casefold() for word in words]
        chosen = [case for case in self.cases if not wanted or any(word in case.name.casefold() for word in wanted)]
        return Suite(tuple(chosen), self.goldens)


def suite_of(modelfile: Modelfile) -> Suite:
    """The TESTs, then the golden files beside the Modelfile. Raises Failure (exit 1) with the place of a mistake."""
    path = Path(modelfile.path)
    goldens = tuple(read_golden(one, str(path.parent / one.name)) for one in golden_files(path))
    cases = (*cases_of(modelfile), *(case for golden in goldens for case in golden.cases))
    presume_names_differ(cases)
    return Suite(cases, goldens)


def options_of(modelfile: Modelfile, stage: str, *, profile: Mapping[str, Any] | None = None,
               width: int | None = None, dialect: Dialect = "modelkit", **others: Any) -> Options:
    """How the model of a stage is asked: with its own sampling, `profile`'s where its plan is known.

    `width` is how many conversations its engine takes at once. A few more are sent, so that one waits whenever a place
    becomes free.
    """
    said = effective(modelfile, stage)
    if profile is not None:
        defaults = dict(profile.get("defaults") or {})
    else:
        defaults = request_fields({name: one.value for name, one in said.parameters.items()})
    stops = tuple(one.value for one in said.stop)
    concurrency = min(width + max(1, width // 4), _MOST) if width else _UNKNOWN
    return Options(concurrency=concurrency, dialect=dialect, defaults=defaults, stops=stops,
                   **others)
