"""The TextMate grammar reads Modelfiles as the lexer does, and has every word of the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from editors import words
from editors.generate import files
from modelkit.language.document import Token
from modelkit.language.examples import EXAMPLES
from modelkit.language.instructions import INSTRUCTIONS, Place
from modelkit.language.lexer import lex
from modelkit.language.parser import parse
from modelkit.language.source import Source
from tests.conftest import Golden
from tests.unit.editors.textmate import scope_of, scopes

ROOT = Path(__file__).parents[3]
CORPUS = {str(path.relative_to(ROOT)): path.read_text("utf-8")
          for folder in ("examples", "tests/golden/syntax") for path in sorted((ROOT / folder).rglob("*odelfile"))}
CORPUS |= {f"{rule}, put right": example.good for rule, example in EXAMPLES.items()}
CORPUS |= {row.keyword: row.example for row in INSTRUCTIONS.values() if "file" in row.where}


@pytest.mark.parametrize("path", sorted(files()))
def test_a_file_is_what_the_tables_make_of_it(path: str, golden: Golden) -> None:
    golden(ROOT / path, files()[path])


@pytest.mark.parametrize("name", CORPUS)
def test_a_file_is_read_as_the_lexer_reads_it(name: str) -> None:
    assert list(disagreements(CORPUS[name])) == []


_PIECES = ('"', '"', '"""', " ", " ", "\n", "\n", "# a", "FROM b", "STAGE c {", "}", "{{", "}}", "{%", "%}", "${A}",
           "x", "0.5", "temperature", "stop", "user", "AS", "é", "語", "'", "/", "-", ">=", "{{/*", "*/}}", "\t")
_TEXT = st.lists(st.sampled_from(_PIECES), max_size=7).map("".join)
_LINE = _TEXT.map(lambda text: text.replace("\n", " "))
_VALUE = st.one_of(_LINE, _TEXT.map('"{}"'.format), _TEXT.map('"""{}"""'.format))


def _lines(place: Place) -> st.SearchStrategy[str]:
    keywords = st.sampled_from([*words.instructions(place), "PARAMETER stop", "PARAMETER", "from"])
    instruction = st.tuples(keywords, _VALUE).map(" ".join)
    lines = st.lists(st.one_of(instruction, instruction, _LINE.map("#{}".format), st.just("")), max_size=4)
    return lines.map(lambda some: "".join(f"{line}\n" for line in some))


_FILES = st.lists(st.one_of(
    _lines("file"), _lines("stage").map("STAGE dev {{\n{}}}\n".format), _lines("test").map("TEST a {{\n{}}}\n".format),
), min_size=1, max_size=3).map("".join)


@settings(max_examples=400, deadline=None)
@given(_FILES)
@example('TEMPLATE """{{""""\nFROM \n')
def test_any_text_without_a_mistake_is_read_as_the_lexer_reads_it(text: str) -> None:
    document, found = parse(Source("Modelfile", text))
    shape = ("instruction-not-allowed-here", "stray-brace", "unclosed-block", "text-after-brace")
    assume(not lex(text).mistakes and not any(diagnostic.rule.id in shape for diagnostic in found))
    assert "".join(token.text for token in document.tokens) == text
    assert list(disagreements(text)) == []


def disagreements(text: str) -> Iterator[str]:
    """The tokens that the grammar colours as something else."""
    found = scopes(text)
    for token in lex(text).tokens:
        for offset, character in enumerate(token.text):
            inner = found[token.span.start + offset]
            if not character.isspace() and not _agrees(token, inner):
                yield f"{token.kind} {token.text!r}: {character!r} is {inner}"
                break


def _agrees(token: Token, scope: tuple[str, ...]) -> bool:
    inner = [name for name in scope if not name.startswith("meta.block")]
    kinds = {name.split(".")[0] for name in inner}
    if token.kind in INSTRUCTIONS:
        return inner in (["keyword.control"], ["keyword.control.block"])
    if token.kind == "COMMENT":
        return inner[:1] == ["comment.line.number-sign"]
    if token.kind in ("OPEN", "CLOSE"):
        return inner[:1] == [f"punctuation.section.block.{'begin' if token.kind == 'OPEN' else 'end'}"]
    if token.kind in ("VALUE", "HEADER", "KEY", "ROLE"):
        return bool(inner) and "keyword.control" not in inner and not inner[0].startswith("comment.line")
    return not kinds or token.kind in ("ERROR", "IGNORED")


