"""Tool calls as models write them, read whole and in pieces of any size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.llamacpp.parsers import TOOL_PARSERS, Arguments, Call, Content, Event, Reasoning, merged, tool_parser
from modelkit.llamacpp.parsers.values import typed
from modelkit.planning.families import FAMILIES
from tests.unit.llamacpp.model_texts import READ, TOOLS

CASES = [pytest.param(name, *case, id=f"{name}-{number}")
         for name, cases in READ.items() for number, case in enumerate(cases)]


def read(name: str, text: str, cuts: Iterable[int] = ()) -> list[Event]:
    machine, at = TOOL_PARSERS[name].make(TOOLS), 0
    events: list[Event] = []
    for cut in cuts:
        events += machine.feed(text[at:cut])
        at = cut
    return merged([*events, *machine.feed(text[at:]), *machine.finish()])


def calls(events: Iterable[Event]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, Call):
            found.append((event.name, ""))
        elif isinstance(event, Arguments):
            found[-1] = found[-1][0], found[-1][1] + event.text
    return found


def content(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Content))


@pytest.mark.parametrize(("name", "text", "said", "wanted"), CASES)
def test_what_a_model_writes(name: str, text: str, said: str, wanted: list[tuple[str, str]]) -> None:
    events = read(name, text)
    assert (content(events), calls(events)) == (said, wanted)
    assert not any(isinstance(event, Reasoning) for event in events)


@pytest.mark.parametrize(("name", "text"), [(case.values[0], case.values[1]) for case in CASES])
def test_pieces_of_one_character_say_the_same(name: str, text: str) -> None:
    assert read(name, text, range(1, len(text))) == read(name, text)


_FRAGMENTS = ['{"name": "now", "arguments": {"a": 1}}', "{", "}", "[", "]", '"', "now", "(", ")", "now(a=1)",
"call:now",
              "{n:1}", " ", "\n", "text ", "name", "\\", "é", '{"a": "}"}', "=", ">", "'", ",", ";", ":",
              "functions.f:0",
              "</", "<|", "to=functions.f", '"parameters": {}', "final"]


@st.composite
def _texts(draw: st.DrawFn) -> tuple[str, str, list[int]]:
    """A parser, a text of its marks and of what may stand between them, and where that is cut."""
    name = draw(st.sampled_from(sorted(TOOL_PARSERS)))
    parts = draw(st.lists(st.sampled_from([*TOOL_PARSERS[name].marks, *_FRAGMENTS]), max_size=10))
    text = "".join(parts)
    return name, text, sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))


@settings(max_examples=400, deadline=None)
@given(_texts())
def test_no_text_breaks_a_parser_and_no_cut_changes_what_it_says(found: tuple[str, str, list[int]]) -> None:
    name, text, cuts = found
    events = read(name, text)
    calls(events)  # arguments belong to a call
    assert read(name, text, cuts) == read(name, text, range(1, len(text))) == events


_DEEP = 20_000


@pytest.mark.parametrize(("name", "text"), [
    ("hermes", '<tool_call>{"name": ' + "[" * _DEEP),
    ("granite4", '<tool_call>{"name": "now", "arguments": ' + "[" * _DEEP),
    ("mistral", "[TOOL_CALLS]now" + "{" * _DEEP), ("gemma4", "<|tool_call>call:now{a:" + "[" * _DEEP + "<tool_call|>"),
    ("pythonic", "[now(a=" + "[" * _DEEP + "]" * _DEEP + ")]"),
    ("qwen3_coder", "<function=get_weather><parameter=near>" + "[" * _DEEP + "</parameter></function>"),
    ("deepseek_v32", '<｜DSML｜invoke name="now"><｜DSML｜parameter name="a" string="false">' + "[" * _DEEP
     + "</｜DSML｜parameter></｜DSML｜invoke>"),
], ids=lambda value: value if len(value) < 20 else "")
def test_a_nest_of_any_depth_is_no_failure(name: str, text: str) -> None:
    read(name, text)


def test_arguments_are_told_as_they_come() -> None:
    """What a model writes for minutes is seen at once, where it can't change any more."""
    for name, text in (("hermes", '<tool_call>{"name": "now", "arguments": {"text": "abc'),
                       ("qwen3_coder", "<tool_call><function=now><parameter=text>\nabc"),
                       ("mistral", '[TOOL_CALLS]now{"text": "abc')):
        events = TOOL_PARSERS[name].make(TOOLS).feed(text)
        assert calls(events)[0][1].startswith('{"text": "ab'), name


def test_arguments_are_the_models_own_text() -> None:
    events = read("hermes", '<tool_call>{"name":"now","arguments":{"b":1.0,  "a":"\\u00e9"}}</tool_call>')
    assert calls(events) == [("now", '{"b":1.0,  "a":"\\u00e9"}')]


def test_kimi_names_its_calls() -> None:
    text = READ["kimi_k2"][0][0]
    assert [event.id for event in read("kimi_k2", text) if isinstance(event, Call)] == [
        "functions.get_weather:0", "functions.now:1"]


@pytest.mark.parametrize(("text", "schema", "value"), [
    ("5", {"type": "integer"}, 5), ("5.5", {"type": "integer"}, 5.5), ("5", {"type": "number"}, 5),
    ("1e999", {"type": "number"}, "1e999"), ("TRUE", {"type": "boolean"}, True), ("1", {"type": "boolean"}, True),
    ("null", {"type": ["string", "null"]}, None), ("5", {"type": ["integer", "string"]}, 5), ("5", {}, "5"),
    ("[1]", {"type": "array"}, [1]), ("[1", {"type": "array"}, "[1"), ("5", {"enum": [1, 5]}, 5),
    ("x", {"enum": ["x", None]}, "x"), ("5", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, 5),
    ("5", {"type": "str"}, "5"), ("5", {"type": "int64"}, 5), ("5", None, "5"),
])
def test_a_text_becomes_what_its_schema_wants(text: str, schema: object, value: object) -> None:
    found = typed(text, schema)
    assert json.dumps(found) == json.dumps(value)


def test_every_family_that_a_gguf_can_be_has_its_parser() -> None:
    """Families whose models llama.cpp can't run, or whose format only vLLM has, are named here."""
    without: Sequence[str] = ("kimi_k3", "minimax_m3", "apertus")
    assert {family.vllm.tool for family in FAMILIES} - {""} - set(TOOL_PARSERS) == set(without)


def test_an_unknown_parser_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no tool parser `nope`; it has .*hermes, .*mistral"):
        tool_parser("nope")


def test_every_parser_has_a_text() -> None:
    assert set(READ) | {"llama4_json"} == set(TOOL_PARSERS)
