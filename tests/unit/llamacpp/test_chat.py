"""Requests become jobs, and what the engine says becomes choices: whole and streamed the same."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from typing import Any

import pytest

from modelkit.contract.errors import ContractError
from modelkit.contract.profile import Profile
from modelkit.llamacpp.chat import Chat, Prepared
from modelkit.llamacpp.jobs import Delta, FinishReason, Image, ImageSpan, Token
from modelkit.llamacpp.template import Template
from tests.unit.llamacpp.vocabularies import Bytes

_TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
    "{% if tools %}[{% for t in tools %}{{ t.function.name }}{% endfor %}]{% endif %}"
    "{% if add_generation_prompt %}<|start|>{% if enable_thinking is false %}<think></think>{% endif %}{% endif %}")
_TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {
              "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}},
          {"type": "function", "function": {"name": "now"}}]
_NAMED = {"type": "function", "function": {"name": "add"}}
_CALLS = ('<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n'
          '<tool_call>{"name": "now", "arguments": {}}</tool_call>')


class Thinks(Bytes):
    """The small vocabulary with marks of reasoning and a control token that nobody asked for."""

    def __init__(self) -> None:
        super().__init__()
        extra = ("<think>", "</think>", "<|odd|>")
        first = self.size
        self.pieces = (*self.pieces, *(text.encode() for text in extra))
        self.size = len(self.pieces)
        self.control = self.control | {first, first + 2}
        self.visible = tuple(b"" if one in self.control else piece for one, piece in enumerate(self.pieces))


WORDS = Thinks()
START, END = WORDS.id("<think>"), WORDS.id("</think>")


def chat(template: str | None = _TEMPLATE, **profile: Any) -> Chat:
    return Chat(Template.of(template, WORDS), WORDS, Profile("m", "llamacpp", 4096, **profile))


def prepared(of: Chat, **request: Any) -> Prepared:
    return of.prepared({"model": "m", "messages": [{"role": "user", "content": "hi"}], **request})


def answered(of: Prepared, text: str, finish: FinishReason = "stop", size: int = 0,
             ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What streams, and the whole choice."""
    reader, size = of.reader(0), size or len(text) or 1
    parts = [text[at:at + size] for at in range(0, len(text), size)]
    streamed = [choice for part in parts for choice in reader.feed(Delta(0, part))]
    return [*streamed, *reader.feed(Delta(0, "", finish=finish))], reader.message()


def put_together(choices: list[dict[str, Any]]) -> dict[str, Any]:
    """A message of its deltas, as a client makes it."""
    message: dict[str, Any] = {}
    for choice in choices:
        for name, value in choice["delta"].items():
            if name != "tool_calls":
                message[name] = message.get(name, "") + value
                continue
            for call in value:
                calls = message.setdefault("tool_calls", [])
                if call["index"] == len(calls):
                    calls.append({"id": call["id"], "type": call["type"], "function": dict(call["function"])})
                else:
                    assert "id" not in call
                    calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return message


def calls(message: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["function"]["name"], one["function"]["arguments"]) for one in message.get("tool_calls", ())]


def test_a_job_is_what_the_request_says() -> None:
    job = prepared(chat(adapters=("tuned",)), temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, repetition_penalty=1.1,
                   presence_penalty=0.2, frequency_penalty=0.3, seed=5, logit_bias={"65": -100}, ignore_eos=True,
                   max_tokens=9, stop=["x"], n=3, logprobs=True, top_logprobs=2, model="tuned").job
    assert (job.max_tokens, job.stop, job.choices, job.logprobs, job.adapter) == (9, ("x",), 3, 2, "tuned")
    sampling = job.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.5, 0.9, 7, 0.1)
    assert (sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty) == (1.1, 0.2, 0.3)
    assert (sampling.seed, sampling.logit_bias, sampling.ignore_eos) == (5, {65: -100.0}, True)
    assert prepared(chat(), seed=-1).job.sampling.seed is None
    assert prepared(chat(), logprobs=True).job.logprobs == 0
    assert prepared(chat(), stop=None, logprobs=False).job.logprobs is None


def test_the_prompt_is_the_templates_alone_with_special_tokens_read() -> None:
    found = prepared(chat())
    assert found.text == "<|start|>user: hi<|end|><|start|>"
    assert found.job.prompt[0] == WORDS.id("<|start|>") and found.job.prompt.count(WORDS.bos) == 2
    text, ids = asyncio.run(chat().prompt({"messages": [{"role": "user", "content": "hi"}],
                                           "add_generation_prompt": False}))
    assert (text, ids) == ("<|start|>user: hi<|end|>", list(found.job.prompt[:-1]))


def test_mistakes_are_400() -> None:
    for of, request in ((chat(None), {}), (chat("{{ raise_exception('no') }}"), {}),
                        (chat(), {"logit_bias": {"9999": 1}}), (chat(), {"chat_template_kwargs": {"messages": []}}),
                        (chat(), {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})):
        with pytest.raises(ContractError) as error:
            asyncio.run(of.prepare({"model": "m", "messages": [{"role": "user", "content": "hi"}], **request}))
        assert error.value.status == 400
    with pytest.raises(ValueError, match="no tool parser `nope`; it has"):
        chat(tool_parser="nope")
    with pytest.raises(ValueError, match="no reasoning parser `nope`; it has"):
        chat(reasoning_parser="nope")


