"""What could not be read, in words: the lexer's mistakes as diagnostics, with what was probably meant."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from modelkit.language.characters import clean, deleted, describe
from modelkit.language.diagnostic import Edit, Fix, Note, Report, did_you_mean
from modelkit.language.document import Token
from modelkit.language.fixes import comment_above, guess, instead, line_end, without
from modelkit.language.lexer import ROLES, WORDS, Lexed, Mistake, Problem, Shape
from modelkit.language.parameters import PARAMETERS
from modelkit.language.rules.syntax import (
    BAD_BLOCK_HEADER,
    BAD_ENCODING,
    BAD_PARAMETER_NAME,
    BAD_ROLE,
    MISSING_VALUE,
    TEXT_AFTER_BRACE,
    UNCLOSED_QUOTE,
    UNKNOWN_INSTRUCTION,
)
from modelkit.language.serve import SERVE_KEYS
from modelkit.language.source import Source, Span
from modelkit.language.values import LINE_END

TEXTS = frozenset({"SYSTEM", "TEMPLATE", "LICENSE", "MESSAGE", "USER", "ASSISTANT", "TOOL"})
MOST_GUESSES = 500  # a file with more unknown words than this is no Modelfile, and guessing takes time
_LETTERS = re.compile(r"[A-Za-z]*")
_PAIR = re.compile(r"(\w+)[=:](.*)")


def explain(source: Source, lexed: Lexed, report: Report) -> None:
    """Adds one diagnostic for each mistake that is one of its own."""
    if "\0\0" in (source.text[:4:2], source.text[1:4:2]) and source.text.count("\0") > len(source.text) // 4:
        report.add(BAD_ENCODING, "this is not UTF-8 text", Span(0, 0), hint="save the file as UTF-8")
        return
    if not lexed.mistakes:
        return
    explainer = _Explainer(source, lexed.tokens, report)
    for mistake in lexed.mistakes:
        explainer.explain(mistake)


class _Explainer:
    def __init__(self, source: Source, tokens: Sequence[Token], report: Report) -> None:
        self.source = source
        self.text = source.text
        self.report = report
        self.values: list[tuple[Token, Token, Token | None]] = []  # a keyword, its value, the last quoted value
        self.guesses = MOST_GUESSES
        keyword = quoted = None
        for token in tokens:
            if token.kind in WORDS:
                keyword = token
            elif token.kind == "VALUE" and keyword:
                quoted = token if token.text.startswith('"') else quoted
                self.values.append((keyword, token, quoted))

    def explain(self, mistake: Mistake) -> None:
        match mistake.problem:
            case Problem.WORD:
                self.word(mistake)
            case Problem.ALONE:
                self.alone(mistake)
            case Problem.NOTHING:
                self.nothing(mistake)
            case Problem.KEY:
                self.key(mistake)
            case Problem.ROLE:
                self.role(mistake)
            case Problem.QUOTE:
                self.quote(mistake)
            case Problem.HEADER:
                self.header(mistake)
            case Problem.BRACE:
                hint = _comment_hint(mistake.word) or "move what follows to the next line"
                self.report.add(TEXT_AFTER_BRACE, "a `}` stands alone on its line", mistake.span, hint=hint,
                                fix=self.below_brace(mistake))

    def word(self, mistake: Mistake) -> None:
        word = mistake.word
        meant, fix = self.meant(mistake), None
        if mistake.follows and (_is_label(word) or word.upper() in WORDS or not (meant or _shouts(word))):
            return  # more of the text that was not understood, not a mistake of its own
        hint, notes = (None, []) if mistake.follows else self.after_text(mistake.span)
        if meant and not (hint and _is_label(word)):
            (hint, fix), notes = meant, []
        elif word.startswith("```"):
            hint, notes = "remove the Markdown fence", []
            fix = without(self.source, mistake.span, "the Markdown fence")
        elif word.startswith("{") and not hint:
            hint = "a Modelfile is made of lines such as `FROM llama3.2`"
        if clean(word) != word:
            message = f"{shown(word)} holds a character that cannot be seen: {describe(deleted(word)[0][1])}"
        elif word.isalpha():
            message = f"no instruction is called {shown(word)}"
        else:
            message = f"a line must start with an instruction, not with {shown(word)}"
        self.report.add(UNKNOWN_INSTRUCTION, message, mistake.span, hint=hint, notes=notes, fix=fix)

    def meant(self, mistake: Mistake) -> tuple[str, Fix | None] | None:
        """What to write instead of a word that is nearly an instruction."""
        word, start = mistake.word, mistake.span.start
        begun = _LETTERS.match(word)
        letters = begun[0] if begun else ""
        after = word[len(letters) : len(letters) + 1]
        if letters.upper() in WORDS and after:
            hint = f"write `{letters}` and a {'space before the value' if clean(after) else 'plain space'}"
            return hint, self.spaced(start + len(letters))
        bare = clean(word)
        if bare != word and bare.upper() in WORDS:
            return "remove that character", instead(Span(start, start + len(word)), bare)
        self.guesses -= 1
        known = did_you_mean(bare, WORDS) if bare.isascii() and self.guesses > 0 else None
        return (f"did you mean `{known}`?", guess(Span(start, start + len(word)), known)) if known else None

    def spaced(self, at: int) -> Fix | None:
        """One space for the `:` or `=`, or the blank of another kind, that stands at `at` behind a keyword."""
        if self.text[at] not in ":=" and clean(self.text[at]):
            return None
        end = at + 1
        while self.text[end : end + 1] in (" ", "\t"):
            end += 1
        return instead(Span(at, end), " ", title="write a space")

    def below_brace(self, mistake: Mistake) -> Fix | None:
        """A line end between a brace and what follows it, if that can stand on a line."""
        start = mistake.span.start
        begun = _LETTERS.match(self.text, start)
        if self.text[start] != "#" and (begun is None or begun[0].upper() not in WORDS):
            return None
        brace = start
        while self.text[brace - 1] in " \t":
            brace -= 1
        return instead(Span(brace, start), line_end(self.source), title="move it to the next line")

    def after_text(self, span: Span) -> tuple[str | None, list[Note]]:
        """What to say when a line that is no instruction comes right after a text: its author thought it went on."""
        index = bisect_right(self.values, span.start, key=lambda entry: entry[1].span.start) - 1
        if index < 0:
            return None, []
        keyword, value, quoted = self.values[index]
        if quoted and self.text.startswith('"', span.start):
            return None, [Note("a quote closed here, at the end of its line", _end_of(quoted))]
        if keyword.kind not in TEXTS or self.text[value.span.end : span.start].strip(" \t\r\n"):
            return None, []
        if not value.text:
            return f"start the text on the line of its `{keyword.text}`", [Note("this value is empty", keyword.span)]
        if value.text.startswith('"'):
            return None, [Note("the quote closed here, at the end of its line", _end_of(value))]
        if value.text.endswith("\\"):
            last = Span(value.span.end - 1, value.span.end)
            return 'put text of several lines between `"""` and `"""`', [Note("a backslash does not join lines", last)]
        note = Note(f"the text of this `{keyword.text}` ended with its line", keyword.span)
        return 'put text of several lines between `"""` and `"""`', [note]

    def alone(self, mistake: Mistake) -> None:
        keyword = mistake.keyword
        match WORDS[keyword]:
            case Shape.VALUE:
                lacks, hint = "no value", "write it on the same line, after a space"
            case Shape.BLOCK:
                lacks, hint = f"no {_title(keyword)}", f"write `{_example(keyword)}`"
            case Shape.ROLE:
                lacks, hint = "no role and no text", f"write `{_example(keyword)}`"
            case _:
                lacks, hint = "no name and no value", f"write `{_example(keyword)}`"
        self.report.add(MISSING_VALUE, f"{self.said(mistake)} has {lacks}", mistake.span, hint=hint)

    def nothing(self, mistake: Mistake) -> None:
        hint = 'write it on the same line, after a space; `""` is the empty text'
        self.report.add(MISSING_VALUE, f"{self.said(mistake)} has no value", mistake.span, hint=hint)

    def said(self, mistake: Mistake) -> str:
        return shown(self.text[mistake.span.start : mistake.span.end])

    def key(self, mistake: Mistake) -> None:
        word = self.text[mistake.span.start : mistake.span.end]
        pair = _PAIR.fullmatch(word)
        if mistake.keyword == "MESSAGE":
            role = did_you_mean(re.sub(r"\W", "", word), ROLES)
            hint = f"write `MESSAGE {role}` and a space" if role else None
            self.report.add(BAD_ROLE, f"{shown(word)} is not a role", mistake.span, hint=hint,
                            fix=_rename(mistake.span, re.sub(r"\W", "", word), role))
            return
        hint, fix = None, None
        if pair and len(word) <= 60:
            hint = f"write `{mistake.keyword} {pair[1]} {pair[2]}`" if pair[2] else f"write `{pair[1]}` and a space"
            fix = instead(mistake.span, f"{pair[1]} {pair[2]}".rstrip())
        elif re.fullmatch(r"[A-Za-z0-9_]+", plain := word.replace("-", "_").strip("\"'`")):
            hint = f"did you mean `{plain}`?"
            known = plain in PARAMETERS or plain in SERVE_KEYS
            fix = instead(mistake.span, plain) if known else guess(mistake.span, plain)
        self.report.add(BAD_PARAMETER_NAME, f"{shown(word)} is not a name", mistake.span, hint=hint, fix=fix)

    def role(self, mistake: Mistake) -> None:
        if not mistake.word:
            hint = "leave one space between `MESSAGE` and the role"
            start, end = mistake.span.start, mistake.span.start
            while self.text[end : end + 1] in (" ", "\t"):
                end += 1
            self.report.add(BAD_ROLE, "two blanks follow `MESSAGE`, so its role is empty", mistake.span, hint=hint,
                            fix=instead(Span(start, end), "", title="leave one space"))
            return
        meant = did_you_mean(mistake.word, ROLES)
        hint = f"did you mean `{meant}`?" if meant else "the roles are `system`, `user` and `assistant`"
        self.report.add(BAD_ROLE, f"no role is called {shown(mistake.word)}", mistake.span, hint=hint,
                        fix=_rename(mistake.span, mistake.word, meant))

    def quote(self, mistake: Mistake) -> None:
        quote = self.text[mistake.span.start : mistake.span.end]
        end = LINE_END.search(self.text, mistake.span.end)
        text, found, after = self.text[mistake.span.end : end.start() if end else None].partition(quote)
        start, line = mistake.span.start, Span(mistake.span.start, end.start() if end else len(self.text))
        fix: Fix | None = None
        if not found:
            at = mistake.span.end + len(text.rstrip(" \t"))
            fix = instead(Span(at, at), quote, title="close the quote on its line", safe=False)
            hint = f"end the value with `{quote}`, as the last thing on its line"
        elif after.lstrip().startswith("#"):
            hint = "put the comment on a line of its own"
            behind = Span(line.end - len(after.lstrip()), line.end)
            fix = comment_above(self.source, mistake.span, behind, safe=True)
        elif quote == '"' and text:
            edits = Edit(Span(start, start), '"""'), Edit(Span(line.end, line.end), '"""')
            fix = Fix('put the whole between `"""` and `"""`', edits, safe=False)
            hint = 'the second `"` closes nothing, as text follows it; put the whole between `"""` and `"""`'
        else:
            hint = f"a quote closes only at the end of a line; remove what follows the second `{quote}`"
        self.report.add(UNCLOSED_QUOTE, f"this `{quote}` is never closed", mistake.span, hint=hint, fix=fix)

    def header(self, mistake: Mistake) -> None:
        span = mistake.span
        line = self.text[span.start : span.end]
        hint, fix = f"write `{_example(mistake.keyword)}`", None
        if not mistake.word:
            message = f"this `{mistake.keyword}` has no {_title(mistake.keyword)}"
        elif clean(line).endswith("{"):
            message = f"the {_title(mistake.keyword)}'s quote is not closed before the `{{`"
            span = Span(span.start + line.index('"'), mistake.at)
        elif mistake.at < mistake.span.end:
            message = "a block's `{` ends its line"
            rest = self.text[mistake.at + 1 : span.end]
            hint = _comment_hint(rest) or "put what follows it on lines of its own"
            span = Span(span.end - len(rest.lstrip()), span.end)
            if rest.lstrip().startswith("#"):
                fix = comment_above(self.source, mistake.span, span, safe=True)
        else:
            message = f"the line of a `{mistake.keyword}` ends with `{{`"
            hint = f"write `{clean(line)} {{`" if len(line) <= 60 else hint
            fix = instead(Span(span.end, span.end), " {", title="end the line with `{`", safe=False)
        self.report.add(BAD_BLOCK_HEADER, message, span, hint=hint, fix=fix)


def _rename(span: Span, word: str, known: str | None) -> Fix | None:
    """The word that is known for the one that was written: safe where only the case differs."""
    if known is None:
        return None
    return instead(span, known) if word.lower() == known else guess(span, known)


def _shouts(word: str) -> bool:
    """All capitals, as instructions are written."""
    return len(word) > 1 and word.isalpha() and word.isupper()


def _is_label(word: str) -> bool:
    """`USER:` in a template that lost its quotes, rather than a keyword with a colon."""
    return word.rstrip(":").upper() in ("SYSTEM", "USER", "ASSISTANT") and word.endswith(":")


def _end_of(value: Token) -> Span:
    """The closing quote of a quoted value."""
    return Span(max(value.span.end - (3 if value.text.endswith('"""') else 1), value.span.start), value.span.end)


def _comment_hint(text: str) -> str | None:
    return "put the comment on a line of its own" if text.lstrip().startswith("#") else None


def _title(keyword: str) -> str:
    return "title" if keyword == "TEST" else "name"


def _example(keyword: str) -> str:
    return {
        "STAGE": "STAGE dev {",
        "TEST": 'TEST "title" {',
        "MESSAGE": "MESSAGE user Hello",
        "SERVE": "SERVE port 8000",
    }.get(keyword, "PARAMETER num_ctx 4096")


def shown(word: str) -> str:
    """A word in backticks, short enough for a sentence; the name of a character that cannot be seen."""
    bare = clean(word)
    if not bare:
        return describe(word[0]) if word else "nothing"
    bare = bare if len(bare) <= 40 else f"{bare[:39]}…"
    return f"'{bare}'" if "`" in bare else f"`{bare}`"
