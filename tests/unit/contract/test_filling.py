"""What the engine gets: the Modelfile's part, the client's part, and which of them wins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelkit.contract import request
from modelkit.contract.errors import ContractError
from modelkit.contract.profile import Profile
from tests.unit.contract.profiles import FULL, PLAIN, ask, user, weather, with_tool_parser

EXAMPLES = list(FULL.messages)
SYSTEM = {"role": "system", "content": "You are terse."}


def test_a_client_that_sends_only_messages_gets_the_modelfile() -> None:
    assert request.chat(ask(), FULL) == {
        "model": "support",
        "messages": [SYSTEM, *EXAMPLES, *user()],
        "temperature": 0.2, "top_p": 0.9, "top_k": 40, "seed": 7,
        "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "stop": ["<|im_end|>", "###"],
        "max_tokens": 64,
    }


def test_a_modelfile_that_says_nothing_leaves_the_neutral_values() -> None:
    assert request.chat(ask(), PLAIN) == {"model": "support", "messages": user(), **request.NEUTRAL}


def test_the_defaults_written_out_are_the_defaults_implied() -> None:
    written = ask(temperature=0.2, top_p=0.9, top_k=40, seed=7, stop=["<|im_end|>", "###"], max_tokens=64,
                  min_p=0, repetition_penalty=1, presence_penalty=0, frequency_penalty=0, n=None, stream=None)
    written["messages"] = [SYSTEM, *EXAMPLES, *user()]
    implied = request.chat(ask(), replace(FULL, messages=()))
    assert request.chat(written, replace(FULL, messages=())) | {"messages": 0} == implied | {"messages": 0}


@pytest.mark.parametrize(("field", "value"), [
    ("temperature", 0), ("temperature", 2), ("top_p", 1), ("top_p", 0.001), ("top_k", 1), ("min_p", 1), ("seed", 0),
    ("seed", -(2**63)), ("presence_penalty", -2), ("frequency_penalty", 2), ("repetition_penalty", 2),
    ("max_tokens", 1), ("max_tokens", 2048), ("n", 16), ("stream", True), ("logit_bias", {"5": -100}), ("stop", ["x"]),
    ("ignore_eos", True), ("chat_template_kwargs", {"enable_thinking": False}), ("reasoning_effort", "low"),
    ("logprobs", True),
])
def test_a_value_that_the_client_sends_wins(field, value) -> None:
    assert request.chat(ask(**{field: value}), FULL)[field] == value


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k", "seed", "max_tokens", "stop", "n", "tools",
                                  "logprobs", "stream_options", "response_format", "tool_choice",
                                  "max_completion_tokens", "user"])
def test_null_means_absent(name) -> None:
    assert request.chat(ask(**{name: None}), FULL) == request.chat(ask(), FULL)


@pytest.mark.parametrize("name", ["user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key",
                                  "prediction"])
def test_fields_that_only_describe_a_request_are_dropped(name) -> None:
    assert request.chat(ask(**{name: {"any": ["thing"]}}), FULL) == request.chat(ask(), FULL)


@pytest.mark.parametrize("off", [-1, 0])
def test_top_k_has_one_word_for_off(off) -> None:
    assert request.chat(ask(top_k=off), FULL)["top_k"] == 0


def test_max_completion_tokens_means_max_tokens() -> None:
    assert request.chat(ask(max_completion_tokens=9), FULL) == request.chat(ask(max_tokens=9), FULL)
    assert request.chat(ask(max_completion_tokens=9, max_tokens=9), FULL)["max_tokens"] == 9
    assert "max_completion_tokens" not in request.chat(ask(max_completion_tokens=9), FULL)


def test_the_default_max_tokens_is_a_default_and_no_cap() -> None:
    assert request.chat(ask(max_tokens=2000), FULL)["max_tokens"] == 2000
    assert "max_tokens" not in request.chat(ask(), PLAIN)
    assert request.chat(ask(), replace(FULL, max_tokens=5000))["max_tokens"] == 2048  # the context bounds it anyway


def test_a_stop_string_is_a_list_of_one_and_an_empty_list_stops_nothing() -> None:
    assert request.chat(ask(stop="END"), FULL)["stop"] == ["END"]
    assert request.chat(ask(stop=[]), FULL)["stop"] == []


FORCING = [
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}},
    {"structured_outputs": {"json": {"type": "object"}}},
    {"structured_outputs": {"choice": ["yes", "no"]}},
    {"tools": [weather()], "tool_choice": "required"},
    {"tools": [weather()], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
]


@pytest.mark.parametrize("forcing", FORCING, ids=str)
def test_default_stop_strings_do_not_cut_what_a_grammar_forces(forcing) -> None:
    assert "stop" not in request.chat(ask(**forcing), FULL)
    assert request.chat(ask(**forcing, stop="END"), FULL)["stop"] == ["END"]


@pytest.mark.parametrize("free", [
    {"response_format": {"type": "text"}},
    {"tools": [weather()], "tool_choice": "none"},
    {"tools": [weather()], "tool_choice": "auto"},
    {"tools": [weather()]},
], ids=str)
def test_default_stop_strings_stay_where_nothing_is_forced(free) -> None:
    assert request.chat(ask(**free), with_tool_parser(FULL))["stop"] == ["<|im_end|>", "###"]


def test_a_tool_choice_of_none_without_tools_says_nothing() -> None:
    assert request.chat(ask(tool_choice="none", parallel_tool_calls=True), FULL) == request.chat(ask(), FULL)


def test_stream_options_keep_the_usage_and_drop_the_noise() -> None:
    filled = request.chat(ask(stream=True, stream_options={"include_usage": True, "include_obfuscation": False}), FULL)
    assert filled["stream_options"] == {"include_usage": True}


def test_modalities_of_text_say_nothing() -> None:
    assert request.chat(ask(modalities=["text"]), FULL) == request.chat(ask(), FULL)


def test_an_adapter_keeps_its_own_name() -> None:
    assert request.chat(ask(model="support-fr"), FULL)["model"] == "support-fr"


def test_a_completion_gets_the_sampling_and_neither_system_prompt_nor_examples() -> None:
    assert request.completion({"model": "support", "prompt": "Once"}, FULL) == {
        "model": "support", "prompt": "Once",
        "temperature": 0.2, "top_p": 0.9, "top_k": 40, "seed": 7,
        "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "stop": ["<|im_end|>", "###"],
        "max_tokens": 64,
    }


def test_a_completion_without_any_max_tokens_has_sixteen() -> None:
    assert request.completion({"model": "support", "prompt": "Once"}, PLAIN)["max_tokens"] == 16
    assert request.completion({"model": "support", "prompt": "Once", "max_tokens": 99}, PLAIN)["max_tokens"] == 99
    small = replace(PLAIN, context_length=8)
    assert request.completion({"model": "support", "prompt": "Once"}, small)["max_tokens"] == 8


@pytest.mark.parametrize("prompt", ["x", ["x", "y"], [1, 2], [[1], [2, 3]], " "])
def test_every_form_of_a_prompt_passes_as_it_is(prompt) -> None:
    assert request.completion({"model": "support", "prompt": prompt}, FULL)["prompt"] == prompt


def test_completion_fields_that_ask_for_nothing_are_dropped() -> None:
    filled = request.completion({"model": "support", "prompt": "x", "best_of": 1, "echo": False, "suffix": ""}, FULL)
    assert not {"best_of", "echo", "suffix"} & filled.keys()


@pytest.mark.parametrize("name", ["vllm", "llamacpp"])
def test_a_prompt_is_echoed_where_the_engine_can(name: str) -> None:
    asked = {"model": "support", "prompt": "x", "echo": True, "max_tokens": 0, "logprobs": 1}
    filled = request.completion(dict(asked), replace(FULL, dialect=name))
    assert {field: filled[field] for field in asked} == asked


@pytest.mark.parametrize("name", ["llama-server", "sglang", "tensorrt-llm"])
def test_and_refused_where_it_can_not(name: str) -> None:
    with pytest.raises(ContractError) as refused:
        request.completion({"model": "support", "prompt": "x", "echo": True}, replace(FULL, dialect=name))
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "echo")


def test_a_tokenization_sees_the_conversation_that_a_chat_sees() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "developer", "content": parts}, *user()]
    tokenized = request.tokenize({"messages": messages, "tools": [weather()]}, FULL)
    assert tokenized["messages"] == request.chat(ask(messages=messages), FULL)["messages"]
    assert (tokenized["add_generation_prompt"], tokenized["model"]) == (True, "support")
    assert tokenized["tools"] == [weather()]


def test_a_tokenization_of_a_prompt_gets_nothing_added() -> None:
    assert request.tokenize({"prompt": "x"}, FULL) == {"prompt": "x", "model": "support"}


def test_the_clients_request_is_left_as_it_was() -> None:
    import copy

    for profile in (FULL, replace(FULL, dialect="llama-server")):
        sent = ask(messages=[{"role": "assistant", "content": None, "reasoning": "hm"}, *user()], seed=-1, top_k=-1,
                   tools=[weather(), weather("news")],
                   tool_choice={"type": "function", "function": {"name": "news"}})
        before = copy.deepcopy(sent)
        request.chat(sent, profile)
        assert sent == before
        assert profile.messages == FULL.messages


@pytest.mark.parametrize(("broken", "says"), [
    ({"dialect": "tgi"}, "no dialect is called `tgi`"),
    ({"defaults": {"temprature": 1}}, "default for `temprature`"),
    ({"defaults": {"temperature": 3}}, "`temperature` is 3"),
    ({"defaults": {"seed": "7"}}, "`seed` must be an integer"),
])
def test_a_profile_that_cannot_fill_requests_is_found_at_once(broken, says) -> None:
    with pytest.raises(ValueError, match=says):
        request.checked_profile(Profile.from_json({**FULL.as_json(), **broken}))
    assert request.checked_profile(FULL) is FULL