def test_images_become_tokens_where_they_stand() -> None:
    given: list[Any] = []
    span = ImageSpan(1, 2, 2, -7)

    def see(parts: Any) -> Any:
        given.extend(parts)
        return (65, -7, -7, 66), (span,)

    seeing = Chat(Template.of(_TEMPLATE, WORDS), WORDS, Profile("m", "llamacpp", 100), see=see)
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}}, {"type": "text", "text": "?"}]
    request = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    prepared = seeing.prepared(request)
    assert given == ["<|start|>user: ", Image(b"x", sha256(b"x").hexdigest()), "\n?<|end|><|start|>"]
    assert prepared.text == "<|start|>user: <__media__>\n?<|end|><|start|>"
    assert (prepared.job.prompt, prepared.job.images) == ((65, -7, -7, 66), (span,))
    assert asyncio.run(seeing.prompt(request))[1] == [65, -7, -7, 66]


@pytest.mark.parametrize("size", [0, 1, 5])
@pytest.mark.parametrize(("request_", "text", "finish", "content", "wanted", "reason"), [
    ({"tool_choice": "auto"}, "Hi.", "stop", "Hi.", [], "stop"),
    ({"tool_choice": "auto"}, "See:\n" + _CALLS, "stop", "See:\n", [("add", '{"a": 1}'), ("now", "{}")], "tool_calls"),
    ({"tool_choice": "auto"}, " \n" + _CALLS, "stop", None, [("add", '{"a": 1}'), ("now", "{}")], "tool_calls"),
    ({"tool_choice": "auto", "parallel_tool_calls": False}, _CALLS, "stop", None, [("add", '{"a": 1}')], "tool_calls"),
    ({"tool_choice": "auto"}, _CALLS[:40], "length", None, [("add", "")], "length"),
    ({"tool_choice": "none"}, _CALLS, "stop", _CALLS, [], "stop"),
    ({"tool_choice": "required"}, '[{"name": "add", "parameters": {"a": 1}}, {"name": "now", "parameters": {}}]',
     "stop", "", [("add", '{"a": 1}'), ("now", "{}")], "tool_calls"),
    ({"tool_choice": "required"}, '[{"name": "add", "parameters": {"a"', "length", "", [("add", '{"a"')], "length"),
    ({"tool_choice": _NAMED}, '{"a": 1}', "stop", "", [("add", '{"a": 1}')], "stop"),
    ({"tool_choice": _NAMED}, "", "length", "", [], "length"),
], ids=str)
def test_calls(  # noqa: PLR0917
        request_: dict[str, Any], text: str, finish: FinishReason, content: str | None,
        wanted: list[tuple[str, str]], reason: str, size: int) -> None:
    found = prepared(chat(tool_parser="hermes"), tools=_TOOLS, **request_)
    streamed, whole = answered(found, text, finish, size)
    message = whole["message"]
    assert (message["content"], calls(message)) == (content, wanted)
    assert whole["finish_reason"] == streamed[-1]["finish_reason"] == reason
    assert [choice["finish_reason"] for choice in streamed[:-1]] == [None] * (len(streamed) - 1)
    together = put_together(streamed)
    assert calls(together) == wanted and together.get("content", "") == (content or "")
    assert [one["id"] for one in together.get("tool_calls", ())] == [one["id"] for one in message.get("tool_calls", ())]


def test_a_forced_call_is_a_grammar_over_the_tools_that_are_shown() -> None:
    of = chat()  # no parser is needed
    for choice in ("required", _NAMED):
        found = prepared(of, tools=_TOOLS, tool_choice=choice)
        assert "[addnow]" in found.text
        assert found.job.grammar is not None and found.job.grammar_after == ()
    assert prepared(of, tools=_TOOLS, tool_choice="none").job.grammar is None
    assert "[addnow]" in prepared(of, tools=_TOOLS, tool_choice="none").text


def test_tools_with_one_definition_in_two_ways_are_refused() -> None:
    tools = [{"type": "function", "function": {"name": name, "parameters": {"$defs": {"x": {"type": kind}}}}}
             for name, kind in (("a", "string"), ("b", "integer"))]
    with pytest.raises(ContractError, match="define `x` in two ways"):
        prepared(chat(), tools=tools, tool_choice="required")


@pytest.mark.parametrize("fields", [
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
    {"structured_outputs": {"json": {"type": "object"}}}, {"structured_outputs": {"json_object": True}},
    {"structured_outputs": {"choice": ["yes", "no"]}}, {"structured_outputs": {"regex": "[a-z]+"}},
], ids=str)
def test_shapes_are_grammars_that_begin_behind_the_reasoning(fields: dict[str, Any]) -> None:
    assert prepared(chat(), **fields).job.grammar is not None
    assert prepared(chat(), **fields).job.grammar_after == ()
    thinking = chat(reasoning_parser="qwen3")
    assert prepared(thinking, **fields).job.grammar_after == (END,)
    quiet = prepared(thinking, chat_template_kwargs={"enable_thinking": False}, **fields)
    assert quiet.job.grammar_after == ()
    assert prepared(chat(reasoning_parser="deepseek_r1"), chat_template_kwargs={"enable_thinking": False},
                    **fields).job.grammar_after == ()  # the template has closed it


