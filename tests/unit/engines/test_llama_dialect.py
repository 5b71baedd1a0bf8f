"""llama-server's streams, as a client of the contract reads them. The events are what llama-server b11549 sent."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from modelkit.engines.llama_host.events import DONE, Answer
from modelkit.engines.llama_host.request import Asked, Kind, ask
from modelkit.engines.llama_host.tools import CallReader

HEAD = {"created": 1, "id": "chatcmpl-x", "model": "demo", "system_fingerprint": "b0-unknown"}
TIMINGS = {"timings": {"cache_n": 31, "prompt_n": 1, "predicted_n": 2}}
TOOL = {"type": "function", "function": {"name": "w", "parameters": {"type": "object", "properties": {}}}}


def sse(*values: Any) -> bytes:
    return b"".join(b"data: " + (v.encode() if isinstance(v, str) else json.dumps(v, separators=(",", ":")).encode())
                    + b"\n\n" for v in values)


def delta(said: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"finish_reason": finish, "index": index, "delta": said, **more}], **HEAD,
            "object": "chat.completion.chunk"}


def text(said: str, finish: str | None = None, index: int = 0, logprobs: Any = None) -> dict[str, Any]:
    return {"choices": [{"text": said, "index": index, "logprobs": logprobs, "finish_reason": finish}], **HEAD,
            "object": "text_completion"}


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
                      "prompt_tokens_details": {"cached_tokens": 3}}}


def asked(kind: Kind = "chat", slots: int = 4, **body: Any) -> Asked:
    return ask(kind, body, slots)


def events(raw: bytes) -> list[Any]:
    return [json.loads(e[6:]) if e != b"data: [DONE]" else "[DONE]" for e in raw.split(b"\n\n") if e]


def streamed(question: Asked, *parts: bytes) -> list[Any]:
    answer = Answer(question, "fp")
    return events(b"".join(answer.feed(n, part) for n, part in enumerate(parts)))


def folded(question: Asked, *parts: bytes) -> dict[str, Any]:
    answer = Answer(question, "fp")
    for n, part in enumerate(parts):
        assert answer.feed(n, part) == b""
    assert answer.complete
    return answer.whole()


PLAIN = sse(delta({"role": "assistant", "content": None}), delta({"content": "Hi"}), delta({"content": " you"}),
            delta({}, "stop") | TIMINGS, "[DONE]")


# streams

def test_a_plain_stream_loses_what_is_llama_servers_own() -> None:
    seen = streamed(asked(stream=True), PLAIN)
    assert [e["choices"][0]["delta"] for e in seen[:-1]] == [{"role": "assistant", "content": ""}, {"content": "Hi"},
                                                             {"content": " you"}, {}]
    assert seen[-1] == "[DONE]"
    assert all(e["system_fingerprint"] == "fp" and set(e) <= {*HEAD, "choices", "object"} for e in seen[:-1])


@pytest.mark.parametrize("size", [1, 7, 64])
def test_where_the_network_cuts_does_not_matter(size: int) -> None:
    answer = Answer(asked(stream=True), "fp")
    cut = b"".join(answer.feed(0, PLAIN[at:at + size]) for at in range(0, len(PLAIN), size))
    assert events(cut) == streamed(asked(stream=True), PLAIN)


def test_an_event_passes_before_the_next_one_exists() -> None:
    answer = Answer(asked(stream=True), "fp")
    first, second = sse(delta({"content": "a"})), sse(delta({"content": "b"}))
    assert b'"content":"a"' in answer.feed(0, first + second[:9])
    assert b'"content":"b"' in answer.feed(0, second[9:])


def test_a_text_that_looks_like_the_dialect_stays_as_it_is() -> None:
    spoken = '"timings":{} "usage": null data: [DONE]\n\n"logprobs":{'
    (said, _) = streamed(asked(stream=True), sse(delta({"content": spoken}), "[DONE]"))
    assert said["choices"][0]["delta"]["content"] == spoken


def test_usage_comes_once_at_the_end_and_only_when_asked_for() -> None:
    stream = PLAIN.replace(DONE, sse({"choices": [], **HEAD} | usage(32, 2) | TIMINGS, "[DONE]"))
    with_usage = streamed(asked(stream=True, stream_options={"include_usage": True}), stream)
    assert with_usage[-2]["usage"] == {"prompt_tokens": 32, "completion_tokens": 2, "total_tokens": 34}
    assert with_usage[-2]["choices"] == []
    assert not any("usage" in e for e in streamed(asked(stream=True), stream)[:-1])


def test_reasoning_is_spelled_both_ways() -> None:
    (said, _) = streamed(asked(stream=True), sse(delta({"reasoning_content": "hm"}), "[DONE]"))
    assert said["choices"][0]["delta"] == {"reasoning_content": "hm", "reasoning": "hm"}
    answer = folded(asked(), sse(delta({"reasoning_content": "h"}), delta({"reasoning_content": "m"}),
                                 delta({"content": "42"}), delta({}, "stop"), "[DONE]"))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "42", "reasoning": "hm",
                                               "reasoning_content": "hm"}


def test_an_error_inside_a_stream_is_told_in_the_envelope() -> None:
    answer = Answer(asked(stream=True), "fp")
    answer.feed(0, sse(delta({"content": "a"}), {"error": {"code": 500, "message": "no room", "type": "server_error"}}))
    assert answer.error == {"error": {"message": "no room", "type": "server_error", "param": None,
                                      "code": "engine_error"}}


# whole answers

def test_a_folded_answer_says_what_the_stream_said() -> None:
    stream = PLAIN.replace(DONE, sse({"choices": [], **HEAD} | usage(32, 2), "[DONE]"))
    answer = folded(asked(), stream)
    assert answer["choices"] == [{"index": 0, "message": {"role": "assistant", "content": "Hi you"}, "logprobs": None,
                                  "finish_reason": "stop"}]
    assert answer["usage"] == {"prompt_tokens": 32, "completion_tokens": 2, "total_tokens": 34}
    assert (answer["object"], answer["id"], answer["system_fingerprint"]) == ("chat.completion", "chatcmpl-x", "fp")


def test_tool_calls_of_the_model_itself_are_put_together() -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        return delta({"tool_calls": [{"index": index, "id": f"c{index}", "type": "function", "function": function}]})

    begun = delta({"role": "assistant", "content": None})
    stream = sse(begun, call(0, name="w", arguments=""), call(0, arguments='{"a"'), call(0, arguments=":1}"),
                 call(1, name="v", arguments="{}"), delta({}, "tool_calls"), "[DONE]")
    calls = folded(asked(), stream)["choices"][0]["message"]["tool_calls"]
    assert [(c["id"], c["function"]) for c in calls] == [("c0", {"name": "w", "arguments": '{"a":1}'}),
                                                         ("c1", {"name": "v", "arguments": "{}"})]
    one = folded(asked(parallel_tool_calls=False), stream)["choices"][0]["message"]["tool_calls"]
    assert len(one) == 1


# log-probabilities

TOKEN = {"id": 57, "token": "I", "bytes": [73], "logprob": -2.25,
         "top_logprobs": [{"id": 57, "token": "I", "bytes": [73], "logprob": -2.25},
                          {"id": 9, "token": "He", "bytes": [72, 101], "logprob": -3.4e38}]}


@pytest.mark.parametrize(("top", "others"), [(0, []), (1, [("I", -2.25)]), (2, [("I", -2.25), ("He", -9999.0)])])
def test_chat_log_probabilities(top: int, others: list[tuple[str, float]]) -> None:
    question = asked(logprobs=True, top_logprobs=top, stream=True)
    assert json.loads(question.parts[0].body)["top_logprobs"] == max(1, top)
    (said, _) = streamed(question, sse(delta({"content": "I"}, logprobs={"content": [TOKEN]}), "[DONE]"))
    (token,) = said["choices"][0]["logprobs"]["content"]
    assert {k: token[k] for k in ("token", "bytes", "logprob")} == {"token": "I", "bytes": [73], "logprob": -2.25}
    assert [(o["token"], o["logprob"]) for o in token["top_logprobs"]] == others
    assert "id" not in token


def test_completions_have_openais_older_form() -> None:
    stream = sse(text("I", logprobs={"content": [TOKEN]}), text("I", logprobs={"content": [TOKEN]}),
                 text("", "length") | usage(2, 2) | TIMINGS, "[DONE]")
    answer = folded(asked("text", prompt="x", logprobs=1), stream)
    assert answer["choices"][0]["logprobs"] == {"tokens": ["I", "I"], "token_logprobs": [-2.25, -2.25],
                                                "top_logprobs": [{"I": -2.25}] * 2, "text_offset": [0, 1]}
    assert answer["id"] == "cmpl-x" and answer["object"] == "text_completion"


def test_a_completions_stream_has_a_usage_chunk_of_its_own() -> None:
    stream = sse(text("I"), text("", "length") | usage(2, 1) | TIMINGS, "[DONE]")
    seen = streamed(asked("text", prompt="x", stream=True, stream_options={"include_usage": True}), stream)
    assert [len(e["choices"]) for e in seen[:-1]] == [1, 1, 0]
    assert seen[2]["usage"]["total_tokens"] == 3 and all(e["id"] == "cmpl-x" for e in seen[:-1])


# several choices, several prompts

def test_more_choices_than_slots_are_several_requests() -> None:
    question = asked(n=5, seed=7, slots=2)
    bodies = [json.loads(part.body) for part in question.parts]
    assert [(b.get("n", 1), b["seed"], p.offset) for b, p in zip(bodies, question.parts, strict=True)] == [
        (2, 7, 0), (2, 9, 2), (1, 11, 4)]
    assert not question.plain


def test_usage_counts_every_choice_and_every_prompt_once() -> None:
    question = asked("text", prompt=["a", "b"], n=3, slots=2, stream=True, stream_options={"include_usage": True})
    assert [(p.prompt, p.offset) for p in question.parts] == [(0, 0), (0, 2), (1, 3), (1, 5)]
    two = sse("null", text("x", "stop", 0) | usage(4, 1), text("y", "stop", 1) | usage(4, 1), "[DONE]")
    one = sse(text("z", "stop", 0) | usage(4, 2), "[DONE]")
    seen = streamed(question, two, one, two, one)
    assert [e["choices"][0]["index"] for e in seen[:-2]] == [0, 1, 2, 3, 4, 5]
    assert seen[-2]["usage"] == {"prompt_tokens": 8, "completion_tokens": 8, "total_tokens": 16}
    assert seen.count("[DONE]") == 1
    assert len({e["id"] for e in seen[:-1]}) == 1


def test_token_ids_are_one_prompt() -> None:
    assert len(asked("text", prompt=[1, 2, 3]).parts) == 1
    assert len(asked("text", prompt=[[1, 2], [3]]).parts) == 2


# forced tools

def test_a_named_tool_is_forced_with_every_tool_in_the_prompt() -> None:
    other = {"type": "function", "function": {"name": "v"}}
    choice = {"type": "function", "function": {"name": "w"}}
    body = json.loads(asked(tools=[TOOL, other], tool_choice=choice).parts[0].body)
    assert body["tools"] == [TOOL, other] and body["tool_choice"] == "none"
    assert body["response_format"]["json_schema"]["schema"] == TOOL["function"]["parameters"]


def test_a_required_tool_is_an_array_with_its_definitions_at_the_root() -> None:
    parameters = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "d", "parameters": parameters}}
    body = json.loads(asked(tools=[TOOL, tool], tool_choice="required", parallel_tool_calls=False).parts[0].body)
    schema = body["response_format"]["json_schema"]["schema"]
    assert (schema["minItems"], schema["maxItems"]) == (1, 1)
    assert schema["$defs"] == {"A": {"type": "string"}}
    assert [one["properties"]["name"]["const"] for one in schema["items"]["anyOf"]] == ["w", "d"]


@pytest.mark.parametrize("choice", ["auto", "none", None])
def test_what_forces_nothing_is_left_alone(choice: str | None) -> None:
    question = asked(tools=[TOOL], tool_choice=choice)
    assert question.forced is None
    assert "response_format" not in json.loads(question.parts[0].body)


CALLS = '[ {"name": "w", "parameters": {"a": "}]\\"{", "b": [1, {"c": 2}]} },\n {"name" : "v","parameters":{}}]'


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_forced_calls_are_read_however_the_text_is_cut(size: int) -> None:
    reader = CallReader(None)
    deltas = list(itertools.chain.from_iterable(reader.feed(CALLS[at:at + size]) for at in range(0, len(CALLS), size)))
    named = [(d["index"], d["function"]["name"]) for d in deltas if "name" in d["function"]]
    arguments = ["".join(d["function"]["arguments"] for d in deltas if d["index"] == n) for n in (0, 1)]
    assert named == [(0, "w"), (1, "v")]
    assert arguments == ['{"a": "}]\\"{", "b": [1, {"c": 2}]}', "{}"]
    assert all(d["id"].startswith("chatcmpl-tool-") for d in deltas if "id" in d)


@pytest.mark.parametrize(("choice", "said", "finish"), [
    ("required", '[{"name":"w","parameters":{"c": 1}}]', "tool_calls"),
    ({"type": "function", "function": {"name": "w"}}, ' {"c": 1}', "stop"),
])
def test_a_forced_call_is_the_same_streamed_and_folded(choice: Any, said: str, finish: str) -> None:
    stream = sse(delta({"role": "assistant", "content": None}), *(delta({"content": c}) for c in said),
                 delta({}, "stop") | TIMINGS, "[DONE]")
    message = folded(asked(tools=[TOOL], tool_choice=choice), stream)["choices"][0]
    assert message["finish_reason"] == finish
    assert [c["function"] for c in message["message"]["tool_calls"]] == [{"name": "w", "arguments": '{"c": 1}'}]
    assert message["message"]["content"] == ""
    chunks = [e["choices"][0] for e in streamed(asked(tools=[TOOL], tool_choice=choice, stream=True), stream)[:-1]]
    calls = [c for chunk in chunks for c in chunk["delta"].get("tool_calls", ())]
    assert "".join(c["function"]["arguments"] for c in calls) == '{"c": 1}'
    assert "".join(c["delta"].get("content") or "" for c in chunks) == ""
    assert chunks[-1]["finish_reason"] == finish


def test_a_call_cut_off_by_the_limit_says_so() -> None:
    stream = sse(delta({"content": '[{"name":"w","parameters":{"c"'}), delta({}, "length"), "[DONE]")
    choice = folded(asked(tools=[TOOL], tool_choice="required"), stream)["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"c"'


# adapters

@pytest.mark.parametrize("more", [{}, {"logprobs": True}])
def test_an_answer_is_the_adapters_that_was_asked_for(more: dict[str, Any]) -> None:
    """llama-server calls every answer by its own one name."""
    said = sse(delta({"role": "assistant", "content": None}), delta({"content": 'the "model":"demo" says hi'}),
               delta({}, "stop"), usage(3, 2) | HEAD | {"choices": []}, "[DONE]")
    lora = {"model": "org/kind", "lora": [{"id": 0, "scale": 1.0}], **more}
    chunks = [one for one in streamed(asked(stream=True, **lora), said) if one != "[DONE]"]
    assert {one["model"] for one in chunks} == {"org/kind"}
    assert "".join(c["delta"].get("content") or "" for one in chunks for c in one["choices"]) \
        == 'the "model":"demo" says hi'
    answer = Answer(asked(**lora), "fp")
    answer.feed(0, said)
    assert answer.whole()["model"] == "org/kind"
    assert {one["model"] for one in streamed(asked(stream=True, model="other"), said) if one != "[DONE]"} == {"demo"}
