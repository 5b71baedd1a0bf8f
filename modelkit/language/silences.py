"""What Ollama swallows in silence and the text itself shows: accepted with the same meaning, and said."""

from __future__ import annotations

import re

from modelkit.language.characters import deleted, describe
from modelkit.language.corrections import (
    as_instruction,
    closed_on_its_line,
    comment_off,
    one_by_one,
    quoted,
    with_real_breaks,
    without_deleted,
)
from modelkit.language.diagnostic import Note, Report
from modelkit.language.document import Document, Instruction
from modelkit.language.fixes import instead
from modelkit.language.lexer import OLLAMA_WORDS, WORDS
from modelkit.language.mistakes import TEXTS
from modelkit.language.rules.ollama import (
    CARRIAGE_RETURN_IN_VALUE,
    DELETED_CHARACTERS,
    DOUBLE_SPACE_BEFORE_NAME,
    INLINE_COMMENT,
    INVALID_BYTES,
    LITERAL_ESCAPE,
    NOT_A_QUOTE,
    PARAMETER_ACTS_AS_INSTRUCTION,
    QUOTE_SWALLOWS_INSTRUCTION,
    SEVERAL_STRINGS,
    STRAY_QUOTE,
)
from modelkit.language.source import Source, Span

_LINE = re.compile(r"[\r\n][ \t]*([A-Za-z]+)[ \t]+([^\r\n]*)")
_ESCAPE = re.compile(r"\\[nrt]")
_COMMENT = re.compile(r"[ \t](#)")
_COMMENT_IN_TEXT = re.compile(r"[ \t](#)[ \t]")  # prose may say `issue #5`, operands with quotes `"C #"`
_SEVERAL = re.compile(r'"(?:[ \t]+|[ \t]*,[ \t]*)"|^\[[ \t]*".*\]$')
_MARKS = {"'": "'", "`": "`", "\u2018": "\u2019", "\u201c": "\u201d", "\u201e": "\u201c", "\u00ab": "\u00bb"}
_RENAMED = {"model": "FROM", **{w.lower(): w for w in OLLAMA_WORDS if w not in ("FROM", "PARAMETER")}}


def silences(document: Document, report: Report) -> None:
    """Adds a warning for each place where the text does not mean what it looks like."""
    source = document.source
    for instruction in document.all_instructions():
        said = len(report.found)
        _swallowed(instruction, source, report)
        if len(report.found) == said:  # nothing else about a value that is wrong as a whole
            _value(instruction, source, report)
        _name(instruction, source, report)
        _deleted(instruction, source, report)
    if "\ufffd" in source.text:
        at = source.text.index("\ufffd")
        message = "there are bytes here that are not UTF-8; they are read as U+FFFD"
        report.add(INVALID_BYTES, message, Span(at, at + 1), hint="save the file as UTF-8")


def _swallowed(instruction: Instruction, source: Source, report: Report) -> None:
    """A value of several lines that was closed by a quote which another instruction had opened."""
    value = instruction.value
    if not value.quote:
        return
    inner = source.text[value.inner.start : value.inner.end]
    lines = [m for m in _LINE.finditer(inner) if m[1].upper() in WORDS]
    if not lines:
        return
    reopened = any(_opens(m[1].upper(), m[2], value.quote) for m in lines)
    first_line = re.split(r"[\r\n]", inner, maxsplit=1)[0]
    broken = value.quote in first_line and any(m[1].isupper() for m in lines)
    if reopened or broken:
        at = value.inner.start + lines[0].start(1)
        note = Note(f"this `{lines[0][1]}` is now part of the text", Span(at, at + len(lines[0][1])))
        message = f"this quote is not closed on its line and takes in the `{lines[0][1]}` below"
        start = value.span.start
        hint = f"end the value with `{value.quote}`, as the last thing on its line"
        report.add(
            QUOTE_SWALLOWS_INSTRUCTION, message, Span(start, start + len(value.quote)), hint=hint, notes=[note],
            fix=closed_on_its_line(instruction, source),
        )


