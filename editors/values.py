"""TextMate rules for what stands after a keyword: quoted and plain texts, and the operands with a shape of their own.

A quoted value follows Ollama's rule, which is what makes these rules worth having: only a quote that is the last thing
on its line closes it, so an instruction that a quote has swallowed is seen to be text.
"""

from __future__ import annotations

from typing import Any

from editors.words import (
    AUTO_WORDS,
    OTHER_PARAMETERS,
    PRECISION_WORDS,
    UNSETTABLE,
    alternatives,
    constants,
)
from modelkit.language.assertions import ASSERTIONS
from modelkit.language.checking.sweeps import SWEPT
from modelkit.language.engine_words import ENGINES, PLATFORMS
from modelkit.language.metrics import METRICS, OPERATORS
from modelkit.language.parameters import PARAMETERS
from modelkit.language.policies import POLICIES
from modelkit.language.serve import SERVE_KEYS

Rule = dict[str, Any]

_LINE_END = r"(?=[ \t]*$)"
_TRIPLE, _DOUBLE = '"""', '"'
_GO_AND_JINJA = (
    "and", "autoescape", "block", "break", "call", "continue", "define", "elif", "else", "end", "endblock", "endfor",
    "endif", "endmacro", "endset", "filter", "for", "if", "in", "is", "loop", "macro", "namespace", "not", "or",
    "range", "set", "template", "with",
)


def scope(name: str) -> Rule:
    return {"name": f"{name}.modelfile"}


def match(pattern: str, name: str, **groups: str) -> Rule:
    """A rule for one stretch of a line; `groups` are scopes of `_1`, `_2`, …"""
    rule: Rule = {"match": pattern} | (scope(name) if name else {})
    return rule | ({"captures": {key[1:]: scope(part) for key, part in groups.items()}} if groups else {})


def include(name: str) -> Rule:
    return {"include": f"#{name}"}


def word(words: str, name: str) -> Rule:
    """One of the words, in any case, between blanks."""
    return match(rf"(?<!\S)(?i:{words})(?!\S)", name)


def repository() -> dict[str, Rule]:
    """The rules that the instructions' rules include, by their name."""
    return {
        "text": {"patterns": [*_quoted(include("variable")), _plain(include("variable"))]},
        "template": {"patterns": [*_quoted(), _plain(include("tag-plain"))]},
        "tag-triple": _tags(rf"{_TRIPLE}[ \t]*$"), "tag-double": _tags(rf"{_DOUBLE}[ \t]*$"), "tag-plain": _tags("$"),
        "tag-inside": {"patterns": _inside_tags()},
        "variable": match(r"(\$\{)([A-Za-z_][A-Za-z0-9_]*)(\})", "variable.other.argument",
                          _1="punctuation.definition.variable", _3="punctuation.definition.variable"),
        "string": match(r'"[^"]*"', "string.quoted.double"),
        "number": match(r"(?<![^\s<>=])[+-]?([0-9][0-9.]*([eE][+-]?[0-9]+)?|\.[0-9]+)"
                        r"((?:[ \t]*(tok/s|tps|[kKmMgGtT]?i?[bB]|ms|us|[smh]|%))?)(?!\S)", "constant.numeric",
                        _3="keyword.other.unit"),
        "boolean": word("true|false", "constant.language.boolean"),
        "compare": match(alternatives([*OPERATORS, "~=", "==="]), "keyword.operator.comparison"),
        "plain": match(r"\S+", "string.unquoted"),
    } | {name: {"patterns": patterns} for name, patterns in _operands().items()}


