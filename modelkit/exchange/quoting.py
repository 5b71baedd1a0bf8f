"""A value as a Modelfile writes it, so that Ollama's parser and ours read it back.

The language has no escapes, so some texts cannot be written: characters that reading deletes, and a line (but the
last) that ends with three quotes. What is written is read again before it is used: nothing here is believed.
"""

from __future__ import annotations

import re

from modelkit.language.characters import clean
from modelkit.language.lexer import OLLAMA_WORDS, TRIVIA, lex
from modelkit.language.values import read_value

LONG = '"""'
_CLOSES_EARLY = re.compile(r'"""(?=[ \t]*[\r\n])')


def written(value: str, prefer: str = "") -> str | None:
    """`value` with the quotes that it needs, with `prefer` where those do; None where no quotes can hold it.

    >>> written("terse"), written(" with a blank "), written('say "hi"\\nthere')
    ('terse', '" with a blank "', '\"\"\"say "hi"\\nthere\"\"\"')
    """
    quotes = ("", LONG, '"') if "\n" in value or '"' in value else ("", '"', LONG)
    for quote in (prefer, *(q for q in quotes if q != prefer)):
        if not quote and not value:
            continue
        text = f"{quote}{value}{quote}"
        if _read(text) == value:
            return text
    return None


def nearest(value: str) -> tuple[str, str]:
    """The nearest text that can be written, and what had to change; "" if nothing had to."""
    if written(value) is not None:
        return value, ""
    kept = clean(value)
    reasons = [] if kept == value else ["reading a Modelfile deletes characters that do not print"]
    if written(kept) is None:
        kept = _CLOSES_EARLY.sub("'''", kept)
        reasons.append("three quotes at a line's end would close the text: they are '''")
    return kept, "; ".join(reasons)


def plain(value: object) -> str:
    """A value as a Modelfile has it: `0.7`, `true`, `4096`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
    return str(value)


def _read(text: str) -> str | None:
    """What a reader makes of `SYSTEM text`; None if that is anything but one whole value."""
    lexed = lex(f"SYSTEM {text}\n", OLLAMA_WORDS)
    values = [token for token in lexed.tokens if token.kind == "VALUE"]
    others = [token for token in lexed.tokens if token.kind not in ("SYSTEM", "VALUE", *TRIVIA)]
    if lexed.mistakes or others or len(values) != 1 or any(t.kind == "COMMENT" for t in lexed.tokens):
        return None
    return read_value(values[0].text, values[0].span.start).text
