"""`modelkit explain RULE` and `modelkit explain --rules`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.language.diagnostic import Fix, Rule


def rule_of(word: str | None) -> Rule | None:
    """The rule that a word names; None for a file's or folder's name. Raises Failure for what is neither."""
    from modelkit.language.diagnostic import did_you_mean
    from modelkit.language.rules import RULES

    if word is None or Path(word).exists() or not word.replace("-", "").isalpha():
        return None
    if word.lower() not in RULES:
        near = did_you_mean(word, RULES)
        raise Failure("unknown-rule", f"`{word}` is neither a file nor a rule",
                      f"did you mean `{near}`?" if near else "`modelkit explain --rules` lists the rules")
    return RULES[word.lower()]


def explain(rule: Rule, terminal: Terminal) -> int:
    """The rule's page."""
    from modelkit.language.examples import EXAMPLES
    from modelkit.language.rule_pages import offered, page

    example = EXAMPLES.get(rule.id)
    terminal.document({
        "schema": "modelkit.rule/1", "rule": rule.id, "severity": str(rule.severity), "family": rule.family,
        "summary": rule.summary, "why": rule.why, "help": rule.help, "fix": _fix(offered(rule)),
        "bad": example.bad if example else None, "good": example.good if example else None})
    terminal.data("\n".join([f"# {rule.id}", "", *_wrapped(page(rule))]).rstrip("\n"))
    return 0


def _wrapped(lines: Iterable[str]) -> Iterator[str]:
    """Prose in lines that one can read; what is between fences stays as it is."""
    fenced = False
    for line in lines:
        fenced ^= line.startswith("```")
        yield from [line] if fenced or line.startswith("```") else wrap(line, 100, break_long_words=False) or [""]


def listing(terminal: Terminal) -> int:
    """Every rule in a line."""
    from modelkit.language.rule_pages import offered
    from modelkit.language.rules import RULES

    every = sorted(RULES.values(), key=lambda rule: (rule.family, rule.id))
    fixes = {rule.id: offered(rule) for rule in every}
    terminal.document({"schema": "modelkit.rules/1", "rules": [
        {"rule": rule.id, "severity": str(rule.severity), "family": rule.family, "summary": rule.summary,
         "fix": _fix(fixes[rule.id])} for rule in every]})
    terminal.table(("RULE", "FAMILY", "SEVERITY", "FIX", "SUMMARY"), [
        (rule.id, rule.family, str(rule.severity), _word(fixes[rule.id]), rule.summary) for rule in every])
    return 0


def _fix(fix: Fix | None) -> dict[str, Any] | None:
    return {"title": fix.title, "safe": fix.safe} if fix else None


def _word(fix: Fix | None) -> str:
    return "" if fix is None else "safe" if fix.safe else "guess"