def _operands() -> dict[str, list[Rule]]:
    """What follows the instructions whose operands are words of a table, by the instruction in lower case."""
    variable, plain, compare, number = include("variable"), include("plain"), include("compare"), include("number")
    precision = word(alternatives(PRECISION_WORDS), "support.constant.precision")
    engine = word(alternatives(ENGINES), "support.type.engine")
    version = match(r"(?<=[<>=~!])[ \t]*[0-9][^\s,]*", "constant.numeric.version")
    return {
        "adapter": [match(r"(?<=[ \t])((?i:AS))[ \t]+(\S+)(?=[ \t]*$)", "", _1="keyword.operator.word",
                          _2="entity.name.type.model"), variable, plain],
        "quantize": [precision, word(alternatives(AUTO_WORDS), "keyword.operator.word"), compare, number, variable,
                     plain],
        "engine": [engine, compare, version, match(",", "punctuation.separator"), variable, plain],
        "platform": [word(alternatives(PLATFORMS), "support.type.platform"), variable, plain],
        "policy": [word(alternatives(POLICIES), "support.constant.policy"), variable, plain],
        "flag": [match(r"(?<!\S)--?[A-Za-z][^\s\"'=]*", "entity.other.attribute-name.flag"),
                 match("=", "keyword.operator.assignment"), include("string"), variable, number, plain],
        "unset": [word(alternatives(UNSETTABLE), "keyword.other.instruction"),
                  match(r"\S+", "variable.parameter")],
        "try": [word(alternatives(SWEPT), "keyword.other.instruction"), precision, engine,
                word(alternatives([*PARAMETERS, *SERVE_KEYS]), "variable.parameter"), number, include("boolean"),
                variable, plain],
        "gate": [word(alternatives(METRICS) + r"|eval\.[A-Za-z0-9][A-Za-z0-9_.-]*", "support.variable.metric"),
                 compare, number, variable, plain],
        "assertion": [word("not", "keyword.operator.logical"),
                      word(alternatives(ASSERTIONS), "support.function.assertion"),
                      match(r"(?<!\S)/.*/(?!\S)", "string.regexp"), include("string"), compare, number,
                      variable, plain],
        "repeat": [word("PASS", "keyword.operator.word"), number, plain],
        "value": [*_constants(), include("boolean"), number,
                  match(r"(?<!\S)((?:env|file):)(\S+)", "", _1="keyword.other.reference",
                        _2="variable.other.secret"), variable, plain],
    }


def _constants() -> list[Rule]:
    """The words that values of parameters and SERVE keys can be."""
    kinds = [PARAMETERS[name].kind for name in OTHER_PARAMETERS] + [row.kind for row in SERVE_KEYS.values()]
    words = sorted({constant for kind in kinds for constant in constants(kind)} - {"true", "false"})
    return [word(alternatives(words), "constant.language")]


def _quoted(*inside: Rule) -> list[Rule]:
    """A value in quotes, over as many lines as it takes. Without `inside` it is a template, with tags."""
    return [{
        "begin": f"({quote})", "end": f"({quote}){_LINE_END}", **scope(f"string.quoted.{name}"),
        "beginCaptures": {"1": scope("punctuation.definition.string.begin")},
        "endCaptures": {"1": scope("punctuation.definition.string.end")},
        "patterns": list(inside) or [include(f"tag-{name}")],
    } for quote, name in ((_TRIPLE, "triple"), (_DOUBLE, "double"))]


def _plain(inside: Rule) -> Rule:
    """A value that runs to the end of its line."""
    return {"begin": r"(?=[^\s\"])", "end": "$", **scope("string.unquoted"), "patterns": [inside]}


def _tags(ends: str) -> Rule:
    """A template's tags. One that is not closed reaches to where its value `ends`, and no further."""
    return {"patterns": [
        {"begin": opening, "end": rf"({closing})|(?={ends})", **scope(name), "patterns": patterns,
         "beginCaptures": {"0": scope("punctuation.section.embedded.begin")},
         "endCaptures": {"1": scope("punctuation.section.embedded.end")}}
        for opening, closing, name, patterns in (
            (r"\{\{-?[ \t]*/\*", r"\*/[ \t]*-?\}\}", "comment.block.go", []),
            (r"\{#", r"#\}", "comment.block.jinja", []),
            (r"\{\{-?", r"-?\}\}", "meta.embedded.line", [include("tag-inside")]),
            (r"\{%-?", r"-?%\}", "meta.embedded.line", [include("tag-inside")]))]}


def _inside_tags() -> list[Rule]:
    return [
        match(rf"\b(?:{alternatives(_GO_AND_JINJA)})\b", "keyword.control.template"),
        match(r"\b(?:true|false|none|nil)\b", "constant.language"),
        match(r"'[^']*'", "string.quoted.single"), match(r'"(?:[^"\\]|\\.)*"(?!"*[ \t]*$)', "string.quoted.double"),
        match(r"`[^`]*`", "string.quoted.other"),
        match(r"\$[A-Za-z0-9_]*", "variable.other"), match(r"\.[A-Za-z_][A-Za-z0-9_]*", "variable.other.member"),
        match(r"\|[ \t]*([A-Za-z_][A-Za-z0-9_]*)", "", _1="support.function"),
        match(r"\b[0-9]+\b", "constant.numeric"), match(r"[A-Za-z_][A-Za-z0-9_]*", "variable.other"),
    ]
