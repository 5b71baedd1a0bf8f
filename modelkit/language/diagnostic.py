"""What is wrong with a Modelfile, as data: rules, diagnostics, and the report that collects them.

Knows no rule by name (`rules.py` does) and prints nothing (`excerpt.py` does).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from modelkit.language.source import Source, Span


class Severity(StrEnum):
    """An error stops the compiler at the end of its phase; a warning and an info never do."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be wrong. `id` is a slug that is never reused; `why` and `help` are its page's prose.

    `family` is what it belongs to: `syntax`, `ollama`, `meaning`, `production`, `style`.
    """

    id: str
    severity: Severity
    summary: str
    why: str
    help: str
    family: str


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that explains the first one; without a span, a sentence only."""

    message: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """`text` stands where `span` was."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """What would mend a finding; `title` is an order ("remove the first `NAME`"). All of its edits, or none.

    A safe fix keeps what a file means that compiles, and of one that does not it takes the only reading there is.
    Any other is a guess at what was meant: it is offered, and made only when asked for.
    """

    title: str
    edits: tuple[Edit, ...]
    safe: bool = True


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: a rule, one lower-case sentence without a full stop, the exact place, and at most one hint."""

    rule: Rule
    message: str
    span: Span
    hint: str | None = None
    notes: tuple[Note, ...] = ()
    fix: Fix | None = None

    @property
    def severity(self) -> Severity:
        return self.rule.severity


class CompileError(Exception):
    """A Modelfile with errors in it. `diagnostics` holds all that its phase found, warnings too, in file order."""

    def __init__(self, diagnostics: Iterable[Diagnostic], source: Source) -> None:
        self.diagnostics = in_file_order(diagnostics)
        self.source = source
        super().__init__(source.name)

    def __str__(self) -> str:
        first = next((d for d in self.diagnostics if d.severity is Severity.ERROR), None)
        if first is None:
            return self.source.name
        line, column = self.source.line_column(first.span.start)
        return f"{self.source.name}:{line}:{column}: {first.message} [{first.rule.id}]"


@dataclass
class Report:
    """What one phase found. The phase goes on after an error and raises at its end."""

    found: list[Diagnostic] = field(default_factory=list)

    def add(
        self, rule: Rule, message: str, span: Span, *, hint: str | None = None, notes: Iterable[Note] = (),
        fix: Fix | None = None,
    ) -> None:
        self.found.append(Diagnostic(rule, message, span, hint, tuple(notes), fix))

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.found if d.severity is Severity.ERROR]

    def raise_if_errors(self, source: Source) -> None:
        """Raises CompileError with everything found, if any of it is an error."""
        if self.errors:
            raise CompileError(self.found, source)


def in_file_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By place; of two at one place, the graver first."""
    gravity = list(Severity)
    return sorted(diagnostics, key=lambda d: (d.span.start, gravity.index(d.severity), d.span.end, d.rule.id))


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The one known word that `word` is fairly surely a slip of, as the known spelling; None when in doubt.

    >>> did_you_mean("temprature", ["temperature", "top_p"])
    'temperature'
    >>> did_you_mean("banana", ["temperature", "top_p"]) is None
    True
    """
    if not 2 <= len(word) <= 40:
        return None
    candidates = list(dict.fromkeys(known))
    bare = plain(word)
    same = [k for k in candidates if plain(k) == bare]
    if same:
        return same[0]
    allowed = 1 if len(bare) <= 6 else 2 if len(bare) <= 11 else 3
    near = sorted((d, k) for k in candidates if (d := _distance(bare, plain(k), allowed)) <= allowed)
    if near:
        return near[0][1] if len(near) == 1 or near[0][0] < near[1][0] else None
    begun = [k for k in candidates if len(bare) >= 4 and plain(k).startswith(bare)]
    return begun[0] if len(begun) == 1 else None


@lru_cache(maxsize=4096)
def plain(word: str) -> str:
    """A word without what people write now so, now so: case, and hyphens for underscores."""
    return word.lower().replace("-", "_")


def _distance(a: str, b: str, limit: int) -> int:
    """Edits between two words, a swap of neighbours counting as one; any number over `limit` may come back as is."""
    if abs(len(a) - len(b)) > limit or len(set(a) - set(b)) > limit:
        return limit + 1  # most words are this far apart: it takes an edit for each letter that the other lacks
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        earlier, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]
