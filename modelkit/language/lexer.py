"""Text to tokens, by Ollama's rules, with the table of words as a parameter. Knows words, not where they may stand.

Every character of the text is in exactly one token, so the tokens' texts joined are the text. What cannot be read
becomes an ERROR token and a Mistake, and reading goes on at the next line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from modelkit.language.characters import clean, is_printable
from modelkit.language.document import Token
from modelkit.language.source import Span
from modelkit.language.values import ValueEnds, read_value, solid

ROLES = ("system", "user", "assistant")
TRIVIA = frozenset({"SPACE", "IGNORED", "COMMENT", "ERROR"})


class Shape(Enum):
    """What follows a keyword on its line."""

    VALUE = "value"
    KEY = "key, one blank, value"  # PARAMETER: Ollama allows one blank before the key and no other
    ROLE = "role, one blank, value"
    LOOSE_KEY = "key, blanks, value"
    BLOCK = "header, {"


OLLAMA_WORDS: Mapping[str, Shape] = {
    "FROM": Shape.VALUE, "PARAMETER": Shape.KEY, "TEMPLATE": Shape.VALUE, "SYSTEM": Shape.VALUE,
    "ADAPTER": Shape.VALUE, "LICENSE": Shape.VALUE, "MESSAGE": Shape.ROLE, "DRAFT": Shape.VALUE,
    "RENDERER": Shape.VALUE, "PARSER": Shape.VALUE, "REQUIRES": Shape.VALUE,
}  # fmt: skip
OUR_WORDS: Mapping[str, Shape] = {
    "NAME": Shape.VALUE, "QUANTIZE": Shape.VALUE, "ENGINE": Shape.VALUE, "PLATFORM": Shape.VALUE,
    "SERVE": Shape.LOOSE_KEY, "FLAG": Shape.VALUE, "UNSET": Shape.VALUE, "POLICY": Shape.VALUE,
    "EXPECT": Shape.VALUE, "TRY": Shape.VALUE, "ARG": Shape.VALUE, "SYSTEMFILE": Shape.VALUE,
    "TEMPLATEFILE": Shape.VALUE, "STAGE": Shape.BLOCK, "TEST": Shape.BLOCK, "USER": Shape.VALUE,
    "ASSISTANT": Shape.VALUE, "TOOL": Shape.VALUE, "TOOLS": Shape.VALUE, "REPEAT": Shape.VALUE,
}  # fmt: skip
WORDS: Mapping[str, Shape] = {**OLLAMA_WORDS, **OUR_WORDS}


class Problem(Enum):
    WORD = "an instruction that does not exist"
    ALONE = "a keyword with nothing after it"
    NOTHING = "a name or role with nothing after it"
    KEY = "a character that no name has"
    ROLE = "a role that does not exist"
    QUOTE = "a quote that never closes"
    HEADER = "a block's first line that is not one"
    BRACE = "text after a closing brace"


@dataclass(frozen=True, slots=True)
class Mistake:
    """What could not be read. `at` is the offset where Ollama's parser notices; `word` what it had read until then.

    `keyword` is the instruction (upper case, "" if none was understood). `follows` says that nothing was understood
    between the mistake before and this one, so it may be no more than that one's consequence.
    """

    problem: Problem
    span: Span
    at: int
    word: str
    keyword: str = ""
    follows: bool = False


@dataclass
class Lexed:
    tokens: list[Token] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)


def lex(text: str, words: Mapping[str, Shape] = WORDS) -> Lexed:
    """The tokens of a whole file. Never raises."""
    lexer = _Lexer(text, words)
    while lexer.at < len(text):
        lexer.line()
    return lexer.out


_GAP = re.compile(r"[ \t\r\n]+")
_LETTERS = re.compile(r"[A-Za-z]*")
_KEY = re.compile(r"[A-Za-z0-9_]*")
_BLANKS = re.compile(r"[ \t]*")
_WORD = re.compile(r"[^ \t\r\n]*")
_BRACE_INSIDE = re.compile(r"[ \t]\{(?=[ \t])")


class _Lexer:
    def __init__(self, text: str, words: Mapping[str, Shape]) -> None:
        self.text = text
        self.words = words
        self.blocks = Shape.BLOCK in words.values()
        self.ends = ValueEnds(text)
        self.out = Lexed()
        self.at = 0
        self.lost = False  # nothing was understood since the last mistake
        self.loud = False  # the author writes keywords in capitals

    def line(self) -> None:
        """Reads one instruction, comment, brace or gap; the next unread character is the first of a line or blank."""
        character = self.text[self.at]
        if (gap := _match(_GAP, self.text, self.at)) > self.at:
            self._emit("SPACE", gap)
        elif character == "#":
            self._emit("COMMENT", self.ends.line_end(self.at))
        elif character == "}" and self.blocks:
            self._close_block()
        else:
            self._instruction()

    def _emit(self, kind: str, end: int, even_empty: bool = False) -> None:
        if end > self.at or even_empty:
            self.out.tokens.append(Token(kind, self.text[self.at : end], Span(self.at, end)))
        self.at = end

    def _emit_value(self, kind: str, end: int) -> None:
        """What stands up to `end`, with the blanks and deleted characters around it as tokens of their own."""
        first, last = (self.at + index for index in solid(self.text[self.at : end]))
        if first == last:
            first = last = end
        self._emit_gap(first)
        self._emit(kind, last, even_empty=True)
        self._emit_gap(end)

    def _emit_gap(self, end: int) -> None:
        self._emit("SPACE" if _match(_GAP, self.text, self.at) >= end else "IGNORED", end)

    def _mistake(self, problem: Problem, span: Span, at: int, word: str, keyword: str = "") -> None:
        self.out.mistakes.append(Mistake(problem, span, at, word, keyword, self.lost))
        self.lost = True

    def _instruction(self) -> None:
        start, text = self.at, self.text
        # Ollama takes an instruction's first character unseen, and drops it if it does not print: a no-break space
        # or a stray byte-order mark there is harmless.
        begins = start + (not is_printable(text[start]))
        end = _match(_LETTERS, text, start + 1)
        keyword = self._known(text[begins:end])
        if self.lost and self.loud and not text[begins:end].isupper():
            keyword = ""  # after a text that lost its quotes `User` and `from` are prose
        after = text[end : end + 1]
        if keyword and after and after in " \t":
            self._known_instruction(keyword, begins, end)
        elif keyword and (not after or after in "\r\n"):
            self._mistake(Problem.ALONE, Span(begins, end), end, text[begins:end], keyword)
            self._emit("ERROR", end)
        else:
            word_end = _match(_WORD, text, begins)
            self._mistake(Problem.WORD, Span(begins, max(word_end, begins)), end, text[begins:word_end])
            self._emit_rest(word_end)

    def _known(self, word: str) -> str:
        # Upper-casing would read more than ASCII letters as a keyword (the long s); lower-casing does not.
        keyword = word.lower().upper() if word.isascii() else ""
        return keyword if keyword in self.words else ""

    def _known_instruction(self, keyword: str, begins: int, end: int) -> None:
        shape = self.words[keyword]
        key: tuple[int, int] | None = None
        self.loud = self.text[begins:end].isupper()
        if shape in (Shape.KEY, Shape.ROLE, Shape.LOOSE_KEY):
            key_start = _match(_BLANKS, self.text, end) if shape is Shape.LOOSE_KEY else end + 1
            key = key_start, _match(_LETTERS if shape is Shape.ROLE else _KEY, self.text, key_start)
            if not self._key_is_good(keyword, shape, begins, *key):
                return
        self._emit("IGNORED", begins)
        self._emit(keyword, end)
        if shape is Shape.BLOCK:
            self._header(keyword, Span(begins, end))
            return
        if key:
            self._emit("SPACE", key[0])
            self._emit("ROLE" if shape is Shape.ROLE else "KEY", key[1], even_empty=True)
        self._value(keyword)

    def _key_is_good(self, keyword: str, shape: Shape, begins: int, start: int, end: int) -> bool:
        """Whether a name or role and the blank behind it stand there; says what is wrong and skips it otherwise."""
        word, after = self.text[start:end], self.text[end : end + 1]
        if not after or after in "\r\n":
            said = self.text[begins:end].rstrip(" \t")
            problem = Problem.NOTHING if word else Problem.ALONE
            self._mistake(problem, Span(begins, begins + len(said)), end, word, keyword)
        elif after not in " \t":
            word_end = _match(_WORD, self.text, start)
            self._mistake(Problem.KEY, Span(start, word_end), end, word, keyword)
        elif shape is Shape.ROLE and word not in ROLES:
            self._mistake(Problem.ROLE, Span(start, end), end, word, keyword)
        else:
            return True
        self._emit_rest(end)
        return False

    def _value(self, keyword: str) -> None:
        start = self.at
        extent = self.ends.find(start)
        if extent.closed:
            self._emit_value("VALUE", extent.end)
            self.lost = False
            return
        # The quote is the mistake; what follows the line is read as if it had been closed there.
        line_end = self.ends.line_end(start)
        opening = start + solid(self.text[start:line_end])[0]
        self._mistake(Problem.QUOTE, Span(opening, opening + len(extent.quote)), len(self.text), "", keyword)
        self._emit("ERROR", line_end)

    def _emit_rest(self, start: int) -> None:
        """An ERROR up to the end of the line, or of a `\"\"\"` text that starts after `start` and is closed."""
        end = self.ends.line_end(start)
        first, last = solid(self.text[start:end])
        if clean(self.text[start + first : start + last]).startswith('"""'):
            extent = self.ends.find(start)
            end = extent.end if extent.closed else end
        self._emit("ERROR", end)

    def _header(self, keyword: str, word: Span) -> None:
        end = self.ends.line_end(self.at)
        first, last = (self.at + index for index in solid(self.text[self.at : end]))
        brace = last - 1 if first < last and self.text[last - 1] == "{" else None
        inside = _BRACE_INSIDE.search(self.text, self.at, end) if brace is None else None
        header_end = brace if brace is not None else inside.end() - 1 if inside else end
        title = solid(self.text[self.at : header_end])
        header = read_value(self.text[self.at + title[0] : self.at + title[1]], self.at + title[0])
        good = brace is not None and header.text and (header.quote or not header.text.startswith('"'))
        if not good:
            self._mistake(Problem.HEADER, Span(word.start, max(last, word.end)), header_end, header.text, keyword)
        self._emit_value("HEADER", header_end)
        self._emit("OPEN", self.at + (brace is not None or inside is not None), even_empty=True)
        if inside:  # the block's contents on the header's own line: they are lost, its closing brace is not
            closing = last - 1 if last > self.at and self.text[last - 1] == "}" else None
            self._emit("ERROR", closing if closing is not None else end)
            if closing is not None:
                self._emit("CLOSE", closing + 1)
        self._emit_gap(end)
        self.lost = not good

    def _close_block(self) -> None:
        end = self.ends.line_end(self.at + 1)
        first, last = (self.at + 1 + index for index in solid(self.text[self.at + 1 : end]))
        self._emit("CLOSE", self.at + 1)
        self.lost = False
        if first < last:
            self._mistake(Problem.BRACE, Span(first, last), first, self.text[first:last])
            self._emit("ERROR", end)
        self._emit_gap(end)


def _match(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where the pattern ends that is tried at `at`; `at` itself if it does not match."""
    found = pattern.match(text, at)
    return found.end() if found else at
