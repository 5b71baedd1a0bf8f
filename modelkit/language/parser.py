"""Tokens to a Document, through the grammar. Never stops at the first mistake, and never raises for the text's sake."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from modelkit.language import grammar
from modelkit.language.diagnostic import Diagnostic, Fix, Note, Report, in_file_order
from modelkit.language.document import Block, Comment, Document, Instruction, Item, Token
from modelkit.language.fixes import instead, line_end, without
from modelkit.language.lexer import TRIVIA, WORDS, Lexed, Problem, Shape, lex
from modelkit.language.mistakes import explain
from modelkit.language.rules.syntax import INSTRUCTION_NOT_ALLOWED_HERE, MISSING_FROM, STRAY_BRACE, UNCLOSED_BLOCK
from modelkit.language.silences import silences
from modelkit.language.source import Source, Span

PLACES = {"file": "at the top of the file", "stage": "in a `STAGE` block", "test": "in a `TEST` block"}


def parse(source: Source) -> tuple[Document, list[Diagnostic]]:
    """The file's shape and everything that is wrong with it, in file order.

    What could not be read is in the document's tokens and in no item.
    """
    lexed = lex(source.text, WORDS)
    report = Report()
    explain(source, lexed, report)
    nodes = _Structure(source, lexed, report).nodes()
    comments = [Comment(t.text, t.span) for t in lexed.tokens if t.kind == "COMMENT"]
    document = Document(source, _with_comments(nodes, comments), tuple(lexed.tokens))
    if not lexed.mistakes and not any(_names_a_base(i) for i in document.all_instructions()):
        report.add(MISSING_FROM, "the file names no base model", Span(0, 0), hint="add a line such as `FROM llama3.2`")
    silences(document, report)
    return document, in_file_order(report.found)


def _names_a_base(instruction: Instruction) -> bool:
    # In Ollama parameters and instructions share one set of names, and FROM's is `model`.
    word, name = instruction.keyword.text.upper(), instruction.name
    return word == "FROM" or (word == "PARAMETER" and name is not None and name.text == "model")


class _Structure:
    """Feeds whole instructions and block edges to the grammar, and mends what it refuses."""

    def __init__(self, source: Source, lexed: Lexed, report: Report) -> None:
        self._source = source
        self._phrases = list(_phrases(lexed.tokens))
        self._matches = _matching_braces(self._phrases)
        self._bad_headers = {m.span.start for m in lexed.mistakes if m.problem is Problem.HEADER}
        self._report = report
        self._parser = grammar.new_parser()
        self._open: int | None = None  # the index of the header of the block that is open

    def nodes(self) -> list[Instruction | Block]:
        index = 0
        while index < len(self._phrases):
            if grammar.feed(self._parser, self._phrases[index][0]):
                self._accepted(index)
                index += 1
            else:
                index = self._refused(index)
        if self._open is not None:
            self._close(self._open, None)
        return grammar.finish(self._parser)

    def _accepted(self, index: int) -> None:
        first, *rest = self._phrases[index]
        for token in rest:
            grammar.feed(self._parser, token)
        if first.kind == "CLOSE":
            self._open = None
        elif WORDS[first.kind] is Shape.BLOCK:
            self._open = index

    def _refused(self, index: int) -> int:
        """Says why, and returns the index of the phrase to go on with."""
        word = self._phrases[index][0]
        if word.kind == "CLOSE":
            self._report.add(STRAY_BRACE, "this `}` closes nothing", word.span,
                             fix=without(self._source, word.span, "the brace", safe=False))
        elif self._open is None or WORDS[word.kind] is not Shape.BLOCK:
            self._not_allowed(word)
        elif self._open in self._matches and not self._is_bad(self._open):
            # There are braces for both, so it was meant to stand inside.
            outer = self._phrases[self._open][0]
            message = f"a `{word.kind}` block cannot stand inside a `{outer.kind}` block"
            notes = [Note("the outer block starts here", outer.span)]
            self._report.add(
                INSTRUCTION_NOT_ALLOWED_HERE, message, word.span, hint="close the outer block first", notes=notes
            )
            return self._matches[index] + 1
        else:
            self._close(self._open, word)
            return index  # the header is read again, now outside
        return index + 1

    def _close(self, opened: int, before: Token | None) -> None:
        """Closes a block whose own brace is missing, at the block before which that was noticed or at the end."""
        end = before.span.start if before else self._phrases[-1][-1].span.end
        grammar.feed(self._parser, Token("CLOSE", "", Span(end, end)))
        self._open = None
        word = self._phrases[opened][0]
        if self._is_bad(opened):
            return  # its first line is wrong already; whether it has an end is the smaller question
        notes = [Note("the next block starts here", before.span)] if before else []
        hint = "put `}` alone on the line that ends it"
        self._report.add(UNCLOSED_BLOCK, f"this `{word.kind}` block is never closed", word.span, hint=hint, notes=notes,
                         fix=self._closing(before))

    def _closing(self, before: Token | None) -> Fix:
        """A brace on a line of its own, before another block or at the end."""
        text, end = self._source.text, line_end(self._source)
        if before is not None:
            at = self._source.line_starts[self._source.line_column(before.span.start)[0] - 1]
            return instead(Span(at, at), f"}}{end}", title="close the block before the next one", safe=False)
        begin = "" if text.endswith(("\n", "\r")) else end
        return instead(Span(len(text), len(text)), f"{begin}}}{end}", title="close the block", safe=False)

    def _is_bad(self, header: int) -> bool:
        return self._phrases[header][0].span.start in self._bad_headers

    def _not_allowed(self, word: Token) -> None:
        here = self._phrases[self._open][0].kind.lower() if self._open is not None else "file"
        places = [PLACES[c] for c, kinds in grammar.allowed().items() if word.kind in kinds]
        hint = "it belongs " + " or ".join(places) if places else None
        message = f"`{word.text}` cannot stand {PLACES[here]}"
        self._report.add(INSTRUCTION_NOT_ALLOWED_HERE, message, word.span, hint=hint)


def _phrases(tokens: Iterable[Token]) -> Iterator[list[Token]]:
    """The tokens that matter, in groups that stand or fall together: an instruction, a header, a closing brace."""
    phrase: list[Token] = []
    for token in tokens:
        if token.kind in TRIVIA:
            continue
        if phrase and (token.kind in WORDS or token.kind == "CLOSE"):
            phrase = []  # what came before was cut short by a mistake
        phrase.append(token)
        if token.kind in ("VALUE", "OPEN", "CLOSE"):
            yield phrase
            phrase = []


def _matching_braces(phrases: Sequence[Sequence[Token]]) -> dict[int, int]:
    """Each header's closing brace by counting braces alone, as indices of phrases; unclosed headers are absent."""
    matches: dict[int, int] = {}
    opened: list[int] = []
    for index, phrase in enumerate(phrases):
        if phrase[-1].kind == "OPEN":
            opened.append(index)
        elif phrase[0].kind == "CLOSE" and opened:
            matches[opened.pop()] = index
    return matches


def _with_comments(nodes: Sequence[Instruction | Block], comments: Sequence[Comment]) -> tuple[Item, ...]:
    """Each comment among the nodes where it stands: between two of them, or in a block's body."""
    items: list[Item] = []
    at = 0
    for node in nodes:
        until = _first_from(comments, node.span.start)
        items += comments[at:until]
        at = _first_from(comments, node.span.end)
        if isinstance(node, Block):
            body = [i for i in node.body if isinstance(i, Instruction)]
            items.append(replace(node, body=_with_comments(body, comments[until:at])))
        else:
            items.append(node)
    return (*items, *comments[at:])


def _first_from(comments: Sequence[Comment], offset: int) -> int:
    return bisect_left(comments, offset, key=lambda c: c.span.start)
