"""Which rules count in one run: `--select` and `--ignore`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from modelkit.failure import Failure
from modelkit.language.diagnostic import Diagnostic, Rule, did_you_mean
from modelkit.language.suppressions import must_stay


@dataclass(frozen=True)
class Selection:
    """Rules by id or family. An id says more than a family, and of two alike `ignore` wins."""

    select: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()

    def asked_for(self, rule: Rule) -> bool:
        """Whether the rule is one of those that were asked for: all, when none was named."""
        for name in (rule.id, rule.family):
            if name in self.ignore or name in self.select:
                return name not in self.ignore
        return not self.select

    def shows(self, rule: Rule) -> bool:
        """Whether its findings are said: an error of the language is, whatever was asked for."""
        return self.asked_for(rule) or must_stay(rule)

    def of(self, found: Iterable[Diagnostic]) -> list[Diagnostic]:
        return [one for one in found if self.shows(one.rule)]


def selection(select: Iterable[str], ignore: Iterable[str], rules: Mapping[str, Rule]) -> Selection:
    """From the words of a command line, each a list with commas. Raises Failure for one that names nothing."""
    families = dict.fromkeys(rule.family for rule in rules.values())
    selected, ignored = _names(select, rules, families), _names(ignore, rules, families)
    for name in sorted(ignored & rules.keys()):
        if must_stay(rules[name]):
            raise Failure("usage", f"`{name}` is an error of the language, which cannot be ignored",
                          "a file has no meaning while it stands: mend it")
    return Selection(selected, ignored)


def _names(words: Iterable[str], rules: Mapping[str, Rule], families: Collection[str]) -> frozenset[str]:
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    for name in names:
        if name not in rules and name not in families:
            near = did_you_mean(name, (*rules, *families))
            raise Failure("unknown-rule", f"no rule and no family of rules is called `{name}`",
                          f"did you mean `{near}`?" if near else f"the families are {', '.join(families)}; "
                          "`modelkit explain --rules` lists the rules")
    return frozenset(names)
