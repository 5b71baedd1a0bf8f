"""What to write for a text that does not mean what it looks like: the fixes of what Ollama swallows in silence."""

from __future__ import annotations

import re
import unicodedata

from modelkit.language.diagnostic import Edit, Fix
from modelkit.language.document import Instruction
from modelkit.language.fixes import comment_above, guess, instead, line_end
from modelkit.language.kinds import Kind, Wrong
from modelkit.language.parameters import PARAMETERS
from modelkit.language.serve import SERVE_KEYS
from modelkit.language.source import Source, Span

_CHOICES = frozenset({"NAME", "QUANTIZE", "ENGINE", "PLATFORM", "POLICY", "REPEAT", "REQUIRES"})  # none holds a `#`
_BREAKS = {r"\n": "\n", r"\r": "\r", r"\t": "\t"}
_HARMLESS = frozenset(
    "\u00ad\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff")
_STRING = re.compile(r'"([^"\r\n]+)"')


def comment_off(instruction: Instruction, source: Source, at: int) -> Fix:
    """Moves what starts at `at` and looks like a comment to a line of its own: safe where it makes a value of a text
    that is none, a guess where the text could be meant."""
    span = instruction.value.span
    whole, value = source.text[span.start : span.end], source.text[span.start : at].strip()
    kind = _kind(instruction)
    sure = instruction.keyword.text.upper() in _CHOICES or (
        kind is not None and isinstance(kind.read(whole), Wrong) and not isinstance(kind.read(value), Wrong))
    return comment_above(source, span, Span(at, span.end), safe=sure)


def _kind(instruction: Instruction) -> Kind | None:
    name = instruction.name.text if instruction.name else ""
    match instruction.keyword.text.upper():
        case "PARAMETER":
            return PARAMETERS[name].kind if name in PARAMETERS else None
        case "SERVE":
            return SERVE_KEYS[name].kind if name in SERVE_KEYS else None
    return None


def one_by_one(instruction: Instruction, source: Source) -> Fix | None:
    """One `PARAMETER stop` for each of the strings in its value."""
    strings = _STRING.findall(source.text[instruction.value.span.start : instruction.value.span.end])
    if len(strings) < 2:
        return None
    start = source.line_starts[source.line_column(instruction.keyword.span.start)[0] - 1]
    lead = source.text[start : instruction.value.span.start]
    text = line_end(source).join(f'{lead}"{string}"' for string in strings)
    return instead(Span(start, instruction.value.span.end), text, title="write a line for each string", safe=False)


def with_real_breaks(instruction: Instruction, source: Source) -> Fix:
    r"""The characters themselves for `\n`, `\r` and `\t`."""
    value = instruction.value
    text = source.text[value.inner.start : value.inner.end]
    text = re.sub(r"\\[nrt]", lambda found: _BREAKS[found[0]], text)
    return instead(value.span, f'"""{text}"""', title="write the characters themselves", safe=False)


def quoted(instruction: Instruction, source: Source) -> Fix:
    """Quotes for the marks around a value."""
    span = instruction.value.span
    return guess(span, f'"{source.text[span.start + 1 : span.end - 1]}"')


def closed_on_its_line(instruction: Instruction, source: Source) -> Fix | None:
    """The quote that a value lacks at the end of its first line; or, if a comment stands behind it, that moved away."""
    value = instruction.value
    start, (line, _) = value.inner.start, source.line_column(value.span.start)
    first = source.line(line)[start - source.line_starts[line - 1] :]
    text, quote, rest = first.partition(value.quote)
    if not quote:
        end = start + len(text.rstrip(" \t"))
        return instead(Span(end, end), value.quote, title="close the quote on its line", safe=False)
    if not rest.lstrip().startswith("#"):
        return None
    at = start + len(text) + len(quote) + len(rest) - len(rest.lstrip())
    return comment_above(source, Span(value.span.start, value.span.start), Span(at, start + len(first)), safe=False)


def as_instruction(instruction: Instruction, source: Source, keyword: str) -> Fix | None:
    """The instruction that a PARAMETER of its name acts as."""
    assert instruction.name is not None, "a PARAMETER has a name"
    written = keyword if instruction.keyword.text.isupper() else keyword.lower()
    span = Span(instruction.keyword.span.start, instruction.name.span.end)
    if keyword != "MESSAGE":
        return instead(span, written)
    value = source.text[instruction.value.span.start : instruction.value.span.end]
    said = re.match(r"(system|user|assistant): ", value)
    if said is None:
        return None
    return instead(Span(span.start, instruction.value.span.start + said.end()), f"{written} {said[1]} ")


def without_deleted(at: int, gone: list[tuple[int, str]]) -> Fix | None:
    """Without the characters that reading deletes anyway. A blank of another kind was probably meant to be one, and
    what joins letters, or is a letter somewhere, had better be seen by somebody."""
    blanks = [character for _, character in gone if unicodedata.category(character) == "Zs"]
    others = [character for _, character in gone if character not in blanks]
    if any(c not in _HARMLESS and unicodedata.category(c) != "Cc" for c in others):
        return None
    edits = tuple(Edit(Span(at + index, at + index + 1), " " if character in blanks else "")
                  for index, character in gone)
    return Fix("write plain blanks" if blanks else "remove what is deleted anyway", edits, safe=not blanks)
