"""One chunk of llama-server's stream, made into the chunk that the contract promises. Pure."""

from __future__ import annotations

from typing import Any

from modelkit.engines.llama_host.request import Asked
from modelkit.engines.llama_host.tools import CallReader

_LOWEST = -9999.0
"""What an impossible token's log-probability is shown as: JSON has no infinity, and vLLM shows this."""


class Dialect:
    """The state that one client's answer needs between chunks: per choice, and the usage of all of them."""

    def __init__(self, asked: Asked, fingerprint: str) -> None:
        self._asked = asked
        self._fingerprint = fingerprint
        self._readers: dict[int, CallReader] = {}
        self._text_offsets: dict[int, int] = {}
        self._prompt_tokens: dict[int, int] = {}
        self._completion_tokens = 0
        self._head: dict[str, Any] | None = None  # id, created, model: those of the first chunk

    def chunk(self, part: int, chunk: dict[str, Any]) -> dict[str, Any] | None:
        """The chunk as the client reads it; None when nothing of it is left."""
        chunk.pop("timings", None)
        chunk.pop("__verbose", None)
        if self._asked.kind == "text" and str(chunk.get("id", "")).startswith("chatcmpl-"):
            chunk["id"] = chunk["id"][4:]
        if self._head is None:
            self._head = {k: chunk.get(k) for k in ("id", "created", "model", "object")}
            if self._asked.model is not None:
                self._head["model"] = self._asked.model
        chunk |= self._head | {"system_fingerprint": self._fingerprint}
        self._count(part, chunk.pop("usage", None))
        chunk["choices"] = [c for c in chunk.get("choices", ()) if self._choice(part, c)]
        return chunk if chunk["choices"] else None

    def usage(self) -> dict[str, int]:
        """Prompts count once each, answers all."""
        prompt = sum(self._prompt_tokens.values())
        return {"prompt_tokens": prompt, "total_tokens": prompt + self._completion_tokens,
                "completion_tokens": self._completion_tokens}

    def usage_chunk(self) -> dict[str, Any]:
        return {**(self._head or {}), "choices": [], "usage": self.usage()}

    def _count(self, part: int, usage: dict[str, Any] | None) -> None:
        if usage:
            self._prompt_tokens[self._asked.parts[part].prompt] = usage["prompt_tokens"]
            self._completion_tokens += usage["completion_tokens"]

    def _choice(self, part: int, choice: dict[str, Any]) -> bool:
        """Rewrite one choice in place; whether there is anything left to say."""
        choice["index"] += self._asked.parts[part].offset
        if self._asked.kind == "text":
            choice["logprobs"] = self._legacy_logprobs(choice)
            return True
        if logprobs := choice.get("logprobs"):
            choice["logprobs"] = {"content": [self._token(t) for t in logprobs.get("content") or ()]}
        delta = choice["delta"]
        if "role" in delta and delta.get("content") is None:
            delta["content"] = ""
        if "reasoning_content" in delta:
            delta["reasoning"] = delta["reasoning_content"]
        if self._asked.forced is not None:
            return self._forced(choice, delta)
        return True

    def _forced(self, choice: dict[str, Any], delta: dict[str, Any]) -> bool:
        forced = self._asked.forced
        assert forced is not None
        reader = self._readers.setdefault(choice["index"], forced.reader())
        if "role" not in delta and (text := delta.pop("content", None)) and (calls := reader.feed(text)):
            delta["tool_calls"] = calls
        if choice.get("finish_reason") == "stop":
            choice["finish_reason"] = forced.finish_reason
        return bool(delta or choice.get("finish_reason"))

    def _token(self, token: dict[str, Any]) -> dict[str, Any]:
        """One token's log-probabilities, with as many alternatives as were asked for."""
        said = {"token": token["token"], "logprob": max(token["logprob"], _LOWEST), "bytes": token.get("bytes")}
        others = token.get("top_logprobs", ())[: self._asked.top_logprobs or 0]
        return said | {"top_logprobs": [{"token": o["token"], "logprob": max(o["logprob"], _LOWEST),
                                         "bytes": o.get("bytes")} for o in others]}

    def _legacy_logprobs(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        """`/v1/completions` has a form of its own: four lists in step."""
        content = (choice.get("logprobs") or {}).get("content")
        if not content:
            return None
        tokens = [self._token(t) for t in content]
        offset = self._text_offsets.get(choice["index"], 0)
        offsets = []
        for token in tokens:
            offsets.append(offset)
            offset += len(token["token"])
        self._text_offsets[choice["index"]] = offset
        return {"tokens": [t["token"] for t in tokens], "token_logprobs": [t["logprob"] for t in tokens],
                "top_logprobs": [{o["token"]: o["logprob"] for o in (t, *t["top_logprobs"])} for t in tokens],
                "text_offset": offsets}


class Fold:
    """A whole answer out of the chunks of its stream."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, chunk: dict[str, Any]) -> None:
        self._head = {k: chunk[k] for k in ("id", "created", "model", "system_fingerprint") if k in chunk}
        for choice in chunk["choices"]:
            whole = self._choices.setdefault(choice["index"], self._empty(choice["index"]))
            if choice.get("finish_reason"):
                whole["finish_reason"] = choice["finish_reason"]
            if logprobs := choice.get("logprobs"):
                _extend(whole, "logprobs", logprobs)
            if self._asked.kind == "text":
                whole["text"] += choice["text"]
            else:
                self._delta(whole["message"], choice["delta"])

    def answer(self, usage: dict[str, int]) -> dict[str, Any]:
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            calls = choice.get("message", {}).get("tool_calls")
            if calls and not self._asked.parallel_calls:
                del calls[1:]
        name = "chat.completion" if self._asked.kind == "chat" else "text_completion"
        return {**self._head, "object": name, "choices": choices, "usage": usage}

    def _empty(self, index: int) -> dict[str, Any]:
        if self._asked.kind == "text":
            return {"index": index, "text": "", "logprobs": None, "finish_reason": None}
        return {"index": index, "message": {"role": "assistant", "content": None}, "logprobs": None,
                "finish_reason": None}

    @staticmethod
    def _delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
        for key in ("content", "reasoning_content", "reasoning"):
            if delta.get(key) is not None:
                message[key] = (message.get(key) or "") + delta[key]
        for call in delta.get("tool_calls") or ():
            calls = message.setdefault("tool_calls", [])
            if call["index"] == len(calls):
                calls.append({"id": call["id"], "type": "function", "function": dict(call["function"])})
            else:
                calls[call["index"]]["function"]["arguments"] += call["function"].get("arguments") or ""


def _extend(whole: dict[str, Any], key: str, lists: dict[str, list[Any]]) -> None:
    if whole[key] is None:
        whole[key] = lists
        return
    for name, values in lists.items():
        whole[key][name].extend(values)
