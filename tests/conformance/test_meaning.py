"""What a request means is fixed by the Modelfile, not by the engine. Each test is a sentence of that promise."""

from __future__ import annotations

import json

import pytest

from tests.conformance.client import QUESTION, Server, finish, joined, text, user
from tests.conformance.meaning import CONTEXT, MAX_TOKENS, SAMPLING, STOP, SYSTEM

WRITTEN_OUT = {**SAMPLING, "stop": [STOP], "max_tokens": MAX_TOKENS,
               "messages": [{"role": "system", "content": SYSTEM}, *user()]}


def test_defaults_implied_and_written_out_cost_the_same_and_say_the_same(server: Server) -> None:
    implied, written = server.chat(), server.chat(**WRITTEN_OUT)
    assert implied["usage"] == written["usage"]
    assert text(implied) == text(written) != ""
    assert implied["choices"][0]["finish_reason"] == written["choices"][0]["finish_reason"]


def test_the_modelfiles_system_prompt_and_examples_are_part_of_the_prompt(server: Server) -> None:
    implied = server.chat()["usage"]["prompt_tokens"]
    shorter = server.chat(messages=[{"role": "system", "content": "Hi."}, *user()])["usage"]["prompt_tokens"]
    bare = server.complete(prompt=QUESTION)["usage"]["prompt_tokens"]
    assert bare < shorter < implied


@pytest.mark.parametrize("place", [0, 1])
def test_a_system_message_of_the_client_replaces_the_modelfiles_wherever_it_stands(server: Server, place: int) -> None:
    messages = [{"role": "user", "content": "Hello."}]
    messages.insert(place, {"role": "system", "content": SYSTEM})
    leading = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hello."}]
    assert server.chat(messages=messages)["usage"]["prompt_tokens"] \
        <= server.chat(messages=leading)["usage"]["prompt_tokens"] + 40  # never the system prompt twice and more


def test_developer_means_system(server: Server) -> None:
    answers = [server.chat(messages=[{"role": role, "content": "Answer in French."}, *user()])
               for role in ("system", "developer")]
    assert answers[0]["usage"] == answers[1]["usage"]
    assert text(answers[0]) == text(answers[1])


def test_content_parts_of_text_mean_their_concatenation(server: Server) -> None:
    parts = [{"type": "text", "text": QUESTION[:9]}, {"type": "text", "text": QUESTION[9:]}]
    whole, split = server.chat(), server.chat(messages=user(parts))
    assert whole["usage"] == split["usage"]
    assert text(whole) == text(split)


def test_an_assistants_content_of_null_is_an_empty_one(server: Server) -> None:
    turns = [[*user("Hi."), {"role": "assistant", "content": content}, *user()] for content in (None, "")]
    assert server.chat(messages=turns[0])["usage"] == server.chat(messages=turns[1])["usage"]


def test_null_means_absent(server: Server) -> None:
    nulls = dict.fromkeys(("temperature", "top_p", "seed", "stop", "max_tokens", "n", "stream", "logprobs", "tools",
                           "response_format", "max_completion_tokens", "stream_options"))
    implied, explicit = server.chat(), server.chat(**nulls)
    assert implied["usage"] == explicit["usage"]
    assert text(implied) == text(explicit)


def test_the_default_stop_string_ends_the_answer_and_is_not_in_it(server: Server) -> None:
    free = server.chat(stop=[], max_tokens=48)
    assert STOP in text(free)
    stopped = server.chat(max_tokens=48)
    assert text(stopped) == text(free).partition(STOP)[0]
    assert stopped["choices"][0]["finish_reason"] == "stop"


def test_a_stop_string_of_the_client_wins(server: Server) -> None:
    free = text(server.chat(stop=[], max_tokens=48))
    word = free.split()[1]
    answer = server.chat(stop=word, max_tokens=48)
    assert text(answer) == free.partition(word)[0]
    assert text(server.chat(stop=[word], max_tokens=48)) == text(answer)
    assert text(server.chat(stop=["@@@"], max_tokens=48)) == free


