"""What every part of the check shares: the report, and a few ways to say things alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelkit.language import kinds
from modelkit.language.diagnostic import Fix, Note, Report, Rule, did_you_mean, plain
from modelkit.language.document import Word
from modelkit.language.fixes import guess, instead, without
from modelkit.language.kinds import Kind, Scalar, Wrong, one_of, without_comment
from modelkit.language.names import nearest_name
from modelkit.language.outside import NOTHING, Outside
from modelkit.language.rules.meaning import BAD_NAME, BAD_VALUE, NEEDS_LATER_RELEASE, NOT_YET
from modelkit.language.rules.ollama import DUPLICATE_SCALAR
from modelkit.language.source import Source, Span


@dataclass
class Context:
    """One run of `check`."""

    report: Report
    source: Source
    outside: Outside = NOTHING
    files: dict[int, str] = field(default_factory=dict)  # where a text is from that is not written in the file
    _said_not_yet: set[str] = field(default_factory=set)

    def later(self, what: str, span: Span, *, essential: bool = False, hint: str | None = None) -> None:
        """Says that this release does not act on `what`: once as a warning, at each place if it is an error."""
        if essential:
            self.report.add(NEEDS_LATER_RELEASE, f"`{what}` is understood but not possible yet", span, hint=hint)
        elif what not in self._said_not_yet:
            self._said_not_yet.add(what)
            self.report.add(NOT_YET, f"`{what}` is understood but does nothing yet", span, hint=hint)

    def twice(self, what: str, span: Span, first: Span) -> None:
        """Says that `what` was said before in this block, and that the later one wins."""
        notes = [Note("it was said first here", first)]
        self.report.add(DUPLICATE_SCALAR, f"`{what}` is said twice; this one wins", span, notes=notes,
                        fix=without(self.source, first, f"the `{what}` that does not count"))

    def unknown(
        self, rule: Rule, what: str, word: Word, known: Iterable[str], *, others: Mapping[str, str] | None = None
    ) -> None:
        """Says that no `what` is called `word`, and which one is nearest; `others` are words of other tools."""
        names = list(known)
        near = (others or {}).get(word.text.lower()) or did_you_mean(word.text, names)
        hint = f"did you mean `{near}`?" if near else f"it is {one_of(names)}" if len(names) <= 12 else None
        message = f"no {what} is called `{shown(word.text)}`" if word.text else f"the name of the {what} is missing"
        self.report.add(rule, message, word.span, hint=hint, fix=self.fix(word, near) if near else None)

    def fix(self, word: Word, text: str, *, safe: bool = False) -> Fix | None:
        """Writes `text` for a word, which is safe where only case or hyphens differ, too; None for one that is not
        written in the file as it is read."""
        if self.source.text[word.span.start : word.span.end].strip('"') != word.text:
            return None
        return instead(word.span, text) if safe or plain(word.text) == plain(text) else guess(word.span, text)

    def name(self, what: str, kind: kinds.Word, text: str, span: Span) -> bool:
        """Whether the text is a name of that kind; reports it if not."""
        if not isinstance(kind.read(text), Wrong):
            return True
        near = nearest_name(text, kind)
        message = f"`{shown(text)}` cannot be the name of {what}" if text else f"the name of {what} is empty"
        hint = f"did you mean `{near}`?" if near else f"a name is made of {kind.says}"
        self.report.add(BAD_NAME, message, span, hint=hint, fix=self.fix(Word(text, span), near) if near else None)
        return False

    def value(self, what: str, kind: Kind, text: str, span: Span) -> Scalar | None:
        """The text as a value of that kind; None, and a diagnostic, if it is none."""
        read = kind.read(text)
        if not isinstance(read, Wrong):
            return read
        hint = f"did you mean `{read.instead}`?" if read.instead else None
        if read.instead and without_comment(text) == read.instead != text:
            hint = f"write `{read.instead}`, and a comment on a line of its own"
        quoted = shown(text) if re.fullmatch(r"[\w.+-]+", text) else f"`{shown(text)}`"
        is_now = f"is {quoted}" if text.strip() else "is empty"
        fix = self.fix(Word(text, span), read.instead) if read.instead and "#" not in text else None
        self.report.add(BAD_VALUE, f"`{what}` {is_now}; it must be {read.must_be}", span, hint=hint, fix=fix)
        return None


def shown(text: str) -> str:
    """A text as a message quotes it: on one line, and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:39]}…"
