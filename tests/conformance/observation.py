"""What one exchange showed, as facts to compare engines by. Texts are the model's affair, and no facts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_OPEN = frozenset(("choices[].logprobs.top_logprobs", "choices[].prompt_logprobs", "metadata"))
"""Where an object's keys are data."""

KINDS = {"/v1/chat/completions": "chat", "/v1/completions": "completion", "/v1/models": "models",
         "/tokenize": "tokenize", "/detokenize": "detokenize", "/v1/responses": "responses",
         "/v1/messages": "messages", "/v1/embeddings": "embeddings", "/v1/rerank": "rerank"}


@dataclass(frozen=True, order=True)
class Fact:
    """One exchange: what was asked, how it ended, and which fields the answer had.

    `end` is an error's status, code and param, or why a successful answer ended where the request decides that.
    """

    kind: str
    end: str
    fields: tuple[str, ...] = ()

    @property
    def shape(self) -> str:
        """A name for the fields."""
        digest = hashlib.sha256("\n".join(self.fields).encode()).hexdigest()
        return f"{self.kind.replace(' ', '-')}-{digest[:6]}" if self.fields else ""


@dataclass
class Observations:
    """What was seen while one test ran against one engine. The order of exchanges and their number do not count."""

    facts: set[Fact] = field(default_factory=set)

    def whole(self, path: str, request: Any, status: int, body: Any) -> None:
        kind = KINDS.get(path, path.partition("?")[0])
        if status >= 400:
            error = body.get("error") if isinstance(body, dict) else None
            error = error if isinstance(error, dict) else {}
            self.facts.add(Fact(kind, f"{status} {error.get('code')} {error.get('param')}"))
            return
        self.facts.add(Fact(kind, f"{status}{_finish(request, _choices(body))}", _fields(body)))

    def stream(self, path: str, request: Any, chunks: list[dict[str, Any]]) -> None:
        kind = f"{KINDS.get(path, path)} stream"
        choices = [choice for chunk in chunks for choice in _choices(chunk)]
        fields = {name for chunk in chunks for name in _fields(chunk)}
        if choices and "delta" in choices[0]:
            fields |= {f"first delta: {name}" for name in choices[0]["delta"]}
            fields |= {f"last delta: {name}" for name in choices[-1]["delta"]}
        self.facts.add(Fact(kind, f"200{_finish(request, choices)}", tuple(sorted(fields))))

    def note(self, name: str, value: Any) -> None:
        """Something that the test itself found: `value` is JSON, and long ones are told by their digest."""
        said = json.dumps(value, sort_keys=True)
        self.facts.add(Fact(name, said if len(said) <= 40 else hashlib.sha256(said.encode()).hexdigest()[:12]))


def _choices(body: Any) -> list[dict[str, Any]]:
    return list(body.get("choices") or ()) if isinstance(body, dict) else []


def _finish(request: Any, choices: list[dict[str, Any]]) -> str:
    """Why it ended, where the request and not the model's taste decides it."""
    decided = isinstance(request, dict) and (
        (request.get("ignore_eos") and request.get("stop") == [])
        or isinstance(request.get("tool_choice"), dict) or request.get("tool_choice") == "required")
    reasons = sorted({str(choice["finish_reason"]) for choice in choices if choice.get("finish_reason")})
    return f" {'+'.join(reasons)}" if decided and reasons else ""


def _fields(value: Any) -> tuple[str, ...]:
    """The paths of everything in an answer: `choices[].message.content`."""
    return tuple(sorted(set(_paths(value, ""))))


def _paths(value: Any, at: str) -> Iterable[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            here = f"{at}.{name}" if at else name
            yield here
            if here not in _OPEN:
                yield from _paths(part, here)
    elif isinstance(value, list):
        for part in value:
            if isinstance(part, (dict, list)):
                yield from _paths(part, f"{at}[]")
