"""How each engine spells a filled request. Here alone do engines differ in what they are sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelkit.contract import gbnf
from modelkit.contract.container_dialects import Sglang, TensorrtLlm
from modelkit.contract.profile import Profile


@dataclass(frozen=True)
class Dialect:
    """One engine's spelling of the three requests. Each function may change the request it is given.

    `echoes`: a completion can begin with its prompt, log-probabilities and all.
    """

    chat: Callable[[dict[str, Any]], dict[str, Any]]
    completion: Callable[[dict[str, Any]], dict[str, Any]]
    tokenize: Callable[[dict[str, Any]], dict[str, Any]]
    echoes: bool = False


def of(profile: Profile) -> Dialect:
    """The dialect of a profile. Raises ValueError for one that nobody speaks."""
    if profile.dialect == "vllm":
        return _VLLM
    if profile.dialect == "llamacpp":  # our own engine: it speaks the filled request itself
        return _PLAIN
    if profile.dialect == "llama-server":
        return _LlamaServer(profile).dialect()
    if profile.dialect in ("sglang", "tensorrt-llm"):
        other = Sglang(profile) if profile.dialect == "sglang" else TensorrtLlm()
        return Dialect(other.chat, other.completion, other.tokenize)
    raise ValueError(f"no dialect is called `{profile.dialect}`; known are vllm, llamacpp, sglang, tensorrt-llm "
                     "and llama-server")


_GREEDY = 1e-5
"""Below this temperature vLLM takes the likeliest token."""


def _plain(request: dict[str, Any]) -> dict[str, Any]:
    return request


def _vllm(request: dict[str, Any]) -> dict[str, Any]:
    """vLLM 0.32 means what OpenAI means. A seed of -1 is a random one, here as there.

    But it refuses several choices at temperature 0 (`SamplingParams._verify_greedy_sampling`): cut to the likeliest
    token, any temperature gives the same ones.
    """
    if request.get("n", 1) > 1 and request["temperature"] < _GREEDY:
        request |= {"temperature": 1.0, "top_k": 1}
    return request


def _vllm_chat(request: dict[str, Any]) -> dict[str, Any]:
    """Where vLLM writes the prompt in code (gpt-oss), it reads the effort from its own field, not from the template's.
    """
    effort = request.get("chat_template_kwargs", {}).get("reasoning_effort")
    if isinstance(effort, str):
        request.setdefault("reasoning_effort", effort)
    return _vllm(request)


_VLLM = Dialect(_vllm_chat, _vllm, _plain, echoes=True)
_PLAIN = Dialect(_plain, _plain, _plain, echoes=True)


class _LlamaServer:
    """llama-server b11434 (and xllamacpp, which contains it), behind the host of our llama.cpp engine.

    The host reads `stream`, `n`, `logprobs`, `tools` and lists of prompts as OpenAI means them, and makes of them what
    llama-server needs; here is what it passes on.
    """

    RENAMED: Mapping[str, str] = {"repetition_penalty": "repeat_penalty"}

    FIXED: Mapping[str, Any] = {
        # vLLM's order: the temperature first, so that top_p and min_p cut the distribution that is drawn from.
        "samplers": ["penalties", "temperature", "min_p", "top_k", "top_p"],
        "mirostat": 0,
        "dynatemp_range": 0.0,
    }

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def dialect(self) -> Dialect:
        return Dialect(self.chat, self.completion, self.tokenize)

    def chat(self, request: dict[str, Any]) -> dict[str, Any]:
        request = self._sampling(request)
        self._messages(request)
        if not request.get("logprobs"):
            request.pop("top_logprobs", None)  # 0 without `logprobs` is an error there
        return self._structured(request)

    def completion(self, request: dict[str, Any]) -> dict[str, Any]:
        request = self._structured(self._sampling(request))
        wanted = request.pop("response_format", {"type": "text"})  # read by its chat endpoint only
        if wanted["type"] == "json_schema":
            request["json_schema"] = wanted["json_schema"]["schema"]
        elif wanted["type"] == "json_object":
            request["json_schema"] = {"type": "object"}
        return request

    def tokenize(self, request: dict[str, Any]) -> dict[str, Any]:
        self._messages(request)
        return request

    def _sampling(self, request: dict[str, Any]) -> dict[str, Any]:
        """The whole set, in its words: -1 for no limit and no seed, the penalties over all that was said."""
        spelled = {self.RENAMED.get(name, name): value for name, value in request.items()}
        spelled.update(self.FIXED)
        spelled["repeat_last_n"] = self.profile.context_length
        spelled.setdefault("max_tokens", -1)
        spelled["seed"] = _seed32(spelled.get("seed", -1))
        if self.profile.adapters:
            spelled["lora"] = [{"id": index, "scale": float(name == request["model"])}
                               for index, name in enumerate(self.profile.adapters)]
        return spelled

    def _messages(self, request: dict[str, Any]) -> None:
        for message in request.get("messages", ()):
            if "reasoning" in message:
                message["reasoning_content"] = message.pop("reasoning")

    def _structured(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = request.pop("structured_outputs", None)
        if wanted is None:
            return request
        if "choice" in wanted:
            request["grammar"] = gbnf.choice(wanted["choice"])
        elif "json" in wanted:
            named = {"name": "answer", "schema": wanted["json"]}
            request["response_format"] = {"type": "json_schema", "json_schema": named}
        else:
            request["response_format"] = {"type": "json_object"}
        return request


def _seed32(seed: int) -> int:
    """A 64-bit seed in the 32 bits there are; -1 stays random, and no other seed becomes it."""
    return -1 if seed == -1 else min(seed & 0xFFFFFFFF, 0xFFFFFFFE)