def test_the_default_max_tokens_is_a_default(server: Server) -> None:
    answer = server.chat(stop=[], ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == MAX_TOKENS
    assert answer["choices"][0]["finish_reason"] == "length"


def test_and_not_a_cap(server: Server) -> None:
    answer = server.chat(stop=[], ignore_eos=True, max_tokens=MAX_TOKENS + 9)
    assert answer["usage"]["completion_tokens"] == MAX_TOKENS + 9


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_completion_tokens_means_max_tokens(server: Server, name: str) -> None:
    answer = server.chat(stop=[], ignore_eos=True, **{name: 5})
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_completion_has_the_default_max_tokens_too(server: Server) -> None:
    assert server.complete(stop=[], ignore_eos=True)["usage"]["completion_tokens"] == MAX_TOKENS
    assert server.complete(stop=[], ignore_eos=True, max_tokens=3)["usage"]["completion_tokens"] == 3


def test_the_default_sampling_is_the_modelfiles(server: Server) -> None:
    assert text(server.chat()) == text(server.chat(temperature=0)) == text(server.chat(seed=99))


def test_a_seed_makes_chance_repeatable(server: Server) -> None:
    chance = {"temperature": 1.5, "top_p": 1, "top_k": 0, "max_tokens": 8}
    said = {text(server.chat(**chance, seed=seed, fresh=True)) for seed in (11, 11, 11)}
    assert len(said) == 1
    others = {text(server.chat(**chance, seed=seed)) for seed in range(20, 24)}
    assert len(others) > 1


def test_streamed_and_not_streamed_say_the_same(server: Server) -> None:
    for fields in ({}, {"stop": [], "max_tokens": 9}, {"temperature": 1.0, "seed": 3, "max_tokens": 8}):
        whole, chunks = server.chat(**fields), server.streamed(**fields)
        assert joined(chunks) == text(whole)
        assert finish(chunks) == whole["choices"][0]["finish_reason"]
    whole, chunks = server.complete(), server.streamed("/v1/completions", prompt="Once upon a time")
    assert joined(chunks) == text(whole)


SCHEMA = {"type": "object", "properties": {"answer": {"type": "string", "enum": ["a.b"]}}, "required": ["answer"],
          "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


def test_the_default_stop_string_does_not_cut_what_a_schema_forces(server: Server) -> None:
    answer = server.chat(response_format=FORMAT, max_tokens=60)
    assert json.loads(text(answer)) == {"answer": "a.b"}


def test_a_stop_string_of_the_client_does(server: Server) -> None:
    assert "b" not in text(server.chat(response_format=FORMAT, max_tokens=60, stop=STOP))


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "choose"}}], ids=str)
def test_nor_does_it_cut_a_forced_tool_call(server: Server, choice: object) -> None:
    tool = {"type": "function", "function": {"name": "choose", "parameters": SCHEMA}}
    asked = {"tools": [tool], "tool_choice": choice, "parallel_tool_calls": False, "max_tokens": 60}
    answer = server.chat(**asked)
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert answer["choices"][0]["finish_reason"] == ("tool_calls" if choice == "required" else "stop")
    assert call["type"] == "function" and call["id"]
    assert call["function"]["name"] == "choose"
    assert json.loads(call["function"]["arguments"]) == {"answer": "a.b"}
    deltas = [c["delta"].get("tool_calls") or [] for chunk in server.streamed(**asked) for c in chunk["choices"]]
    # The same JSON: vLLM writes a required call's arguments anew, with blanks, where it does not stream.
    assert json.loads("".join(d["function"].get("arguments") or "" for delta in deltas for d in delta)) \
        == json.loads(call["function"]["arguments"])


def test_several_choices_are_as_many_answers(server: Server) -> None:
    answer = server.chat(n=3, temperature=1.0, max_tokens=4)
    assert sorted(choice["index"] for choice in answer["choices"]) == [0, 1, 2]


def test_the_model_is_the_modelfiles_name(server: Server) -> None:
    models = server.http.get("/v1/models").json()
    assert [model["id"] for model in models["data"]] == ["conformance"]
    assert models["object"] == "list"
    assert models["data"][0]["max_model_len"] == CONTEXT
    assert server.http.get("/v1/models/conformance").json() == models["data"][0]
    assert server.chat()["model"] == "conformance"


def test_the_openai_package_understands_the_answers(server: Server) -> None:
    client = server.openai
    answer = client.chat.completions.create(model="conformance", messages=user())  # type: ignore[arg-type]
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == text(server.chat())
    assert [model.id for model in client.models.list()] == ["conformance"]
    stream = client.chat.completions.create(model="conformance", messages=user(),
                                            stream=True)  # type: ignore[call-overload]
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == answer.choices[0].message.content
