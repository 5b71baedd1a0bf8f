"""A Modelfile in Ollama's own terms: the commands its parser makes of it, or the very error it gives.

Strict: the instructions that only modelkit has are errors here, as they are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from modelkit.language.document import Document, Token
from modelkit.language.lexer import OLLAMA_WORDS, TRIVIA, Mistake, Problem, lex
from modelkit.language.source import Source
from modelkit.language.values import read_value

Command = dict[str, str]

_BAD_COMMAND = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", '
    '"parameter", "message", or "requires"'
)
_BAD_ROLE = 'message role must be one of "system", "user", or "assistant"'
_LINE_END = re.compile(r"[\r\n]")


class OllamaError(Exception):
    """What Ollama says when it cannot parse the file, word for word."""


def commands(file: Source | Document) -> list[Command]:
    """`[{"Name": "model", "Args": "llama3"}, …]`; raises OllamaError where Ollama's parser stops."""
    text = (file.source if isinstance(file, Document) else file).text
    lexed = lex(text, OLLAMA_WORDS)
    if lexed.mistakes:
        raise OllamaError(_said_of(lexed.mistakes[0], text))
    found = list(_commands(lexed.tokens))
    if not any(command["Name"] == "model" for command in found):
        raise OllamaError("no FROM line")
    return found


def _commands(tokens: Sequence[Token]) -> Iterator[Command]:
    name = role = ""
    for token in tokens:
        if token.kind == "KEY":
            name = token.text  # parameters share one set of names with the instructions
        elif token.kind == "ROLE":
            role = f"{token.text}: "
        elif token.kind == "VALUE":
            yield {"Name": name, "Args": role + read_value(token.text, token.span.start).text}
            role = ""
        elif token.kind not in TRIVIA:
            name = "model" if token.kind == "FROM" else token.kind.lower()


def _said_of(mistake: Mistake, text: str) -> str:
    if mistake.at >= len(text):
        return "unexpected EOF"
    # Inside a parameter's name or a role Ollama gives what it had read of it, and no line.
    if mistake.problem in (Problem.KEY, Problem.NOTHING):
        return f"unexpected EOF: {mistake.word}"
    if mistake.problem is Problem.ALONE and mistake.at > mistake.span.end:
        return "unexpected EOF: "
    # Ollama counts a carriage return and a line feed as two lines, and the one it trips over too.
    line = 1 + len(_LINE_END.findall(text, 0, mistake.at + 1))
    return f"(line {line}): {_BAD_ROLE if mistake.problem is Problem.ROLE else _BAD_COMMAND}"