def _opens(keyword: str, rest: str, quote: str) -> bool:
    """Whether a line of this keyword starts a value with `quote`, directly or after a name."""
    parts = rest.split(maxsplit=1) if keyword in ("PARAMETER", "MESSAGE", "SERVE") else ["", rest]
    return len(parts) == 2 and parts[1].lstrip().startswith(quote)


def _value(instruction: Instruction, source: Source, report: Report) -> None:
    value, keyword = instruction.value, instruction.keyword.text.upper()
    text = source.text[value.span.start : value.span.end]
    is_stop = keyword == "PARAMETER" and instruction.name is not None and instruction.name.text == "stop"
    if is_stop and (found := _SEVERAL.search(value.text)):
        message = "`stop` takes one string; all of this is that one string"
        report.add(SEVERAL_STRINGS, message, value.span, hint="write one `PARAMETER stop` line for each",
                   fix=one_by_one(instruction, source))
    elif not value.quote and (found := _comment(keyword).search(text)):
        at = value.span.start + found.start(1)
        message = "a `#` after a value is part of the value"
        report.add(INLINE_COMMENT, message, Span(at, value.span.end), hint="put the comment on a line of its own",
                   fix=comment_off(instruction, source, at))
    elif not value.quote and len(text) > 1 and _MARKS.get(text[0]) == text[-1]:
        message = f"{text[0]}…{text[-1]} do not quote; they are part of the value"
        report.add(NOT_A_QUOTE, message, value.span, hint='use `"`', fix=quoted(instruction, source))
    elif not value.quote and text.endswith('"""'):
        end = value.span.end
        report.add(STRAY_QUOTE, 'this `"""` closes nothing, and the model reads it', Span(end - 3, end),
                   hint='put `"""` at the beginning too, or remove it here')
    if is_stop and (escape := _ESCAPE.search(text)):
        at = value.span.start + escape.start()
        message = f"`{escape[0]}` in a stop string is a backslash and a letter"
        hint = 'write a real line break between `"""` and `"""`' if escape[0] != r"\t" else "write a real tab"
        report.add(LITERAL_ESCAPE, message, Span(at, at + 2), hint=hint, fix=with_real_breaks(instruction, source))
    if value.quote and "\r" in value.text and keyword != "LICENSE":  # no model reads a licence
        at = source.text.index("\r", value.inner.start)
        message = "the line breaks in this value keep their carriage returns"
        report.add(CARRIAGE_RETURN_IN_VALUE, message, Span(at, at + 1), hint="save the file with LF line ends")


def _comment(keyword: str) -> re.Pattern[str]:
    return _COMMENT_IN_TEXT if keyword in TEXTS or keyword in ("EXPECT", "FLAG") else _COMMENT


def _name(instruction: Instruction, source: Source, report: Report) -> None:
    name = instruction.name
    if name is None or instruction.keyword.text.upper() != "PARAMETER":
        return
    if not name.text:
        span = Span(instruction.keyword.span.end, instruction.value.span.start)
        message = "two blanks follow `PARAMETER`, so its name is empty"
        hint = "leave one space between `PARAMETER` and the name"
        report.add(DOUBLE_SPACE_BEFORE_NAME, message, span, hint=hint,
                   fix=instead(span, " ", title="leave one space"))
    elif name.text in _RENAMED:
        acts = _RENAMED[name.text]
        message = f"`PARAMETER {name.text}` acts as `{acts}`"
        report.add(PARAMETER_ACTS_AS_INSTRUCTION, message, name.span, hint=f"write `{acts}`",
                   fix=as_instruction(instruction, source, acts))


def _deleted(instruction: Instruction, source: Source, report: Report) -> None:
    start = instruction.keyword.span.end
    gone = deleted(source.text[start : instruction.span.end])
    if not gone:
        return
    first = last = gone[0][0]
    for at, _ in gone[1:]:
        if at != last + 1:
            break
        last = at
    kinds = list(dict.fromkeys(character for _, character in gone))
    what = ", ".join(describe(c) for c in kinds[:3]) + (", …" if len(kinds) > 3 else "")
    verb = "character is deleted" if len(gone) == 1 else "characters are deleted"
    message = f"{len(gone)} {verb} from this value: {what}"
    report.add(DELETED_CHARACTERS, message, Span(start + first, start + last + 1), fix=without_deleted(start, gone))
