"""What an `EXPECT` of a test can check of the last answer. Each kind takes `not` before it."""

from __future__ import annotations

import json
import re
import warnings
from typing import Literal, NamedTuple

from modelkit.language.kinds import Choice, Duration, Real, Whole, Word, Wrong

Operand = Literal["text", "pattern", "schema", "tool", "reason", "count", "none", "duration", "likeness"]


class AssertionKind(NamedTuple):
    """One check. `operand` names the shape of what follows the word; `example` is a whole `EXPECT`."""

    name: str
    operand: Operand
    doc: str
    example: str


ASSERTIONS: dict[str, AssertionKind] = {row.name: row for row in (
    AssertionKind("equals", "text", "The answer, trimmed, is this text.", 'EXPECT equals "4"'),
    AssertionKind("contains", "text", "The answer contains this text.", 'EXPECT contains "Paris"'),
    AssertionKind("starts", "text", "The answer starts with this text.", 'EXPECT starts "Dear"'),
    AssertionKind("regex", "pattern", "A regular expression is found in the answer.", "EXPECT regex /[0-9]+ EUR/"),
    AssertionKind("json", "schema", "The answer is JSON; with a file, it also satisfies that JSON Schema.",
                  "EXPECT json answer.schema.json"),
    AssertionKind("tool_call", "tool", "The answer calls this tool; with JSON, with at least these arguments.",
                  'EXPECT tool_call refund {"order": "1234"}'),
    AssertionKind("finish_reason", "reason", "Why the answer ended.", "EXPECT finish_reason stop"),
    AssertionKind("max_tokens", "count", "The answer has at most so many tokens.", "EXPECT max_tokens 40"),
    AssertionKind("no_leak", "none", "No template token, thinking tag or stop string is left in the answer.",
                  "EXPECT no_leak"),
    AssertionKind("latency", "duration", "The answer is complete within this time.", "EXPECT latency 2s"),
    AssertionKind("similar", "likeness", "The answer means nearly this; with `>=`, at this cosine at least.",
                  'EXPECT similar "It is Paris." >= 0.8'),
    AssertionKind("judge", "text", "A judge model finds that the answer satisfies this sentence.",
                  'EXPECT judge "is polite and offers a refund"'),
)}

_REASONS = Choice(("stop", "length", "tool_calls", "content_filter"))
_TOOL_NAME = Word("a tool's name", r"[A-Za-z0-9_-]{1,64}")


def read_operand(kind: AssertionKind, text: str) -> str | Wrong:
    """The operand as an Assertion keeps it: unquoted, checked. Never raises."""
    return _READERS[kind.operand](text.strip())


def _text(text: str) -> str | Wrong:
    value = unquoted(text)
    return value if value else Wrong("a text, such as `\"Paris\"`")


def _pattern(text: str) -> str | Wrong:
    value = unquoted(text)
    if len(value) >= 2 and value.startswith("/") and value.endswith("/"):
        value = value[1:-1]
    if not value:
        return Wrong("a pattern, such as `/[0-9]+/`")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `[[` may mean something else one day, and would be printed
            re.compile(value)
    except re.error as error:
        return Wrong(f"a regular expression ({error})")
    except (OverflowError, RecursionError):
        return Wrong("a smaller regular expression")
    return value


def _tool(text: str) -> str | Wrong:
    name, _, arguments = text.partition(" ")
    read = _TOOL_NAME.read(unquoted(name))
    if isinstance(read, Wrong):
        return Wrong("a tool's name, or `none`, then JSON arguments if any")
    arguments = arguments.strip()
    if not arguments:
        return str(read)
    try:
        good = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        good = False
    return f"{read} {arguments}" if good else Wrong("a tool's name and a JSON object")


def _reason(text: str) -> str | Wrong:
    value = _REASONS.read(unquoted(text))
    return value if isinstance(value, Wrong) else str(value)


def _count(text: str) -> str | Wrong:
    value = Whole(1).read(re.sub(r"^<=\s*", "", text))
    return Wrong("a whole number, at least 1") if isinstance(value, Wrong) else str(value)


def _duration(text: str) -> str | Wrong:
    plain = re.sub(r"^<=\s*", "", text)
    value = Duration().read(plain)
    return value if isinstance(value, Wrong) else plain


def _likeness(text: str) -> str | Wrong:
    match = re.fullmatch(r"(.*\S)\s*>=\s*(\S+)", text, re.DOTALL)
    sentence, least = (match[1], match[2]) if match else (text, "")
    if not unquoted(sentence):
        return Wrong("a text, then `>= 0.8` if you like")
    if least and isinstance(Real(-1, 1).read(least), Wrong):
        return Wrong("a text and a cosine from -1 to 1")
    return f"{unquoted(sentence)} >= {least}" if least else unquoted(sentence)


def unquoted(text: str) -> str:
    """A text without the pair of quotes around it, by Ollama's rule."""
    for quote in ('"""', '"'):
        if len(text) >= 2 * len(quote) and text.startswith(quote) and text.endswith(quote):
            return text[len(quote) : -len(quote)]
    return text


_READERS = {
    "text": _text, "pattern": _pattern, "schema": unquoted, "tool": _tool, "reason": _reason, "count": _count,
    "none": lambda text: Wrong("nothing") if text else "", "duration": _duration,
    "likeness": _likeness,
}
