"""What a grammar lets through, what is no grammar, and what that costs."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest
from llguidance import LLParserLimits

from modelkit.contract.errors import ContractError
from modelkit.llamacpp.grammar import CACHED, Grammars, _closed, compiled
from tests.unit.llamacpp.vocabularies import Bytes

VOCABULARY = Bytes()
GRAMMARS = Grammars(VOCABULARY)

PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer"}},
          "required": ["name", "age"], "additionalProperties": False}

NODE = {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [
    {"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["value"], "additionalProperties": False}

CHOICES = ["yes", "no", "é🙂", 'say "hi"\n', "a\\b/c"]


def matcher(kind, value=None, after=()):
    return GRAMMARS.matcher(compiled(kind, value, "it", VOCABULARY), after)


def allowed(one) -> np.ndarray:
    scores = np.zeros(VOCABULARY.size, np.float32)
    return np.flatnonzero(one.mask(scores, np.empty_like(scores)) == 0)


def follows(one, text: str) -> bool:
    """Whether an answer may be exactly this text."""
    for token in VOCABULARY.tokenize(text, parse_special=False):
        if one.admissible([token]) == 0:
            return False
        one.accept(token)
    return VOCABULARY.eos in allowed(one) and one.admissible([VOCABULARY.eos]) == 1


@pytest.mark.parametrize(("kind", "value", "fits", "fails"), [
    ("json_object", None, ['{}', '{"a":[1,{"b":null}],"c d":" e "}'], ["[]", "1", "{", "", '{"a": 1}', "{} "]),
    ("json_schema", PERSON, ['{"name":"Bo","age":-1}', '{"name":"🙂","age":0}'],
     ['{"age":12,"name":"Bo"}', '{"name":"Bo"}', '{"name":"toolong","age":1}', '{"name":"a","age":1,"x":1}',
      '{"name": "Bo", "age": 12}']),
    ("json_schema", json.dumps(PERSON), ['{"name":"Bo","age":7}'], ["{}"]),
    ("json_schema", {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
     ['{"value":1}', '{"value":1,"next":{"value":2,"next":null}}'], ['{"next":null}', '{"value":1,"next":{}}']),
    ("json_schema", {"enum": ["a", 1, None]}, ['"a"', "1", "null"], ['"b"', "2"]),
    ("regex", r"\d{3}-[a-z]+", ["123-abc"], ["12-abc", "123-", "123-abc ", "x123-abc"]),
    ("regex", r"^a|b$", ["a", "b"], ["ab", ""]),
    ("regex", "é+🙂?", ["é", "éé🙂"], ["🙂", "e"]),
    ("choice", CHOICES, CHOICES, ["ye", "maybe", "yesno"]),
    ("grammar", 'start: "a" b+\nb: "b" | "c"', ["ab", "acb"], ["a", "b"]),
    ("grammar", 'root ::= "a" b+\nb ::= [b-c]', ["ab", "acb"], ["a", "b"]),
    ("grammar", 'start: "<tool>" %json {"type": "object"} "</tool>"', ['<tool>{"a":1}</tool>'], ['{"a":1}']),
])
def test_exactly_the_texts_of_the_grammar_are_let_through(kind, value, fits, fails) -> None:
    assert [text for text in fits if not follows(matcher(kind, value), text)] == []
    assert [text for text in fails if follows(matcher(kind, value), text)] == []


@pytest.mark.parametrize(("kind", "value", "said"), [
    ("json_schema", "{", "JSON schema"),
    ("json_schema", {"type": "thing"}, "JSON schema"),
    ("json_schema", {"$ref": "https://example.com/a.json"}, "JSON schema"),
    ("json_schema", {"$ref": "#"}, "JSON schema"),
    ("json_schema", {"type": "string", "pattern": "("}, "JSON schema"),
    ("json_schema", {"type": "integer", "minimum": 3, "maximum": 2}, "JSON schema"),
    ("json_schema", {"oneOf": [{"type": "object"}, {"type": "object", "properties": {"a": {}}}]}, "oneOf"),
    ("regex", "(", "unclosed group"),
    ("regex", "a(?=b)", "look-around"),
    ("regex", r"(a)\1", "backreferences"),
    ("regex", "(" * 3000 + ")" * 3000, "regular expression"),
    ("grammar", "hello", "grammar"),
    ("grammar", "start: nothing", "nothing"),
    ("grammar", "root ::= nothing", "nothing"),
    ("grammar", "start: <|unheard|>", "unheard"),
    ("grammar", "root ::= " + "(" * 5000, "grammar"),
    ("grammar", 'root ::= "\\', "grammar"),
    ("grammar", "start: /(/", "grammar"),
])
def test_what_is_no_grammar_is_one_short_sentence_that_names_the_field(kind, value, said) -> None:
    with pytest.raises(ContractError) as refused:
        compiled(kind, value, "structured_outputs.it", VOCABULARY)
    error = refused.value
    assert (error.status, error.code, error.param) == (400, "invalid_value", "structured_outputs.it")
    assert error.message.startswith("`structured_outputs.it` cannot be used as a ")
    assert said in error.message
    assert "\n" not in error.message
    assert len(error.message) < 400


def test_special_tokens_are_no_text_and_can_be_named() -> None:
    assert matcher("regex", ".*").admissible([VOCABULARY.id("<|start|>")]) == 0
    named = matcher("grammar", 'start: "a" <|start|> "b"')
    for token in (ord("a"), VOCABULARY.id("<|start|>"), ord("b"), VOCABULARY.eos):
        assert token in allowed(named)
        named.accept(token)


def test_a_mask_lets_nothing_through_that_does_not_fit() -> None:
    rng = random.Random(5)
    for kind, value in (("json_schema", PERSON), ("json_object", None), ("regex", "(ab|a[^b]{2})*é?")):
        one = matcher(kind, value)
        for _ in range(60):
            tokens = allowed(one)
            assert all(one.admissible([int(token)]) for token in tokens)
            token = int(rng.choice(tokens))
            one.accept(token)
            if token in VOCABULARY.ends:
                break


def test_a_walk_along_the_mask_spells_what_was_asked_for() -> None:
    for seed in range(20):
        one, rng, said = matcher("regex", "[a-f]{2,4}(-[0-9]{2}){1,3}"), random.Random(seed), b""
        while (token := int(rng.choice(allowed(one)))) not in VOCABULARY.ends:
            one.accept(token)
            said += VOCABULARY.pieces[token]
        assert re.fullmatch("[a-f]{2,4}(-[0-9]{2}){1,3}", said.decode())


def test_when_nothing_more_fits_only_the_end_follows() -> None:
    one = matcher("choice", ["yes"])
    assert follows(one, "yes")
    assert one.is_stopped()
    assert allowed(one).tolist() == [VOCABULARY.eos]  # alone, as in vLLM
    assert one.admissible([VOCABULARY.eot]) == 1
    assert one.admissible([ord("a")]) == 0
    one.accept(VOCABULARY.eos)
    assert one.is_stopped()


LEARNS = ".*(.{50}a|b.{60}c|d.{70}e|f.{80}g).*"
"""An expression whose lexer learns a state with nearly every token."""


def states(monkeypatch, most: int) -> str:
    """Its grammar, with so many states at most."""
    grammar = compiled("regex", LEARNS, "it", VOCABULARY)
    monkeypatch.setattr("modelkit.llamacpp.grammar._limits", lambda: LLParserLimits(max_lexer_states=most))
    return grammar


def answer(grammars: Grammars, grammar: str, seed: int, length: int) -> None:
    one, rng = grammars.matcher(grammar), random.Random(seed)
    for _ in range(length):
        one.accept(int(rng.choice([token for token in allowed(one) if token not in VOCABULARY.ends])))


def test_a_grammar_that_becomes_too_much_work_fails_its_answer_alone(monkeypatch) -> None:
    grammars, grammar = Grammars(VOCABULARY), states(monkeypatch, 400)
    with pytest.raises(ContractError, match="the grammar became too much work: ") as failed:
        answer(grammars, grammar, 1, 2000)
    assert failed.value.status == 400
    assert "\n" not in failed.value.message
    answer(grammars, grammar, 2, 1)


def test_what_other_answers_taught_a_grammar_fails_nobody(monkeypatch) -> None:
    grammars, grammar = Grammars(VOCABULARY), states(monkeypatch, 2000)
    made = []
    monkeypatch.setattr(grammars, "_make", lambda text: made.append(text) or Grammars._make(grammars, text))
    for seed in range(60):
        answer(grammars, grammar, seed, 20)
    assert len(made) > 1


def test_proposals_are_cut_where_they_leave_the_grammar() -> None:
    one = matcher("regex", "abc*")
    assert one.admissible([ord(c) for c in "abcc"]) == 4
    assert one.admissible([ord(c) for c in "abxc"]) == 2
    assert one.admissible([ord("x")]) == 0
    one.accept(ord("a"))
    one.accept(ord("b"))
    one.rollback(1)
    assert one.admissible([ord("b")]) == 1


def test_a_grammar_may_begin_behind_a_token() -> None:
    end_of_thinking = VOCABULARY.id("<tool>")
    one = matcher("choice", ["yes"], after=(end_of_thinking,))
    assert not one.holds
    for token in b"hm":
        one.accept(token)
    assert not one.is_stopped()
    one.accept(end_of_thinking)
    assert one.holds
    assert follows(one, "yes")


def test_a_matcher_is_one_answers_own_and_its_grammar_is_made_once(monkeypatch) -> None:
    grammar = compiled("choice", ["yes"], "it")
    first, second = GRAMMARS.matcher(grammar), GRAMMARS.matcher(grammar)
    assert follows(first, "yes")
    assert second.admissible([ord("y")]) == 1
    made = []
    monkeypatch.setattr(GRAMMARS, "_make", made.append)
    GRAMMARS.matcher(grammar)
    assert made == []


def test_only_so_many_grammars_are_kept() -> None:
    own = Grammars(VOCABULARY)
    for number in range(CACHED + 5):
        own.matcher(compiled("choice", [str(number)], "it"))
    assert len(own._made) == CACHED
    own.close()


def test_an_object_has_what_its_schema_names() -> None:
    """As vLLM takes schemas; what a schema says itself, and what is no schema, stays."""
    inner = {"properties": {"properties": {"properties": {"a": {}}}}}
    assert _closed(inner) == {"properties": {"properties": {"properties": {"a": {}}, "additionalProperties": False}},
                              "additionalProperties": False}
    for same in ({"type": "object"}, {"properties": {}, "additionalProperties": True}, {"enum": [{"properties": {}}]},
                 {"const": {"properties": {}}}, True):
        assert _closed(same) == same
    assert _closed({"items": [inner], "anyOf": [{"patternProperties": {"x": inner}}]})["anyOf"][0] == {
        "patternProperties": {"x": _closed(inner)}, "additionalProperties": False}
