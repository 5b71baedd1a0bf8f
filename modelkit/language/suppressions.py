"""`# modelkit: ignore[rule] reason`: what a file's author has looked at and wants to keep.

The comment has a line of its own, as all comments of a Modelfile have. It is about everything from that line to the
end of the next instruction or block; `ignore-file[…]` is about the whole file. Its rules are named one by one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelkit.language.diagnostic import Diagnostic, Fix, Report, Rule, Severity, did_you_mean, in_file_order
from modelkit.language.document import Token
from modelkit.language.fixes import guess, instead, without
from modelkit.language.lexer import lex
from modelkit.language.rules import RULES
from modelkit.language.rules.comments import BAD_IGNORE, IGNORE_WITHOUT_REASON, UNKNOWN_RULE, UNUSED_IGNORE
from modelkit.language.source import Source, Span

_COMMENT = re.compile(r"#+[ \t]*modelkit:[ \t]*(?P<word>[A-Za-z][\w-]*)(?P<rest>.*)", re.IGNORECASE)
_LIST = re.compile(r"[ \t]*\[(?P<ids>[^\]]*)\](?P<reason>.*)")
_ID = re.compile(r"[^\s,]+")
_WORDS = ("ignore", "ignore-file")
_OF_OTHERS = ("allow", "disable", "noqa", "nolint", "off", "skip", "suppress")
_SHAPE = "write `# modelkit: ignore[rule] reason`"


@dataclass(frozen=True, slots=True)
class Ignored:
    """A finding that is left out, and why its author says so ("" if no reason is given)."""

    diagnostic: Diagnostic
    reason: str


@dataclass(frozen=True, slots=True)
class _Ignore:
    """One comment. `ids` are its rules, each with its place; it is about what starts in `span`."""

    comment: Span
    span: Span
    ids: tuple[tuple[str, Span], ...]
    reason: str

    def covers(self, found: Diagnostic) -> bool:
        inside = self.span.start <= found.span.start < max(self.span.end, self.span.start + 1)
        return inside and any(id == found.rule.id for id, _ in self.ids)


def suppress(
    source: Source, found: Sequence[Diagnostic], *, known: Mapping[str, Rule] = RULES,
    judged: Collection[str] | None = None,
) -> tuple[list[Diagnostic], list[Ignored]]:
    """What is left of the findings, with those about the comments themselves, in file order; and what is left out.

    `known` are the rules that a comment may name, `judged` those that were looked for (all that are known): a comment
    that left out nothing of a rule that nobody looked for is not called unused, nor is any in a file with errors,
    much of which nobody could look at.
    """
    if "modelkit:" not in source.text.lower():
        return list(found), []
    report = Report()
    ignores = list(_ignores(source, report))
    kept: list[Diagnostic] = []
    ignored: list[Ignored] = []
    used: set[tuple[int, str]] = set()
    for one in found:
        by = [ignore for ignore in ignores if ignore.covers(one) and not must_stay(one.rule)]
        used |= {(ignore.comment.start, one.rule.id) for ignore in by}
        if by:
            ignored.append(Ignored(one, by[-1].reason))
        else:
            kept.append(one)
    whole = all(one.severity is not Severity.ERROR for one in kept)
    judge = _Judge(source, report, known, (known if judged is None else judged) if whole else (), used)
    for ignore in ignores:
        judge.judge(ignore)
    return in_file_order([*kept, *report.found]), ignored


def must_stay(rule: Rule) -> bool:
    """An error of the language: the file has no meaning while it stands. Errors that others find may be mistaken."""
    return rule.severity is Severity.ERROR and rule.id in RULES and rule.family not in ("engine", "model")


@dataclass(frozen=True)
class _Judge:
    """Says what is wrong with the comments themselves."""

    source: Source
    report: Report
    known: Mapping[str, Rule]
    judged: Collection[str]
    used: Collection[tuple[int, str]]  # a comment's place and the rule of which it left something out

    def judge(self, ignore: _Ignore) -> None:
        unused = [(id, span) for id, span in ignore.ids if self._is_unused(ignore, id, span)]
        fix = self._without(ignore, [id for id, _ in unused])
        for id, span in unused:
            self.report.add(UNUSED_IGNORE, f"there is no `{id}` to leave out here", span, fix=fix)
        if not ignore.reason and len(unused) < len(ignore.ids):
            self.report.add(IGNORE_WITHOUT_REASON, "this comment does not say why", ignore.comment,
                            hint="write the reason behind the bracket")

    def _is_unused(self, ignore: _Ignore, id: str, span: Span) -> bool:
        rule = self.known.get(id)
        if rule is None:
            near = did_you_mean(id, self.known)
            self.report.add(UNKNOWN_RULE, f"no rule is called `{id}`", span, hint=f"did you mean `{near}`?" if near
                            else "rules are named one by one", fix=guess(span, near) if near else None)
        elif must_stay(rule):
            self.report.add(BAD_IGNORE, f"`{id}` is an error, which cannot be left out", span)
        else:
            # What is found in the model's files is found only on machines that have them.
            judged = id in self.judged and rule.family != "model"
            return judged and (ignore.comment.start, id) not in self.used
        return False

    def _without(self, ignore: _Ignore, unused: Collection[str]) -> Fix:
        kept = ", ".join(id for id, _ in ignore.ids if id not in unused)
        if not kept:
            return without(self.source, ignore.comment, "the comment")
        return instead(Span(ignore.ids[0][1].start, ignore.ids[-1][1].end), kept, title=f"keep `{kept}` alone")


def _ignores(source: Source, report: Report) -> Iterator[_Ignore]:
    """The file's ignore comments; reports those that look like one and are none."""
    tokens = lex(source.text).tokens
    for index, token in enumerate(tokens):
        if token.kind != "COMMENT" or (said := _COMMENT.match(token.text)) is None:
            continue
        word, listed = said["word"].lower(), _LIST.match(said["rest"])
        ids = tuple(_ids(token.span.start + said.start("rest"), listed)) if listed else ()
        if word not in _WORDS:
            near = did_you_mean(word, _WORDS) or ("ignore" if word in _OF_OTHERS else None)
            if near:
                span = Span(token.span.start + said.start("word"), token.span.start + said.end("word"))
                report.add(BAD_IGNORE, f"`{said['word']}` is no word of these comments", span,
                           hint=f"did you mean `{near}`?", fix=guess(span, near))
        elif not listed or not ids:
            report.add(BAD_IGNORE, "this comment names no rule", token.span, hint=_SHAPE)
        else:
            end = len(source.text) + 1 if word == "ignore-file" else _end(tokens, index)
            start = 0 if word == "ignore-file" else token.span.start
            yield _Ignore(token.span, Span(start, end), ids, listed["reason"].strip(" \t:-"))


def _ids(offset: int, listed: re.Match[str]) -> Iterator[tuple[str, Span]]:
    for found in _ID.finditer(listed["ids"]):
        start = offset + listed.start("ids") + found.start()
        yield found[0].lower(), Span(start, start + len(found[0]))


def _end(tokens: Sequence[Token], index: int) -> int:
    """Where the instruction or block behind the comment ends; the comment's own end if nothing follows."""
    depth = 0
    for token in tokens[index + 1 :]:
        depth += token.kind == "OPEN"
        depth -= token.kind == "CLOSE"
        if depth < 0:
            break  # the end of the block that the comment stands in
        if depth == 0 and token.kind in ("VALUE", "CLOSE", "ERROR"):
            return token.span.end
    return tokens[index].span.end