@pytest.mark.parametrize(("text", "part", "scope"), [
    ("FROM x", "FROM", "keyword.control"),
    ("from x", "from", "keyword.control"),
    ("STAGE dev {\n  NAME x\n}", "NAME", "invalid.illegal.misplaced"),
    ("USER x", "USER", "invalid.illegal.misplaced"),
    ("PARAMETER mirostat 2", "mirostat", "invalid.deprecated"),
    ("PARAMETER tfs_z 2", "tfs_z", "invalid.deprecated"),
    ("PARAMETER temprature 2", "temprature", "variable.other.unknown"),
    ('PARAMETER stop "User:\nPARAMETER stop "Bot:"', "PARAMETER stop \"B", "string.quoted.double"),
    ("FROM x # y", "# y", "string.unquoted"),
    ("# FROM x", "FROM", "comment.line.number-sign"),
    ("# modelkit: ignore[not-yet] on purpose", "modelkit", "keyword.other.directive"),
    ("# modelkit: ignore[not-yet] on purpose", "not-yet", "constant.other.rule"),
    ("# modelkit: ignore[not-yet] on purpose", "purpose", "comment.line.number-sign"),
    ("SERVE api_key env:KEY", "env:", "keyword.other.reference"),
    ("SERVE kv_cache fp8", "fp8", "constant.language"),
    ("SERVE keep_alive 5m", "5", "constant.numeric"),
    ("STAGE a EXTENDS prod {\n}", "EXTENDS", "keyword.operator.word"),
    ("STAGE a EXTENDS prod {\n}", "prod", "entity.other.inherited-class"),
    ("TEST \"a b\" {\n}", '"a', "entity.name.section.test"),
    ("STAGE dev", "STAGE", "keyword.control.block"),
    ("}", "}", "invalid.illegal.brace"),
    ("ADAPTER ./a b.gguf AS kind", "kind", "entity.name.type.model"),
    ("ENGINE vllm >=0.32,<0.34", "0.34", "constant.numeric.version"),
    ("QUANTIZE q4_k_m", "q4_k_m", "support.constant.precision"),
    ("SYSTEM Hello ${WHO}", "${", "punctuation.definition.variable"),
    ('TEMPLATE """{{ .System }}"""', ".System", "variable.other.member"),
    ('TEMPLATE """{{ .System\n"""\nFROM x', "FROM", "keyword.control"),
    ('TEMPLATE """{{""""\nFROM x', "FROM", "keyword.control"),
    ('TEMPLATE """{% for m in x %}"""', "for", "keyword.control.template"),
    ('TEST t {\n  EXPECT not contains "a"\n}', "not", "keyword.operator.logical"),
    ("STAGE prod {\n  EXPECT ttft.p95 <= 500ms\n}", "ttft", "support.variable.metric"),
    ("FLAG --seed 3", "--seed", "entity.other.attribute-name.flag"),
])
def test_a_word_is_coloured_as_what_it_is(text: str, part: str, scope: str) -> None:
    assert scope_of(text, part) == scope


_PLACED = {"file": "{}", "stage": "STAGE experiment {{\n  {}\n}}", "test": 'TEST "t" {{\n  {}\n}}'}


@pytest.mark.parametrize("place", words.PLACES)
def test_every_instruction_is_a_keyword_where_it_may_stand_and_wrong_elsewhere(place: Place) -> None:
    for row in INSTRUCTIONS.values():
        if not row.block:
            text = _PLACED[place].format(f"{row.keyword} x")
            right = "keyword.control" if place in row.where else "invalid.illegal.misplaced"
            assert (row.keyword, scope_of(text, row.keyword)) == (row.keyword, right)


_LINES = {
    "parameters": ("PARAMETER {} 1", "variable.parameter"), "deprecated": ("PARAMETER {} 1", "invalid.deprecated"),
    "removed": ("PARAMETER {} 1", "invalid.deprecated"), "roles": ("MESSAGE {} x", "constant.language.role"),
    "precisions": ("QUANTIZE {}", "support.constant.precision"), "engines": ("ENGINE {}", "support.type.engine"),
    "platforms": ("PLATFORM {}", "support.type.platform"), "serve keys": ("SERVE {} 1", "variable.parameter"),
    "policies": ("POLICY {}", "support.constant.policy"), "metrics": ("EXPECT {} <= 1", "support.variable.metric"),
    "assertions": ('TEST "" {{\n  EXPECT {} 1\n}}', "support.function.assertion"),
    "operators": ("EXPECT errors {} 1", "keyword.operator.comparison"),
}


@pytest.mark.parametrize("name", words.LISTS)
def test_every_word_of_a_table_is_known(name: str) -> None:
    line, scope = _LINES[name]
    for word in words.LISTS[name]:
        text = line.format(word)
        at = text.index(f" {word} ") + 1 if f" {word} " in text else text.rindex(word)
        found = scopes(text)[at : at + len(word)]
        assert (word, {names[-1] for names in found}) == (word, {scope})


def test_the_grammar_includes_only_rules_that_it_has() -> None:
    path = ROOT / "editors/vscode/syntaxes/modelfile.tmLanguage.json"
    grammar = json.loads(path.read_text("utf-8"))
    used = {rule["include"][1:] for rule in _rules(grammar) if "include" in rule}
    assert used == set(grammar["repository"])


def _rules(value: object) -> Iterator[dict[str, str]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for part in value if isinstance(value, list) else ():
        yield from _rules(part)
