"""What SGLang and TensorRT-LLM are sent, and their texts for what went wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from modelkit.contract import request
from modelkit.contract.engine_errors import from_engine
from modelkit.contract.errors import ContractError
from tests.unit.contract.profiles import FULL, PLAIN, ask, weather

SGLANG, TRTLLM = replace(FULL, dialect="sglang"), replace(FULL, dialect="tensorrt-llm")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
CHAIN = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "x", "reasoning": "because"},
         {"role": "user", "content": "And?"}]


def test_the_whole_set_is_sent() -> None:
    filled = request.chat(ask(), SGLANG)
    del filled["messages"]
    assert filled == {"model": "support", "temperature": 0.2, "top_p": 0.9, "top_k": 40, "min_p": 0.0, "seed": 7,
                      "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
                      "stop": ["<|im_end|>", "###"], "max_tokens": 64}
    same = request.chat(ask(), TRTLLM)
    del same["messages"]
    assert same == filled


@pytest.mark.parametrize(("top_k", "spelled"), [(0, -1), (-1, -1), (5, 5)])
def test_sglang_says_all_tokens_with_another_number(top_k: int, spelled: int) -> None:
    assert request.chat(ask(top_k=top_k), SGLANG)["top_k"] == spelled
    assert request.completion({"model": "support", "prompt": "x", "top_k": top_k}, SGLANG)["top_k"] == spelled


@pytest.mark.parametrize(("seed", "sglang", "trtllm"), [
    (7, 7, 7), (-1, None, None), (-2, -2, 2**63 - 2), (2**63 - 1, 2**63 - 1, 2**63 - 1)])
def test_seeds(seed: int, sglang: int | None, trtllm: int | None) -> None:
    assert request.chat(ask(seed=seed), SGLANG).get("seed") == sglang
    assert request.chat(ask(seed=seed), TRTLLM).get("seed") == trtllm


@pytest.mark.parametrize(("wanted", "sglang", "trtllm"), [
    ({"structured_outputs": {"json": SCHEMA}}, {"response_format": FORMAT},
     {"response_format": {"type": "json", "schema": SCHEMA}}),
    ({"structured_outputs": {"json_object": True}}, {"response_format": {"type": "json_object"}},
     {"response_format": {"type": "json_object"}}),
    ({"structured_outputs": {"choice": ["a", 'b"']}}, {"ebnf": 'root ::= "a" | "b\\""'},
     {"response_format": {"type": "ebnf", "ebnf": 'root ::= "a" | "b\\""'}}),
    ({"response_format": FORMAT}, {"response_format": FORMAT}, {"response_format": {"type": "json", "schema": SCHEMA}}),
    ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}},
     {"response_format": {"type": "json_object"}}),
], ids=["schema", "object", "choice", "format", "format object"])
@pytest.mark.parametrize("kind", ["chat", "completion"])
def test_what_shapes_an_answer(kind: str, wanted: Any, sglang: Any, trtllm: Any) -> None:
    for profile, expected in ((SGLANG, sglang), (TRTLLM, trtllm)):
        filled = request.chat(ask(**wanted), profile) if kind == "chat" else \
            request.completion({"model": "support", "prompt": "x", **wanted}, profile)
        assert {name: filled[name] for name in ("response_format", "ebnf", "structured_outputs", "stop")
                if name in filled} == expected


@pytest.mark.parametrize("profile", [SGLANG, TRTLLM])
def test_reasoning_goes_by_its_older_name(profile: Any) -> None:
    said = request.chat(ask(messages=CHAIN), profile)["messages"]
    assert [m.get("reasoning_content") for m in said if m["role"] == "assistant"][-1] == "because"
    assert not any("reasoning" in m for m in said)


def test_an_adapter_of_sglang_has_a_field_of_its_own() -> None:
    assert "lora_path" not in request.chat(ask(), SGLANG)
    chosen = request.chat(ask(model="support-fr"), SGLANG)
    assert (chosen["model"], chosen["lora_path"]) == ("support-fr", "support-fr")
    colons = replace(SGLANG, name="team:support", adapters=("legal:de",))
    chosen = request.chat(ask(model="legal:de"), colons)
    assert (chosen["model"], chosen["lora_path"]) == ("team:support", "legal:de")
    assert request.chat(ask(model="team:support"), colons)["model"] == "team:support"


def test_an_adapter_that_is_part_of_the_model_is_always_asked_for() -> None:
    own = replace(SGLANG, adapters=("support",))
    assert request.chat(ask(), own)["lora_path"] == "support"


def test_sglang_tokenizes_as_it_chats() -> None:
    assert "add_generation_prompt" not in request.tokenize(ask(), SGLANG)
    assert request.tokenize({**ask(), "add_generation_prompt": False}, SGLANG)["add_generation_prompt"] is False
    assert request.tokenize({"model": "support", "prompt": "x"}, SGLANG)["prompt"] == "x"
    with pytest.raises(ContractError, match="return_token_strs"):
        request.tokenize({**ask(), "return_token_strs": True}, SGLANG)


@pytest.mark.parametrize(("fields", "param"), [
    ({"tools": [weather()], "tool_choice": "required"}, "tool_choice"),
    ({"tools": [weather()], "tool_choice": {"type": "function", "function": {"name": "weather"}}}, "tool_choice"),
    ({"tools": [weather()], "tool_choice": "none", "parallel_tool_calls": False}, "parallel_tool_calls")])
def test_what_tensorrt_llm_cannot_promise_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ContractError) as refused:
        request.chat(ask(**fields), TRTLLM)
    assert (refused.value.status, refused.value.param) == (400, param)


def test_tensorrt_llm_is_sent_no_field_that_it_does_not_know() -> None:
    filled = request.chat(ask(tools=[weather()], tool_choice="none", parallel_tool_calls=True), TRTLLM)
    assert "parallel_tool_calls" not in filled and filled["tool_choice"] == "none"


@pytest.mark.parametrize(("text", "tokens", "limit"), [
    ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", "5000", "4096"),
    ("Input length (5000 tokens) exceeds the maximum allowed length (4090 tokens). Use a shorter input or enable "
     "--allow-auto-truncate.", "5000", "4090"),
    ("`default_max_tokens` (-152) must be greater than 0, `default_max_tokens` (-152) = max_seq_len (8192) - "
     "`splited_prompt_len` (8344) - `query_token_len` (0)", "8344", "8192"),
    ("`prompt_token_ids` length (9000) is greater than `max_seq_len` (8192)", "9000", "8192"),
])
def test_prompts_that_are_too_long(text: str, tokens: str, limit: str) -> None:
    said = {"object": "error", "message": text, "type": "BadRequest", "param": None, "code": 400}
    error = from_engine(400, json.dumps(said).encode(), "messages")
    assert (error.code, error.param) == ("context_length_exceeded", "messages")
    assert tokens in error.message and limit in error.message


def test_a_dialect_is_known_or_the_server_does_not_start() -> None:
    with pytest.raises(ValueError, match="sglang"):
        request.checked_profile(replace(PLAIN, dialect="other"))
