"""One meaning, two spellings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelkit.contract import request
from modelkit.contract.errors import ContractError
from modelkit.contract.profile import Profile
from tests.unit.contract.profiles import FULL, PLAIN, ask, llama, weather, with_tool_parser

LLAMA = llama(FULL)

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def chat(**fields):
    return request.chat(ask(**fields), LLAMA)


def completion(**fields):
    return request.completion({"model": "support", "prompt": "x", **fields}, LLAMA)


def test_llama_server_gets_the_whole_set_so_that_none_of_its_defaults_decides() -> None:
    filled = chat()
    del filled["messages"]
    assert filled == {
        "model": "support",
        "temperature": 0.2, "top_p": 0.9, "top_k": 40, "min_p": 0.0, "seed": 7,
        "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "repeat_last_n": 2048,
        "samplers": ["penalties", "temperature", "min_p", "top_k", "top_p"], "mirostat": 0, "dynatemp_range": 0.0,
        "stop": ["<|im_end|>", "###"],
        "max_tokens": 64,
        "lora": [{"id": 0, "scale": 0.0}],
    }


def test_no_limit_and_no_seed_are_said_in_its_words() -> None:
    filled = request.chat(ask(), llama(PLAIN))
    assert (filled["max_tokens"], filled["seed"]) == (-1, -1)
    assert "lora" not in filled


@pytest.mark.parametrize(("seed", "spelled"), [
    (0, 0), (7, 7), (-1, -1), (-2, 2**32 - 2), (2**32, 0), (2**32 + 5, 5), (2**32 - 1, 2**32 - 2),
    (2**63 - 1, 2**32 - 2),
])
def test_a_seed_of_64_bits_is_folded_and_never_becomes_random(seed, spelled) -> None:
    assert chat(seed=seed)["seed"] == spelled
    assert request.chat(ask(seed=seed), FULL)["seed"] == seed


def test_the_repetition_penalty_is_renamed() -> None:
    filled = chat(repetition_penalty=1.2)
    assert filled["repeat_penalty"] == 1.2
    assert "repetition_penalty" not in filled


def test_an_adapter_is_chosen_by_its_place() -> None:
    two = replace(LLAMA, adapters=("fr", "de"))
    assert request.chat(ask(model="de"), two)["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}]
    assert "lora" not in request.chat(ask(model="support-fr"), FULL)


def test_an_adapter_of_the_models_own_name_is_part_of_the_model() -> None:
    own = replace(LLAMA, adapters=("fr", LLAMA.name))
    assert own.models == (LLAMA.name, "fr")
    assert request.chat(ask(), own)["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}]
    assert request.chat(ask(model="fr"), own)["lora"] == [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 0.0}]


@pytest.mark.parametrize(("asked", "sent"), [
    ({"logprobs": True}, None), ({"logprobs": True, "top_logprobs": 0}, 0), ({"logprobs": True, "top_logprobs": 5}, 5),
    ({"logprobs": False}, None), ({"top_logprobs": 0}, None), ({}, None),
])
def test_top_log_probabilities_stand_only_beside_log_probabilities(asked, sent) -> None:
    assert chat(**asked).get("top_logprobs") == sent


@pytest.mark.parametrize("choice", ["none", "auto", "required", {"type": "function", "function": {"name": "news"}}])
@pytest.mark.parametrize("profile", [FULL, LLAMA], ids=["vllm", "llama-server"])
def test_tool_choices_pass(choice, profile) -> None:
    offered = [weather(), weather("news")]
    filled = request.chat(ask(tools=offered, tool_choice=choice), with_tool_parser(profile))
    assert (filled["tools"], filled["tool_choice"]) == (offered, choice)


@pytest.mark.parametrize(("fields", "spelled"), [
    ({"structured_outputs": {"json": SCHEMA}},
     {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}}),
    ({"structured_outputs": {"json": '{"type": "object"}'}},
     {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}}),
    ({"structured_outputs": {"json_object": True}}, {"response_format": {"type": "json_object"}}),
    ({"structured_outputs": {"choice": ["yes", 'a"b\\c\n\x01']}}, {"grammar": 'root ::= "yes" | "a\\"b\\\\c\\n\\x01"'}),
    ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
])
def test_structured_outputs_are_spelled_as_formats_and_grammars(fields, spelled) -> None:
    assert chat(**fields).items() >= spelled.items()
    assert "structured_outputs" not in chat(**fields)


@pytest.mark.parametrize("wanted", [{"regex": "[a-z]+"}, {"grammar": 'start: "a"'}])
def test_expressions_and_grammars_go_where_they_mean_what_vllm_means(wanted) -> None:
    for name in ("vllm", "llamacpp"):
        guided = Profile.from_json({**FULL.as_json(), "dialect": name})
        filled = request.chat(ask(structured_outputs=wanted), guided)
        assert filled["structured_outputs"] == wanted
        assert "stop" not in filled
    for name in ("llama-server", "sglang", "tensorrt-llm"):
        other = Profile.from_json({**FULL.as_json(), "dialect": name})
        with pytest.raises(ContractError, match=f"is not supported on {name}, .* use a JSON schema or `choice`") as no:
            request.chat(ask(structured_outputs=wanted), other)
        assert (no.value.status, no.value.param) == (400, f"structured_outputs.{next(iter(wanted))}")


@pytest.mark.parametrize(("fields", "schema"), [
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}, SCHEMA),
    ({"response_format": {"type": "json_object"}}, {"type": "object"}),
    ({"structured_outputs": {"json": SCHEMA}}, SCHEMA),
    ({"response_format": {"type": "text"}}, None),
    ({}, None),
])
def test_completions_take_a_bare_schema(fields, schema) -> None:
    filled = completion(**fields)
    assert filled.get("json_schema") == schema
    assert "response_format" not in filled


def test_reasoning_is_spelled_as_each_engine_reads_it() -> None:
    turns = [{"role": "assistant", "content": "a", "reasoning": "r"}]
    for fill, said in ((request.chat, ask(messages=turns)), (request.tokenize, {"messages": turns})):
        assert fill(said, LLAMA)["messages"][-1]["reasoning_content"] == "r"
        assert "reasoning" not in fill(said, LLAMA)["messages"][-1]
        assert fill(said, FULL)["messages"][-1]["reasoning"] == "r"


@pytest.mark.parametrize(("fields", "sent"), [
    ({"n": 2, "temperature": 0}, (1.0, 1)), ({"n": 2, "temperature": 1e-6, "top_k": 9}, (1.0, 1)),
    ({"n": 1, "temperature": 0}, (0, 40)), ({"n": 2, "temperature": 0.5}, (0.5, 40)),
])
def test_several_choices_at_temperature_0_are_spelled_as_vllm_takes_them(fields, sent) -> None:
    filled = request.chat(ask(**fields), replace(FULL, dialect="vllm"))
    assert (filled["temperature"], filled["top_k"]) == sent
    assert request.chat(ask(**fields), replace(FULL, dialect="llamacpp"))["temperature"] == fields["temperature"]
