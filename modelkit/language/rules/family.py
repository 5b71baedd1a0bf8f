"""How a family of rules is written down."""

from __future__ import annotations

from modelkit.language.diagnostic import Rule, Severity


class Family:
    """Rules of one kind, in the order of their page; `--select` and `--ignore` take its name for all of them."""

    def __init__(self, name: str, doc: str) -> None:
        self.name = name
        self.doc = doc
        self.rules: dict[str, Rule] = {}

    def error(self, slug: str, summary: str, *, why: str, help: str) -> Rule:
        return self._add(Severity.ERROR, slug, summary, why, help)

    def warning(self, slug: str, summary: str, *, why: str, help: str) -> Rule:
        return self._add(Severity.WARNING, slug, summary, why, help)

    def info(self, slug: str, summary: str, *, why: str, help: str) -> Rule:
        return self._add(Severity.INFO, slug, summary, why, help)

    def _add(self, severity: Severity, slug: str, summary: str, why: str, help: str) -> Rule:
        assert slug not in self.rules, f"two rules are called {slug}"
        self.rules[slug] = rule = Rule(slug, severity, summary, why, help, self.name)
        return rule
