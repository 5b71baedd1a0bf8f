"""What is right, and would be read more easily otherwise."""

from __future__ import annotations

from collections.abc import Iterable

from modelkit.language.checking.context import shown
from modelkit.language.checking.views import Checked
from modelkit.language.diagnostic import Edit, Fix, Note
from modelkit.language.document import Block, Instruction, Item
from modelkit.language.fixes import instead, without
from modelkit.language.rules.ollama import QUOTE_SWALLOWS_INSTRUCTION
from modelkit.language.rules.style import (
    DUPLICATE_LINE,
    DUPLICATE_STOP,
    FROM_NOT_FIRST,
    LOWER_CASE_INSTRUCTION,
    MULTI_LINE_QUOTE,
)
from modelkit.language.source import Span

_BEFORE_FROM = ("NAME", "ARG", "REQUIRES", "FROM")
_ADDED = ("ADAPTER", "FLAG", "EXPECT")


def judge_style(checked: Checked) -> None:
    """Reports what a reader stumbles over."""
    _order(checked)
    _lines(checked.document.items, checked)
    for block in (item for item in checked.document.items if isinstance(item, Block)):
        _case(block.keyword.text, block.keyword.span, checked)
        _lines(block.body, checked)


def _order(checked: Checked) -> None:
    words = [item for item in checked.document.items if isinstance(item, Instruction | Block)]
    base = next((one for one in words if one.keyword.text.upper() == "FROM"), None)
    first = next((one for one in words if one.keyword.text.upper() not in _BEFORE_FROM), None)
    if base is not None and first is not None and first.span.start < base.span.start:
        checked.say(FROM_NOT_FIRST, f"`{first.keyword.text}` stands above the model that it changes",
                    base.keyword.span, notes=[Note("this stands above it", first.keyword.span)])


def _lines(items: Iterable[Item], checked: Checked) -> None:
    stops: dict[str, Span] = {}
    added: dict[tuple[str, str], Span] = {}
    swallowing = {one.span.start for one in checked.report.found if one.rule is QUOTE_SWALLOWS_INSTRUCTION}
    for item in items:
        if not isinstance(item, Instruction):
            continue
        keyword, value = item.keyword.text.upper(), item.value
        _case(item.keyword.text, item.keyword.span, checked)
        several = value.quote == '"' and ("\n" in value.text or "\r" in value.text)
        if several and keyword != "LICENSE" and value.span.start not in swallowing:
            checked.say(MULTI_LINE_QUOTE, "this text ends at the first line that ends with a `\"`",
                        Span(value.span.start, value.inner.start), hint='put it between `"""` and `"""`',
                        fix=_three_quotes(item))
        if keyword == "PARAMETER" and item.name is not None and item.name.text == "stop":
            _again(stops, value.text, item, f"`{shown(value.text)}` is a stop string already", checked)
        elif keyword in _ADDED:
            there = added.setdefault((keyword, value.text), item.span)
            if there != item.span:
                checked.say(DUPLICATE_LINE, f"this `{keyword}` is said twice", item.span,
                            notes=[Note("it was said first here", there)],
                            fix=without(checked.document.source, item.span, f"the second `{keyword}`"))


def _again(seen: dict[str, Span], text: str, item: Instruction, message: str, checked: Checked) -> None:
    there = seen.setdefault(text, item.value.span)
    if there != item.value.span:
        checked.say(DUPLICATE_STOP, message, item.value.span, notes=[Note("it was said first here", there)],
                    fix=without(checked.document.source, item.span, "the second one"))


def _three_quotes(item: Instruction) -> Fix | None:
    """None where three quotes would end the text elsewhere."""
    value = item.value
    if '"""' in value.text or value.text[0] == '"' or value.text[-1] == '"':
        return None
    opening, closing = Span(value.span.start, value.inner.start), Span(value.inner.end, value.span.end)
    return Fix('put it between `"""` and `"""`', (Edit(opening, '"""'), Edit(closing, '"""')))


def _case(word: str, span: Span, checked: Checked) -> None:
    if not word.isupper():
        checked.say(LOWER_CASE_INSTRUCTION, f"`{word}` is not in capitals", span, fix=instead(span, word.upper()))
