"""The TextMate grammar of Modelfiles: VS Code, JetBrains, Sublime Text, Shiki and GitHub read this format.

It follows the lexer's rules, and a test compares the two: which line starts an instruction, where a value ends, what
is a comment.
"""

from __future__ import annotations

from editors.values import Rule, include, match, repository, scope
from editors.words import (
    BLOCKS,
    GONE_PARAMETERS,
    OTHER_PARAMETERS,
    PLACES,
    TEXT_PARAMETERS,
    alternatives,
    instructions,
    misplaced,
)
from modelkit.language.instructions import Place
from modelkit.language.lexer import ROLES
from modelkit.language.names import VARIABLE
from modelkit.language.serve import SERVE_KEYS

SCOPE = "source.modelfile"
_START = r"^[ \t]*"
_TEMPLATES = ("TEMPLATE",)


def grammar() -> dict[str, object]:
    """The whole grammar, as its JSON file has it."""
    line, mark = "comment.line.number-sign", "punctuation.definition.comment"
    rules: dict[str, Rule] = {"comment": {"patterns": [
        match(rf"{_START}(#+)[ \t]*((?i:modelkit):[ \t]*(?i:ignore(?:-file)?))[ \t]*\[([^\]]*)\].*$", line,
              _1=mark, _2="keyword.other.directive", _3="constant.other.rule"),
        match(rf"{_START}(#).*$", line, _1=mark)]}}
    rules |= _keyed()
    for place in PLACES:
        rules |= _in_place(place)
    return {
        "name": "Modelfile", "scopeName": SCOPE, "fileTypes": ["Modelfile", "modelfile"],
        "information_for_contributors": ["Made from the tables in modelkit/language: `make golden` rewrites it."],
        "patterns": [include("comment"), include("stage"), include("test"), include("in-file"),
                     match(rf"{_START}(?i:{alternatives(BLOCKS)})(?!\S)", "keyword.control.block"),
                     match(rf"{_START}\}}", "invalid.illegal.brace")],
        "repository": rules | _blocks() | repository(),
    }


def _instruction(words: str, value: list[Rule], *, gap: str = r"[ \t]+", unquoted: bool = False,
                 name: str = "keyword.control") -> Rule:
    """A keyword and its value; with `unquoted` only where no quote opens the value."""
    return {"begin": rf"{_START}((?i:{words})){gap}" + (r"(?=[^\s\"])" if unquoted else ""), "end": "$",
            "beginCaptures": {"1": scope(name)}, "patterns": value}


def _keyed() -> dict[str, Rule]:
    """PARAMETER, SERVE, MESSAGE and ARG, whose second word decides what the third is."""
    def keyed(word: str, keys: str, name: str, value: list[Rule], gap: str) -> Rule:
        return {"begin": rf"{_START}((?i:{word})){gap}({keys})[ \t]+", "end": "$", "patterns": value,
                "beginCaptures": {"1": scope("keyword.control"), "2": scope(name)}}

    text, known, some = [include("text")], "variable.parameter", "[A-Za-z0-9_]+"
    operand = [*_quoted_alone(), include("value")]
    blanks = r"[ \t]+"
    return {
        "parameter": {"patterns": [
            keyed("PARAMETER", alternatives(TEXT_PARAMETERS), known, text, "[ \\t]"),
            keyed("PARAMETER", alternatives(OTHER_PARAMETERS), known, operand, "[ \\t]"),
            keyed("PARAMETER", alternatives(GONE_PARAMETERS), "invalid.deprecated", text, "[ \\t]"),
            keyed("PARAMETER", some, "variable.other.unknown", text, "[ \\t]"), _instruction("PARAMETER", text)]},
        "serve": {"patterns": [
            keyed("SERVE", alternatives(SERVE_KEYS), known, operand, blanks),
            keyed("SERVE", some, "variable.other.unknown", text, blanks), _instruction("SERVE", text)]},
        "message": {"patterns": [
            keyed("MESSAGE", alternatives(ROLES), "constant.language.role", text, "[ \\t]"),
            _instruction("MESSAGE", text)]},
        "arg": {"patterns": [
            keyed("ARG", VARIABLE.pattern, "variable.other.argument", text, blanks), _instruction("ARG", text)]},
    }


def _quoted_alone() -> list[Rule]:
    """A number or a word in quotes is one all the same; the rule for texts colours it."""
    return [{"begin": r"(?=\")", "end": "$", "patterns": [include("text")]}]


def _in_place(place: Place) -> dict[str, Rule]:
    """What may stand there, the instructions with operands of their own first; and what may not, marked as wrong."""
    allowed = instructions(place)
    operands = {"EXPECT": "assertion" if place == "test" else "gate"}
    shaped = [word for word in allowed if word in _SHAPED or word in operands]
    keyed = [word for word in allowed if word in _KEYED]
    plain = [word for word in allowed if word not in keyed and word not in _TEMPLATES]
    templates = [word for word in allowed if word in _TEMPLATES]
    patterns = [include(word.lower()) for word in keyed]
    patterns += [_instruction(word, [include(operands.get(word, word.lower()))], unquoted=True) for word in shaped]
    patterns += [_instruction(alternatives(templates), [include("template")])] if templates else []
    patterns += [_instruction(alternatives(plain), [include("text")])]
    patterns += [_instruction(alternatives(misplaced(place)), [include("text")], name="invalid.illegal.misplaced")]
    return {f"in-{place}": {"patterns": patterns}}


_KEYED = ("PARAMETER", "SERVE", "MESSAGE", "ARG")
_SHAPED = ("ADAPTER", "QUANTIZE", "ENGINE", "PLATFORM", "POLICY", "FLAG", "UNSET", "TRY", "REPEAT")


def _blocks() -> dict[str, Rule]:
    """STAGE and TEST, up to the line that starts with `}`."""
    name = r"(\S+)(?:[ \t]+((?i:EXTENDS))[ \t]+(\S+))?"
    return {
        "stage": _block("STAGE", name, "entity.name.section.stage", _3="keyword.operator.word",
                        _4="entity.other.inherited-class"),
        "test": _block("TEST", r"(.*\S)", "entity.name.section.test"),
    }


def _block(word: str, header: str, name: str, **groups: str) -> Rule:
    assert word in BLOCKS
    opening = 3 + len(groups)
    captures = {"1": "keyword.control.block", "2": name, str(opening): "punctuation.section.block.begin"}
    captures |= {key[1:]: part for key, part in groups.items()}
    return {
        "begin": rf"{_START}((?i:{word}))[ \t]+{header}[ \t]*(\{{)[ \t]*$", "end": rf"{_START}(\}})",
        **scope(f"meta.block.{word.lower()}"),
        "beginCaptures": {key: scope(part) for key, part in sorted(captures.items())},
        "endCaptures": {"1": scope("punctuation.section.block.end")},
        "patterns": [include("comment"), include(f"in-{word.lower()}")],
    }
