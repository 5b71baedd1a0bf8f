"""How the engines that run in containers only spell a filled request: SGLang 0.5.23, TensorRT-LLM 1.2."""

from __future__ import annotations

from typing import Any

from modelkit.contract import gbnf
from modelkit.contract.errors import unsupported
from modelkit.contract.outputs import forced_tool
from modelkit.contract.profile import Profile


class Sglang:
    """Facts: `entrypoints/openai/protocol.py` and `sampling/sampling_params.py`. Fields that it does not know are
    ignored there, so none may be left that means something."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def chat(self, request: dict[str, Any]) -> dict[str, Any]:
        _older_reasoning(request)
        return self._generation(request)

    def completion(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._generation(request)

    def tokenize(self, request: dict[str, Any]) -> dict[str, Any]:
        _older_reasoning(request)
        if request.pop("return_token_strs", False):
            raise unsupported("return_token_strs", "`return_token_strs` is not supported: SGLang says ids alone")
        if request.get("add_generation_prompt"):
            del request["add_generation_prompt"]  # said, it renders another way than for a chat; it is true anyway
        return self._adapter(request)

    def _generation(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("top_k") == 0:
            request["top_k"] = -1
        if request.get("seed") == -1:
            del request["seed"]
        wanted = request.pop("structured_outputs", None)
        if wanted is not None and "choice" in wanted:
            request["ebnf"] = gbnf.choice(wanted["choice"])
        elif wanted is not None and "json" in wanted:
            named = {"name": "answer", "schema": wanted["json"]}
            request["response_format"] = {"type": "json_schema", "json_schema": named}
        elif wanted is not None:
            request["response_format"] = {"type": "json_object"}
        return self._adapter(request)

    def _adapter(self, request: dict[str, Any]) -> dict[str, Any]:
        """Any model name is answered; the adapter has a field of its own, and a colon in a name would choose one."""
        name = request["model"]
        if name in self.profile.adapters:
            request["lora_path"] = name
        if ":" in name and name != self.profile.name:
            request["model"] = self.profile.name
        return request


class TensorrtLlm:
    """Facts: `serve/openai_protocol.py`. Fields that it does not know are refused there."""

    def chat(self, request: dict[str, Any]) -> dict[str, Any]:
        if forced_tool(request):
            raise unsupported("tool_choice", "`tool_choice` may be `none` or `auto`: this engine cannot force a call")
        if request.pop("parallel_tool_calls", True) is False:
            raise unsupported("parallel_tool_calls", "`parallel_tool_calls` must be true: this engine bounds no calls")
        _older_reasoning(request)
        return self.completion(request)

    def completion(self, request: dict[str, Any]) -> dict[str, Any]:
        seed = request.pop("seed", -1)
        if seed != -1:
            request["seed"] = seed & (2**63 - 1)  # an unsigned one there
        wanted = request.pop("structured_outputs", {})
        formatted = request.get("response_format", {"type": "text"})
        if "choice" in wanted:
            request["response_format"] = {"type": "ebnf", "ebnf": gbnf.choice(wanted["choice"])}
        elif "json" in wanted:
            request["response_format"] = {"type": "json", "schema": wanted["json"]}
        elif wanted:
            request["response_format"] = {"type": "json_object"}
        elif formatted["type"] == "json_schema":  # 1.2 takes OpenAI's wrapper for the schema itself
            request["response_format"] = {"type": "json", "schema": formatted["json_schema"]["schema"]}
        return request

    def tokenize(self, request: dict[str, Any]) -> dict[str, Any]:
        return request  # it has no such endpoint: its 404 is the answer


def _older_reasoning(request: dict[str, Any]) -> None:
    for message in request.get("messages", ()):
        if "reasoning" in message:
            message["reasoning_content"] = message.pop("reasoning")
