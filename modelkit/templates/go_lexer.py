"""A Go template's text as a row of tokens, with the blanks that `{{-` and `-}}` trim taken away."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from modelkit.templates.go_nodes import TemplateError

_BLANKS = " \t\r\n"

_TOKEN = re.compile(r"""
    (?P<blank>[ \t\r\n]+)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<raw>`[^`]*`)
  | (?P<rune>'(?:[^'\\\n]|\\.)+')
  | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*)?\.?\d[\d_]*(?:[eE][+-]?\d+)?\.?))
  | (?P<field>\.\w+)
  | (?P<variable>\$\w*)
  | (?P<word>\w+)
  | (?P<sign>:=|[.()|,=])
""", re.VERBOSE)

_COMMENT = re.compile(r"/\*(.*?)\*/(?P<close>(?P<trim>[ \t\r\n]+-)?\}\})?", re.DOTALL)
_CLOSE = re.compile(r"(?P<trim>[ \t\r\n]+-)?\}\}")


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is text, open, close, or a name of a group of `_TOKEN`; `spaced` says that a blank stands before it."""

    kind: str
    text: str
    at: int
    end: int
    spaced: bool = False


def tokens(template: str) -> Iterator[Token]:
    """Raises TemplateError for what no Go template can have."""
    at, trims = 0, False
    while at < len(template):
        found = template.find("{{", at)
        until = found if found >= 0 else len(template)
        text, start = template[at:until], at
        if trims:
            start += len(text) - len(text.lstrip(_BLANKS))
            text = text.lstrip(_BLANKS)
        opens = until + 2
        if found >= 0 and template[opens : opens + 1] == "-" and template[opens + 1 : opens + 2] in tuple(_BLANKS):
            text, opens = text.rstrip(_BLANKS), opens + 2
        if text:
            yield Token("text", text, start, start + len(text))
        if found < 0:
            return
        comment = _COMMENT.match(template, opens)
        if comment is not None or template.startswith("/*", opens):
            if comment is None or comment["close"] is None:
                raise TemplateError("syntax", "this comment does not end with `*/}}`", found, opens + 2)
            at, trims = comment.end(), comment["trim"] is not None
            continue
        yield Token("open", "{{", found, opens)
        close = yield from _action(template, found, opens)
        at, trims = close.end(), close["trim"] is not None


def _action(template: str, start: int, at: int) -> Generator[Token, None, re.Match[str]]:
    """The tokens up to `}}`, which is returned as its match."""
    spaced = False
    while True:
        close = _CLOSE.match(template, at)
        if close is not None:
            yield Token("close", "}}", at, close.end())
            return close
        found = _TOKEN.match(template, at)
        if found is None:
            if at >= len(template) or template.find("}}", at) < 0:
                raise TemplateError("syntax", "this `{{` is not closed by `}}`", start, start + 2)
            raise _unexpected(template, at)
        if found.lastgroup != "blank":
            yield Token(str(found.lastgroup), found[0], at, found.end(), spaced)
        spaced, at = found.lastgroup == "blank", found.end()


def _unexpected(template: str, at: int) -> TemplateError:
    character = template[at]
    if character in "\"'`":
        return TemplateError("syntax", "this quote is not closed", at)
    hint = None
    if character in "+-*/%~[{":
        hint = "Go templates have functions (`eq a b`, `index a 0`) where Jinja has signs; Jinja needs a `{% … %}`"
    return TemplateError("syntax", f"`{character}` means nothing within `{{{{ }}}}`", at, hint=hint)
