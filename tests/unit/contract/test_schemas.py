"""Schemas and grammars that would take an engine's compiler for ever, or down, are refused before it sees them."""

from __future__ import annotations

import pytest

from modelkit.contract import request
from modelkit.contract.errors import ContractError
from modelkit.contract.schemas import LEVELS, RULES, problem, rules
from tests.unit.contract.profiles import FULL, ask

TWO = {"anyOf": [{"type": "integer"}, {"type": "string"}]}


def chained(count: int, link) -> dict:
    """Definitions that refer to the next one, each by `link`."""
    last = {f"d{count}": {"type": "string"}}
    return {"$ref": "#/$defs/d0", "$defs": {f"d{i}": link(f"#/$defs/d{i + 1}") for i in range(count)} | last}


@pytest.mark.parametrize("schema", [
    {}, {"type": "object", "properties": {"a": TWO, "b": TWO, "c": TWO}},
    {"properties": {name: {"anyOf": [TWO] * 200} for name in ("anyOf", "allOf", "$ref", "enum")}},
    {"$ref": "#"}, {"$ref": "#/nowhere/at/all"}, {"$ref": "https://example.com"}, {"$ref": 7},
    {"allOf": 7, "anyOf": {}}, {"allOf": [TWO] * 10}, {"enum": [{"allOf": [TWO] * 99}], "const": {"allOf": [TWO] * 99}},
    {"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}, "value": TWO}}}, "$ref": "#/$defs/node"},
    chained(40, lambda at: {"items": {"$ref": at}}),
    chained(24, lambda at: {"anyOf": [{"$ref": at}, {"items": {"$ref": at}}]}),
])
def test_what_people_write_passes(schema) -> None:
    assert problem(schema) is None


@pytest.mark.parametrize(("schema", "said"), [
    ({"allOf": [TWO] * 11}, "combines more than"),
    ({"allOf": [{"properties": {"a": TWO}}] * 11}, "combines more than"),
    ({"anyOf": [{}] * 40, "oneOf": [{}] * 40}, "combines more than"),
    ({"$defs": {"two": TWO}, "allOf": [{"$ref": "#/$defs/two"}] * 11}, "combines more than"),
    (chained(20, lambda at: {"allOf": [{"$ref": at}, TWO]}), "combines more than"),
    (chained(LEVELS, lambda at: {"$ref": at}), "nests deeper"),
    (chained(1200, lambda at: {"items": {"$ref": at}}), "nests deeper"),
    ({"properties": chained(400, lambda at: {"items": {"$ref": at.replace("#", "#/properties")}})}, "nests deeper"),
    ({"$defs": dict(reversed(chained(300, lambda at: {"items": {"$ref": at}})["$defs"].items()))}, "nests deeper"),
])
def test_what_no_compiler_should_see(schema, said) -> None:
    assert said in (problem(schema) or "")
    with pytest.raises(ContractError, match=said) as refused:
        request.chat(ask(structured_outputs={"json": schema}), FULL)
    assert (refused.value.status, refused.value.param) == (400, "structured_outputs.json")


@pytest.mark.parametrize("grammar", [
    "start: a0\n" + "".join(f"a{i}: a{i + 1}\n" for i in range(RULES)),
    "root ::= a0\n" + "".join(f"a{i} ::= a{i + 1}\n" for i in range(RULES)),
    "start: " + "".join(f"({chr(97 + i % 26)}" for i in range(RULES)),
])
def test_a_grammar_has_only_so_many_rules(grammar) -> None:
    assert rules(grammar) > RULES
    with pytest.raises(ContractError, match="rules and brackets"):
        request.chat(ask(structured_outputs={"grammar": grammar}), FULL)


def test_a_definition_counts_once_in_both_dialects() -> None:
    assert rules('start: "a" b\nb: "c"') == rules('root ::= "a" b\nb ::= "c"') == 2
