"""What the conformance suite does not ask of vLLM: tools that the model may choose, what a grammar forces, streamed.

The model is too small to call tools by itself: examples in the Modelfile show it how, in the form of the parser.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.live.engines import BASE, start_stage, stop_stage

pytestmark = [pytest.mark.live_vllm, pytest.mark.timeout(900)]

CALL = '<tool_call>\\n{"name": "get_weather", "arguments": {"city": "%s"}}\\n</tool_call>'
MODELFILE = f'''NAME tools
FROM {BASE}
SYSTEM You call the tool get_weather.
MESSAGE user What is the weather in Rome?
MESSAGE assistant """{CALL % "Rome"}"""
MESSAGE user What is the weather in Oslo?
MESSAGE assistant """{CALL % "Oslo"}"""
MESSAGE user What is the weather in Paris?
MESSAGE assistant """{CALL % "Paris"}"""
PARAMETER temperature 0
PARAMETER num_ctx 1024
PARAMETER num_predict 64
PARAMETER stop "Rome"
STAGE prod {{
  ENGINE vllm
  SERVE tool_parser hermes
  SERVE max_concurrency 2
}}
'''.replace("\\n", "\n")
QUESTION: Any = [{"role": "user", "content": "What is the weather in Madrid?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        "additionalProperties": False}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
TIME: Any = {"type": "function", "function": {"name": "get_time", "parameters": CITY}}


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    url = start_stage("prod", MODELFILE)
    try:
        yield openai.OpenAI(base_url=url, api_key="none")
    finally:
        stop_stage(url)


def streamed(client: openai.OpenAI, **ask: Any) -> tuple[str, str, str, str | None]:
    """A stream's text, the first tool's name, all arguments, the reason for its end."""
    text, name, arguments, finish = "", "", "", None
    for chunk in client.chat.completions.create(model="tools", messages=QUESTION, stream=True, **ask):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or ():
                if call.function is not None:
                    name, arguments = name or call.function.name or "", arguments + (call.function.arguments or "")
    return text, name, arguments, finish


@pytest.mark.parametrize("choice", [None, "auto"])
def test_a_tool_that_the_model_chooses_is_read_by_the_parser(client: openai.OpenAI, choice: str | None) -> None:
    ask: Any = {"tools": [WEATHER, TIME], **({"tool_choice": choice} if choice else {})}
    whole = client.chat.completions.create(model="tools", messages=QUESTION, **ask)
    (call,) = whole.choices[0].message.tool_calls or ()
    assert call.type == "function" and call.id and call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    assert whole.choices[0].finish_reason == "tool_calls" and not (whole.choices[0].message.content or "").strip()
    text, name, arguments, finish = streamed(client, **ask)
    assert (name, json.loads(arguments), finish) == ("get_weather", json.loads(call.function.arguments), "tool_calls")
    assert not text.strip()


def test_a_tools_answer_goes_back_to_the_model(client: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Madrid"}'}}
    turns: Any = [*QUESTION, {"role": "assistant", "content": None, "tool_calls": [call]},
                  {"role": "tool", "tool_call_id": "call_1", "content": "It is sunny."}]
    answer = client.chat.completions.create(model="tools", messages=turns, tools=[WEATHER], tool_choice="none",
                                            max_tokens=8)
    assert answer.choices[0].finish_reason in ("stop", "length") and not answer.choices[0].message.tool_calls


def test_without_a_choice_the_call_stays_text(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="tools", messages=QUESTION, tools=[WEATHER], tool_choice="none")
    assert not answer.choices[0].message.tool_calls and "get_weather" in (answer.choices[0].message.content or "")


@pytest.mark.parametrize(("choice", "names"), [
    ("required", {"get_weather", "get_time"}),
    ({"type": "function", "function": {"name": "get_time"}}, {"get_time"}),
])
def test_a_tool_that_is_demanded_is_called_streamed_too(client: openai.OpenAI, choice: Any, names: set[str]) -> None:
    ask: Any = {"tools": [WEATHER, TIME], "tool_choice": choice, "parallel_tool_calls": False}
    whole = client.chat.completions.create(model="tools", messages=QUESTION, **ask)
    (call,) = whole.choices[0].message.tool_calls or ()
    assert call.type == "function" and call.function.name in names
    text, name, arguments, finish = streamed(client, **ask)
    assert name == call.function.name and not text
    # vLLM 0.32 writes a required call's arguments anew where it does not stream: the same JSON, with blanks.
    assert json.loads(arguments) == json.loads(call.function.arguments)
    assert set(json.loads(arguments)) == {"city"} and finish == whole.choices[0].finish_reason


def test_a_tool_is_chosen_in_the_words_of_the_other_apis_streamed_too(client: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", **WEATHER["function"]}]
    whole = client.responses.create(model="tools", input=QUESTION, tools=tools)
    with client.responses.stream(model="tools", input=QUESTION, tools=tools) as stream:
        streamed = stream.get_final_response()
    for answer in (whole, streamed):
        (call,) = (item for item in answer.output if item.type == "function_call")
        assert call.name == "get_weather" and set(json.loads(call.arguments)) == {"city"}
        assert not answer.output_text.strip()

    claude = anthropic.Anthropic(base_url=str(client.base_url).removesuffix("/v1/"), api_key="none").messages
    ask: Any = {"model": "tools", "max_tokens": 64, "messages": QUESTION,
                "tools": [{"name": "get_weather", "input_schema": CITY}]}
    message = claude.create(**ask)
    with claude.stream(**ask) as heard:
        for said in (message, heard.get_final_message()):
            assert said.stop_reason == "tool_use"
            assert said.content[-1].name == "get_weather" and set(said.content[-1].input) == {"city"}


@pytest.mark.parametrize("form", [
    {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}, {"type": "json_object"}])
def test_json_is_json_streamed_too(client: openai.OpenAI, form: Any) -> None:
    asked: Any = {"response_format": form, "max_tokens": 200}
    whole = client.chat.completions.create(model="tools", messages=QUESTION, **asked)
    said = json.loads(whole.choices[0].message.content or "")
    assert isinstance(said, dict) and (form["type"] == "json_object" or set(said) == {"city"})
    text, _, _, finish = streamed(client, **asked)
    assert json.loads(text) == said and finish == "stop"


def test_the_examples_cost_the_prompt_and_the_default_stop_ends_the_answer(client: openai.OpenAI) -> None:
    implied = client.chat.completions.create(model="tools", messages=QUESTION, max_tokens=1).usage
    alone: Any = [{"role": "system", "content": "x"}, *QUESTION]
    bare = client.chat.completions.create(model="tools", messages=alone, max_tokens=1).usage
    assert implied is not None and bare is not None and implied.prompt_tokens > bare.prompt_tokens
    rome: Any = [{"role": "user", "content": "What is the weather in Rome?"}]
    cut = client.chat.completions.create(model="tools", messages=rome)
    assert cut.choices[0].finish_reason == "stop" and "Rome" not in (cut.choices[0].message.content or "")
