"""Profiles that the tests of the contract share."""

from __future__ import annotations

from typing import Any

from modelkit.contract.profile import Limits, Profile

PLAIN = Profile(name="support", dialect="vllm", context_length=2048)

FULL = Profile(
    name="support",
    dialect="vllm",
    context_length=2048,
    system="You are terse.",
    messages=({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}),
    defaults={"temperature": 0.2, "top_p": 0.9, "top_k": 40, "seed": 7},
    stop=("<|im_end|>", "###"),
    max_tokens=64,
    adapters=("support-fr",),
)


def llama(profile: Profile) -> Profile:
    """The same profile in front of llama-server."""
    return Profile.from_json({**profile.as_json(), "dialect": "llama-server"})


def limited(**limits: int) -> Profile:
    return Profile.from_json({**FULL.as_json(), "limits": {**FULL.as_json()["limits"], **limits}})


def with_tool_parser(profile: Profile) -> Profile:
    return Profile.from_json({**profile.as_json(), "tool_parser": "hermes"})


def user(text: Any = "Paris?") -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def ask(**fields: Any) -> dict[str, Any]:
    """A chat request with one question and these fields."""
    return {"model": "support", "messages": user(), **fields}


def weather(name: str = "weather") -> dict[str, Any]:
    """A tool."""
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


__all__ = ["FULL", "PLAIN", "Limits", "ask", "limited", "llama", "user", "weather", "with_tool_parser"]
