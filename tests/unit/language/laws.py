"""What holds for every text: the front end answers, and a layout changes nothing but layout."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from modelkit.language.check import compile_source
from modelkit.language.diagnostic import CompileError, Severity
from modelkit.language.document import Block, Comment, Instruction, Item
from modelkit.language.excerpt import as_json, as_report
from modelkit.language.format import formatted, laid_out
from modelkit.language.layers import effective
from modelkit.language.modelfile import KNOWN_STAGES, Said
from modelkit.language.ollama import OllamaError, commands
from modelkit.language.outside import Outside
from modelkit.language.parser import parse
from modelkit.language.source import Source

Shape = tuple[Any, ...]

GIVEN = Outside({"SIZE": "3b", "TONE": "terse"})
"""A layout does not need the values of ARGs; a meaning does."""


def the_front_end_answers(text: str) -> bool:
    """Every phase says what it found, at places that exist, and raises nothing. Whether the file is good."""
    source = Source("Modelfile", text)
    modelfile, found = compile_source(source)
    assert (modelfile is None) == any(d.severity is Severity.ERROR for d in found)
    said = as_report(found, source)
    assert said.count("\n") < 40 * (len(found) + 1)
    for diagnostic in found:
        for span in (diagnostic.span, *(note.span for note in diagnostic.notes if note.span)):
            assert 0 <= span.start <= span.end <= len(text)
        json.dumps(as_json(diagnostic, source))
    if modelfile is None:
        return False
    for stage in (*KNOWN_STAGES, *modelfile.stages):
        assert effective(modelfile, stage).base is not None
    assert formatted(source)
    return True


def a_layout_changes_nothing_else(text: str) -> None:
    """Idempotent; the same meaning to us and to Ollama; the same comments, values and order; no new finding."""
    before = Source("Modelfile", text)
    document, (meant, found) = parse(before)[0], compile_source(before, GIVEN)
    assert meant is not None
    after = Source("Modelfile", laid_out(document))
    again, (means, finds) = parse(after)[0], compile_source(after, GIVEN)
    assert laid_out(again) == after.text
    assert list(shapes(document.items)) == list(shapes(again.items))
    assert meaning(meant) == meaning(means)
    assert {d.rule.id for d in finds} <= {d.rule.id for d in found}
    assert ollama_reads(before) == ollama_reads(after)
    assert line_ends(after.text) <= line_ends(text) | {"\n"}


def layout(text: str) -> str | None:
    """The text laid out; None for a file with errors."""
    try:
        return formatted(Source("Modelfile", text))
    except CompileError:
        return None


def ollama_reads(source: Source) -> list[dict[str, str]] | None:
    try:
        return commands(source)
    except OllamaError:
        return None


def line_ends(text: str) -> set[str]:
    return set(re.findall(r"\r\n|\r|\n", text))


def shapes(items: tuple[Item, ...]) -> Iterator[Shape]:
    """Everything in the file, in order, with values as they were written but for blanks between words."""
    for item in items:
        if isinstance(item, Comment):
            yield "#", item.text.rstrip(" \t")
        elif isinstance(item, Block):
            yield item.keyword.text.upper(), item.header.text.split(), *shapes(item.body)
        else:
            yield _of_instruction(item)


TEXTS = frozenset({
    "SYSTEM", "TEMPLATE", "LICENSE", "MESSAGE", "USER", "ASSISTANT", "TOOL", "PARAMETER", "SERVE", "FROM"})


def _of_instruction(item: Instruction) -> Shape:
    keyword, value = item.keyword.text.upper(), item.value.text
    compared = re.sub(r"\s*([<>=!,]+)\s*|\s+", r" \1 ", value).split()
    words: Any = value if keyword in TEXTS or item.value.quote or not value else compared
    return keyword, item.name and item.name.text, words


def meaning(value: Any) -> Any:
    """A checked file without its places."""
    if isinstance(value, Said):
        return meaning(value.value)
    if is_dataclass(value):
        said = {field.name: meaning(getattr(value, field.name)) for field in fields(value)
                if field.name not in ("span", "line_starts")}
        if "metric" in said:
            del said["text"]  # a gate as it was written
        return said
    if isinstance(value, Mapping):
        return {key: meaning(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [meaning(one) for one in value]
    return value


def smallest(text: str, fails: Callable[[str], bool]) -> str:
    """A text that still fails, from which no part can be taken."""
    size = max(1, len(text) // 2)
    while size:
        at = 0
        while at < len(text):
            shorter = text[:at] + text[at + size :]
            if fails(shorter):
                text = shorter
            else:
                at += size
        size //= 2
    return text