def test_nothing_shapes_an_answer_that_may_be_any_text() -> None:
    assert prepared(chat(), response_format={"type": "text"}).job.grammar is None


@pytest.mark.parametrize("size", [0, 1, 4])
def test_reasoning_has_both_names_and_is_counted(size: int) -> None:
    found = prepared(chat(reasoning_parser="qwen3"))
    assert found.job.show_special  # `<think>` is a control token here
    streamed, whole = answered(found, "<think>so</think>\n<|odd|>Hi", size=size)
    assert put_together(streamed) == {"reasoning": "so", "reasoning_content": "so", "content": "\nHi"}
    assert whole["message"] == {"role": "assistant", "content": "\nHi", "refusal": None, "reasoning": "so",
                                "reasoning_content": "so"}
    reader = found.reader(0)
    reader.feed(Delta(0, "<think>so</think>Hi", tuple(Token(one, WORDS.pieces[one]) for one in (
        START, 115, 111, END, 72, 105)), "stop"))
    assert reader.reasoning_tokens == 2


def test_reasoning_without_an_end_leaves_no_content() -> None:
    _, whole = answered(prepared(chat(reasoning_parser="deepseek_r1")), "and then", "length")
    assert (whole["message"]["content"], whole["message"]["reasoning"]) == (None, "and then")


def test_calls_behind_reasoning() -> None:
    of = chat(reasoning_parser="qwen3", tool_parser="hermes")
    _, whole = answered(prepared(of, tools=_TOOLS), "hm" + _CALLS)
    assert whole["message"]["reasoning"] == "hm"
    assert calls(whole["message"]) == [("add", '{"a": 1}'), ("now", "{}")]
    forced = prepared(of, tools=_TOOLS, tool_choice=_NAMED)
    assert forced.job.grammar_after == (END,)
    streamed, whole = answered(forced, 'hm</think>\n{"a": 1}', size=3)
    assert calls(whole["message"]) == calls(put_together(streamed)) == [("add", '{"a": 1}')]


def test_log_probabilities_come_with_every_token_whatever_it_becomes() -> None:
    found = prepared(chat(tool_parser="hermes"), tools=_TOOLS, tool_choice="auto", logprobs=True)
    reader = found.reader(0)
    said = [reader.feed(Delta(0, letter, (Token(ord(letter), letter.encode(), -0.5),))) for letter in _CALLS]
    last = reader.feed(Delta(0, "", (Token(WORDS.eos, b"<|end|>", -0.1),), "stop"))
    tokens = [entry["token"] for choices in [*said, last] for choice in choices
              for entry in (choice["logprobs"] or {"content": []})["content"]]
    assert "".join(tokens[:-1]) == _CALLS
    whole = reader.message()
    assert [entry["token"] for entry in whole["logprobs"]["content"]] == tokens
    assert all(len(choices) >= 1 for choices in said)


def test_a_stop_string_is_said_and_an_end_of_turn_is_not() -> None:
    for by, wanted in (("###", "###"), (WORDS.eos, None), (None, None)):
        reader = prepared(chat()).reader(0)
        (choice,) = reader.feed(Delta(0, "a", finish="stop", stopped_by=by))
        assert choice["stop_reason"] == reader.message()["stop_reason"] == wanted


def test_mistral_has_short_ids() -> None:
    found = prepared(chat(tool_parser="mistral"), tools=_TOOLS, tool_choice="auto")
    (call,) = answered(found, '[TOOL_CALLS]add{"a": 1}')[1]["message"]["tool_calls"]
    assert len(call["id"]) == 9 and call["id"].isalnum()


def test_gpt_oss_goes_straight_to_its_final_channel_when_that_has_a_shape() -> None:
    of = chat(tool_parser="openai", reasoning_parser="openai_gptoss")
    text = ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.add"
            '<|message|>{"a": 1}<|call|>')
    _, whole = answered(prepared(of, tools=_TOOLS, tool_choice="auto"), text)
    assert (whole["message"]["reasoning"], calls(whole["message"])) == ("hm", [("add", '{"a": 1}')])
    shaped = prepared(of, response_format={"type": "json_object"})
    assert shaped.text.endswith("<|channel|>final<|message|>")
    assert json.loads(answered(shaped, '{"a": 1}')[1]["message"]["content"]) == {"a": 1}


def test_a_second_answer_begins_anew() -> None:
    found = prepared(chat(tool_parser="hermes"), tools=_TOOLS, tool_choice="auto", n=2)
    first, second = found.reader(0), found.reader(1)
    first.feed(Delta(0, "<tool_call>"))
    second.feed(Delta(1, "Hi", finish="stop"))
    assert second.message()["message"]["content"] == "Hi"
