"""Answers of chat completions, whole and as the chunks of a stream, as engines send them."""

from __future__ import annotations

import json
from typing import Any

USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 2}}
DONE = b"data: [DONE]\n\n"
TOKEN = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105],
         "top_logprobs": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}]}


def event(**fields: Any) -> bytes:
    """A chunk."""
    whole = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "support", **fields}
    return b"data: %b\n\n" % json.dumps(whole, ensure_ascii=False).encode()


def delta(fields: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """A chunk with one choice."""
    return event(choices=[{"index": 0, "delta": fields, "logprobs": None, "finish_reason": finish, **more}])


def call(index: int, id: str | None = None, name: str | None = None, arguments: str | None = None) -> bytes:
    """A chunk with a piece of a tool call."""
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    return delta({"tool_calls": [{"index": index, **({"id": id, "type": "function"} if id else {}),
                                  "function": function}]})


ROLE = delta({"role": "assistant", "content": ""})
USED = event(choices=[], usage=USAGE)

STREAMS: dict[str, tuple[bytes, ...]] = {
    "text": (ROLE, delta({"content": "Grüße"}), delta({"content": " 🙂\n\n"}), delta({"content": "data: x"}),
             delta({}, "stop", stop_reason=None), USED, DONE),
    "logprobs": (ROLE, delta({"content": "Hi"}, logprobs={"content": [TOKEN]}), delta({}, "stop"), USED, DONE),
    "finish with the last text": (delta({"role": "assistant", "content": "Hi"}), delta({"content": "!"}, "length"),
                                  USED, DONE),
    "reasoning": (ROLE, delta({"reasoning": "H", "reasoning_content": "H"}), delta({"reasoning_content": "m"}),
                  delta({"content": "So."}), delta({}, "stop"), USED, DONE),
    "calls": (ROLE, delta({"content": "Let me see."}), call(0, "call_a", "weather", ""), call(0, arguments='{"city"'),
              call(0, arguments=': "Rome"}'), call(1, "call_b", "weather", '{"city": "Ostia"}'),
              delta({}, "tool_calls"), USED, DONE),
    "a named call": (ROLE, call(0, "call_a", "weather"), call(0, arguments="{}"), delta({"content": ""}, "stop"), USED,
                     DONE),
    "a call without arguments": (call(0, "call_a", "now"), delta({}, "tool_calls"), USED, DONE),
    "a call cut short": (call(0, "call_a", "now", '{"a'), delta({}, "length"), USED, DONE),
    "a stop string": (ROLE, delta({"content": "one"}), delta({"content": ""}, "stop", stop_reason="END"), USED, DONE),
    "a stop token": (ROLE, delta({"content": "one"}), delta({"content": ""}, "stop", stop_reason=128009), USED, DONE),
    "nothing": (ROLE, delta({}, "stop"), USED, DONE),
    "all": (ROLE, delta({"reasoning": "Hm."}), delta({"content": "I look."}), call(0, "call_a", "weather", "{}"),
            delta({}, "tool_calls"), USED, DONE),
    "without usage": (ROLE, delta({"content": "Hi"}), delta({}, "stop"), DONE),
    "without an end": (ROLE, delta({"content": "Hi"})),
    "with an error": (ROLE, delta({"content": "Hi"}),
                      b'data: {"error": {"message": "EngineCore died in /usr/x.py", "type": "x", "code": 500}}\n\n',
                      DONE),
    "with the client's error": (b'data: {"error": {"message": "bad grammar", "type": "x", "code": 400}}\n\n', DONE),
    "given up": (ROLE, delta({"content": "Hi"}), delta({}, "abort"), USED, DONE),
    "not JSON": (ROLE, delta({"content": "Hi"}), b"data: {oops\n\n", delta({"content": "x"}), DONE),
    "not a chunk": (ROLE, b"data: [1]\n\n", DONE),
    "calls mixed up": (call(0, "a", "f"), call(1, "b", "f"), call(0, arguments="{}"), delta({}, "tool_calls"), DONE),
    "text in a call": (call(0, "a", "f", "{"), delta({"content": "x"}), call(0, arguments="}"), delta({}, "stop"),
                       DONE),
    "numbers for text": (ROLE, delta({"content": 5}), delta({}, "stop"), DONE),
    "comments and other ends of lines": (b": ping\r\n\r\n", ROLE.replace(b"\n", b"\r\n"),
                                         b'data: {"choices": [{"index": 0,\ndata: "delta": {"content": "Hi"}}]}\n\n',
                                         delta({}, "stop"), b"event: x\n\n", DONE),
}


def answer(message: dict[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    """A whole answer."""
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "support", "usage": USAGE,
            "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish,
                         "logprobs": None, **more}]}


def tool_call(id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


WHOLE: dict[str, dict[str, Any]] = {
    "text": answer({"content": "Grüße 🙂\n\ndata: x"}),
    "logprobs": answer({"content": "Hi"}, logprobs={"content": [TOKEN]}),
    "finish with the last text": answer({"content": "Hi!"}, "length"),
    "reasoning": answer({"content": "So.", "reasoning": "Hm"}),
    "calls": answer({"content": "Let me see.", "tool_calls": [tool_call("call_a", "weather", '{"city": "Rome"}'),
                                                             tool_call("call_b", "weather", '{"city": "Ostia"}')]},
                    "tool_calls"),
    "a named call": answer({"content": None, "tool_calls": [tool_call("call_a", "weather", "{}")]}),
    "a call without arguments": answer({"content": "", "tool_calls": [tool_call("call_a", "now", "")]}, "tool_calls"),
    "a call cut short": answer({"content": None, "tool_calls": [tool_call("call_a", "now", '{"a')]}, "length"),
    "a stop string": answer({"content": "one"}, stop_reason="END"),
    "a stop token": answer({"content": "one"}, stop_reason=128009),
    "nothing": answer({"content": ""}),
    "all": answer({"content": "I look.", "reasoning": "Hm.", "tool_calls": [tool_call("call_a", "weather", "{}")]},
                  "tool_calls"),
}
"""The same answers as the streams of these names."""
