"""Structured outputs: what a schema, a pattern, a choice or a grammar forces"""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tests.conformance.client import Server, envelope, finish, joined, text
from tests.conformance.meaning import NAME

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


# Each leaves little to the model, so that few tokens are enough.
SCHEMAS: dict[str, dict[str, Any]] = {
    "an enum": closed(a={"enum": ["x", "y"]}),
    "a constant": closed(a={"const": "x.y"}),
    "a boolean": closed(a={"type": "boolean"}),
    "null": closed(a={"type": "null"}),
    "an integer": closed(a={"type": "integer", "minimum": 3, "maximum": 7}),
    "an integer of one value": closed(a={"const": 42}),
    "two members": closed(a={"const": 1}, b={"const": 2}),
    "a member called as nothing else": closed(**{"a b.c": {"const": 1}}),
    "an object in it": closed(a=closed(b={"const": 1})),
    "a list": closed(a={"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 2}),
    "a tuple": closed(a={"type": "array", "prefixItems": [{"const": 1}, {"const": "b"}], "items": False,
                         "minItems": 2}),
    "a pattern": closed(a={"type": "string", "pattern": "^[ab]{2}$"}),
    "a short string": closed(a={"type": "string", "minLength": 1, "maxLength": 3}),
    "a date": closed(a={"type": "string", "format": "date"}),
    "one of two": closed(a={"anyOf": [{"const": 1}, {"const": "one"}]}),
    "a reference": {**closed(a={"$ref": "#/$defs/one"}), "$defs": {"one": {"const": 1}}},
    "types in a list": closed(a={"type": ["boolean", "null"]}),
    "mixed enum": closed(a={"enum": [1, "one", None, True]}),
    "Unicode": closed(**{"größe": {"enum": ["groß", "klein"]}}),
    "escapes": closed(a={"const": "\"\\\n\t"}),
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=list(SCHEMAS))
def test_a_schema_is_kept(engine: Server, schema: dict[str, Any]) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema, "strict": True}}
    answer = engine.post(CHAT, engine.asked({"response_format": wanted, "max_tokens": 24}))
    if answer.status_code == 400:  # an engine that cannot says so; which ones is in the table of differences
        envelope(answer, 400)
    elif answer.json()["choices"][0]["finish_reason"] == "stop":
        jsonschema.validate(json.loads(text(answer.json())), schema)
    else:  # so small a model likes blanks, which JSON allows between any two tokens
        assert text(answer.json()).startswith("{")


@pytest.mark.parametrize("fields", [
    {"response_format": {"type": "json_schema", "json_schema": {"name": "it", "schema": SCHEMAS["an enum"]}}},
    {"structured_outputs": {"json": SCHEMAS["an enum"]}},
    {"structured_outputs": {"json": json.dumps(SCHEMAS["an enum"])}},
], ids=["response_format", "structured_outputs", "as text"])
def test_a_schema_may_be_said_in_three_ways(engine: Server, fields: dict[str, Any]) -> None:
    said = json.loads(text(engine.chat(**fields, max_tokens=24)))
    assert said["a"] in ("x", "y")
    chunks = engine.streamed(**fields, max_tokens=24)
    assert json.loads(joined(chunks)) == said and finish(chunks) == "stop"
    assert json.loads(text(engine.complete(**fields, max_tokens=24)))["a"] in ("x", "y")


BAD_SCHEMAS: dict[str, Any] = {
    "an unknown type": {"type": "thing"}, "a type that is a number": {"type": 7},
    "properties in a list": {"properties": []},
    "a bad pattern": {"type": "string", "pattern": "["}, "a reference to nothing": {"$ref": "#/$defs/no"},
    "an empty enum": {"enum": []}, "minimum above maximum": {"type": "integer", "minimum": 2, "maximum": 1},
}


@pytest.mark.parametrize("schema", BAD_SCHEMAS.values(), ids=list(BAD_SCHEMAS))
def test_a_schema_that_is_none(engine: Server, schema: Any) -> None:
    """A 400 in the envelope, or, for what JSON Schema allows and nothing satisfies, an answer; never a 500."""
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    answer = engine.post(CHAT, engine.asked({"response_format": wanted, "max_tokens": 2}))
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        envelope(answer, 400)
    engine.chat(max_tokens=8)


def test_a_json_object_is_one(engine: Server) -> None:
    answer = engine.chat(response_format={"type": "json_object"}, max_tokens=60)
    assert text(answer).lstrip().startswith("{")
    if answer["choices"][0]["finish_reason"] == "stop":
        assert isinstance(json.loads(text(answer)), dict)


@pytest.mark.parametrize("choices", [["yes"], ["yes", "no"], ["a.b", "a.c"], ["\"quoted\"", "back\\slash"],
                                     ["été", "日本"],
                                     ["x" * 20, "y"], [" leading", "trailing "]], ids=json.dumps)
def test_one_of_the_choices_is_the_answer(engine: Server, choices: list[str]) -> None:
    answer = engine.chat(structured_outputs={"choice": choices}, max_tokens=30)
    assert text(answer) in choices
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_format_of_text_forces_nothing(engine: Server) -> None:
    assert text(engine.chat(response_format={"type": "text"}, max_tokens=8)) == text(engine.chat(max_tokens=8))


def test_a_forced_answer_may_be_cut_by_its_length(engine: Server) -> None:
    answer = engine.chat(structured_outputs={"choice": ["supercalifragilistic"]}, max_tokens=2)
    assert "supercalifragilistic".startswith(text(answer)) and text(answer)
    assert answer["choices"][0]["finish_reason"] == "length"


def test_log_probabilities_of_a_forced_answer(engine: Server) -> None:
    """Either what the model would have said, or what the grammar left, where a forced token is certain."""
    answer = engine.chat(structured_outputs={"choice": ["Zebra"]}, max_tokens=8, logprobs=True, top_logprobs=1)
    first = answer["choices"][0]["logprobs"]["content"][0]
    assert first["logprob"] < -1 or first["logprob"] == 0
    engine.seen.note("log-probabilities are the model's own under a grammar, too", first["logprob"] < -1)


def test_each_of_several_answers_keeps_the_form(engine: Server) -> None:
    answer = engine.chat(structured_outputs={"choice": ["heads", "tails"]}, n=3, temperature=1.5, max_tokens=8)
    assert {choice["message"]["content"] for choice in answer["choices"]} <= {"heads", "tails"}


@pytest.mark.parametrize(("kind", "value"), [("regex", "[ab]{3}"), ("grammar", 'start: "abc" | "abd"')])
def test_a_pattern_or_a_grammar_is_kept_where_the_engine_can(engine: Server, kind: str, value: str) -> None:
    asked = {"model": NAME, "messages": engine.asked({})["messages"], "structured_outputs": {kind: value},
             "max_tokens": 8}
    answer = engine.post(CHAT, asked)
    if answer.status_code == 400:
        error = envelope(answer, 400)
        assert (error["code"], error["param"]) == ("unsupported_parameter", f"structured_outputs.{kind}")
    else:
        assert len(text(answer.json())) == 3 and set(text(answer.json())) <= set("abcd")
