"""The page of a rule: why it is there, what breaks it, and the same put right. The reference page is all of them."""

from __future__ import annotations

from collections.abc import Iterator

from modelkit.language.check import compile_source
from modelkit.language.diagnostic import Fix, Rule, Severity
from modelkit.language.examples import EXAMPLES
from modelkit.language.rules import FAMILIES
from modelkit.language.source import Source
from modelkit.language.suppressions import suppress


def reference() -> Iterator[str]:
    """The lines of docs/reference/rules.md."""
    yield from (
        "# Rules", "", "What `modelkit check` says, by the name in brackets: `error[unknown-parameter]`.",
        "An error stops, a warning and an info do not. A *safe fix* is made by `check --fix`, a *guess* only together",
        "with `--unsafe-fixes`. `modelkit explain RULE` prints a rule's part of this page.", "")
    yield from (*(f"- [{family.name}](#{family.name}): {family.doc}" for family in FAMILIES.values()), "")
    for family in FAMILIES.values():
        yield from (f"## {family.name}", "", family.doc, "")
        for severity in Severity:
            said = ", ".join(f"[{r.id}](#{r.id})" for r in family.rules.values() if r.severity is severity)
            yield from (f"{severity.value.capitalize()}s: {said}.", "") if said else ()
        for rule in family.rules.values():
            yield from (f"### {rule.id}", "", *page(rule))


def page(rule: Rule) -> Iterator[str]:
    """The lines of one rule's page, without its heading."""
    fix, example = offered(rule), EXAMPLES.get(rule.id)
    mends = "" if fix is None else f" · safe fix: {fix.title}" if fix.safe else f" · guess: {fix.title}"
    yield from (f"**{rule.severity.value}** · {rule.summary}{mends}", "", rule.why, "")
    if example is None:
        yield from (rule.help, "")
    else:
        yield from (*_fence(example.bad), "", rule.help, "", *_fence(example.good), "")


def offered(rule: Rule) -> Fix | None:
    """The fix that the rule brings for its own example; None if it brings none, or has no example."""
    if (example := EXAMPLES.get(rule.id)) is None:
        return None
    source = Source("Modelfile", example.bad)
    found, _ = suppress(source, compile_source(source)[1])
    return next((one.fix for one in found if one.rule is rule and one.fix), None)


def _fence(text: str) -> tuple[str, ...]:
    """A Modelfile as a fenced block; what would not be seen is written as Unicode's pictures of it."""
    visible = text.replace("\r\n", "␍\n").replace("\0", "␀").replace("\u00a0", "⍽")
    return "```modelfile", *visible.rstrip("\n").split("\n"), "```"
