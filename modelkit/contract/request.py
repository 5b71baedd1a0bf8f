"""From what a client sends to what the engine gets. Pure: a JSON object and a profile in, a request or an error out.

The same order for every kind of request: check each field against a table, settle what fields say about each other,
fill in the Modelfile's defaults, and spell the whole in the engine's dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelkit.contract import checks, dialect, outputs
from modelkit.contract.checks import Check
from modelkit.contract.errors import ContractError, invalid, missing, unsupported, wrong_type
from modelkit.contract.messages import conversation
from modelkit.contract.profile import Limits, Profile

Filler = Callable[[dict[str, Any], Profile], dict[str, Any]]

NEUTRAL: Mapping[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""What each sampling field is when nobody says. Always sent, so that no engine's own default decides."""

TASKS = ("chat", "embed", "rerank")
"""What a model is served for."""

COMPLETION_TOKENS = 16
"""OpenAI's `max_tokens` for /v1/completions when nobody says."""


def dropped(value: Any, param: str, limits: Limits) -> Any:
    """For fields that only describe a request."""
    return value


def anything(value: Any, param: str, limits: Limits) -> Any:
    """For fields that are read by themselves, later."""
    return value


_DESCRIPTIVE = ("user", "store", "metadata", "service_tier", "safety_identifier", "prediction", "prompt_cache_key",
                "prompt_cache_options", "prompt_cache_retention")

_SAMPLING: Mapping[str, Check] = {
    "temperature": checks.number(0, 2),
    "top_p": checks.number(0, 1, above_low=True),
    "top_k": checks.top_k,
    "min_p": checks.number(0, 1),
    "repetition_penalty": checks.number(0, 2, above_low=True),
    "presence_penalty": checks.number(-2, 2),
    "frequency_penalty": checks.number(-2, 2),
    "seed": checks.integer(-(2**63), 2**63 - 1),
}

_COMMON: Mapping[str, Check] = {
    **_SAMPLING,
    **dict.fromkeys(_DESCRIPTIVE, dropped),
    "model": anything,
    "n": checks.up_to("choices", 1),
    "max_tokens": checks.integer(1),
    "stop": checks.stop,
    "stream": checks.boolean,
    "stream_options": checks.stream_options,
    "logit_bias": checks.logit_bias,
    "ignore_eos": checks.boolean,
    "response_format": outputs.response_format,
    "structured_outputs": outputs.structured_outputs,
}

_TEMPLATE: Mapping[str, Check] = {
    "messages": anything,
    "tools": outputs.tools,
    "chat_template_kwargs": checks.mapping,
}

CHAT: Mapping[str, Check] = {
    **_COMMON,
    **_TEMPLATE,
    "max_completion_tokens": checks.integer(1),
    "logprobs": checks.boolean,
    "top_logprobs": checks.up_to("top_logprobs", 0),
    "tool_choice": outputs.tool_choice,
    "parallel_tool_calls": checks.boolean,
    "reasoning_effort": checks.one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "modalities": checks.modalities,
    "functions": checks.refused("use `tools`"),
    "function_call": checks.refused("use `tool_choice`"),
    "audio": checks.refused("this API answers in text"),
    "verbosity": checks.unless(("medium",), checks.refused("say it in the prompt")),
    "web_search_options": checks.refused("this API searches nothing"),
    "moderation": checks.refused("this API moderates nothing"),
}

COMPLETION: Mapping[str, Check] = {
    **_COMMON,
    "prompt": checks.prompts("prompts", "the model needs something to continue"),
    "logprobs": checks.up_to("top_logprobs", 0),
    "best_of": checks.unless((1,), checks.refused("not every engine can rank answers")),
    "max_tokens": checks.integer(0),  # 0 with `echo`: what the prompt alone is worth
    "echo": checks.boolean,
    "suffix": checks.unless(("",), checks.refused("not every model can fill in the middle")),
}

TOKENIZE: Mapping[str, Check] = {
    **_TEMPLATE,
    "model": anything,
    "prompt": checks.text,
    "add_generation_prompt": checks.boolean,
    "add_special_tokens": checks.boolean,
    "return_token_strs": checks.boolean,
}

DETOKENIZE: Mapping[str, Check] = {"model": anything, "tokens": checks.tokens}


def chat(body: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """POST /v1/chat/completions."""
    model = model_name(body, profile)
    said = fields(body, CHAT, profile.limits)
    messages = conversation(body.get("messages"), profile)
    _settle_max_tokens(said, profile)
    if said.get("top_logprobs") and not said.get("logprobs"):
        raise invalid("top_logprobs", "`top_logprobs` needs `logprobs` to be true")
    outputs.settle_tools(said, profile)
    request = _filled(said, profile)
    request["model"], request["messages"] = model, messages
    _fill_template(request, profile)
    if "max_tokens" not in request and profile.max_tokens is not None:
        request["max_tokens"] = min(profile.max_tokens, profile.context_length)
    return dialect.of(profile).chat(request)


def completion(body: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """POST /v1/completions. The prompt is the client's alone: neither system prompt nor examples are added."""
    model = model_name(body, profile)
    said = fields(body, COMPLETION, profile.limits)
    if "prompt" not in said:
        raise missing("prompt")
    _settle_max_tokens(said, profile)
    _settle_echo(said, profile)
    request = _filled({k: v for k, v in said.items() if k not in ("best_of", "suffix")}, profile)
    request["model"] = model
    request.setdefault("max_tokens", min(profile.max_tokens or COMPLETION_TOKENS, profile.context_length))
    return dialect.of(profile).completion(request)


def tokenize(body: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """POST /tokenize: the token ids that the same `messages` would have as a chat, or those of a bare `prompt`."""
    model = model_name(body, profile, required=False)
    request = fields(body, TOKENIZE, profile.limits)
    if "prompt" in request:
        if "messages" in request:
            raise invalid("prompt", "`prompt` and `messages` are two ways to say one thing; send one")
    elif profile.task != "chat":
        raise missing("prompt") if "messages" not in request else unsupported(
            "messages", "`messages` is not supported: this model reads texts, not conversations; send `prompt`")
    else:
        request["messages"] = conversation(body.get("messages"), profile)
        request.setdefault("add_generation_prompt", True)
        _fill_template(request, profile)
    request["model"] = model
    return dialect.of(profile).tokenize(request)


def detokenize(body: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """POST /detokenize: the text of token ids, the same on every engine."""
    model = model_name(body, profile, required=False)
    request = fields(body, DETOKENIZE, profile.limits)
    if "tokens" not in request:
        raise missing("tokens")
    return {**request, "model": model}


def checked_profile(profile: Profile) -> Profile:
    """The profile, if requests can be filled from it. Raises ValueError: found when the server starts, not later."""
    dialect.of(profile)
    if profile.task not in TASKS:
        raise ValueError(f"the profile's task is `{profile.task}`; known are {', '.join(TASKS)}")
    for name, value in profile.defaults.items():
        if name not in _SAMPLING:
            raise ValueError(f"the profile has a default for `{name}`; known are {', '.join(_SAMPLING)}")
        try:
            _SAMPLING[name](value, name, profile.limits)
        except ContractError as error:
            raise ValueError(f"the profile's default: {error.message}") from None
    return profile


def fields(body: dict[str, Any], table: Mapping[str, Check], limits: Limits) -> dict[str, Any]:
    """Each field that says something, checked. Null means absent, unknown is an error."""
    said = {}
    for name, value in body.items():
        check = table.get(name)
        if check is None:
            raise checks.unknown(name, name, tuple(table))
        if value is not None and check is not dropped:
            said[name] = check(value, name, limits)
    return said


def model_name(body: dict[str, Any], profile: Profile, *, required: bool = True) -> str:
    """The model's name: the profile's, or one of its adapters'."""
    name = body.get("model")
    if name is None:
        if required:
            raise missing("model")
        return profile.name
    if not isinstance(name, str):
        raise wrong_type("model", "a string", name)
    if name not in profile.models:
        raise no_such_model(name, profile)
    return name


def no_such_model(name: str, profile: Profile) -> ContractError:
    served = ", ".join(f"`{n}`" for n in profile.models)
    message = f"there is no model {checks.shown(name)} here; this server has {served}"
    return ContractError(404, "model_not_found", message, "model")


def _settle_max_tokens(said: dict[str, Any], profile: Profile) -> None:
    """One `max_tokens`, within the model's context. `max_completion_tokens` means the same."""
    newer = said.pop("max_completion_tokens", None)
    if newer is not None and said.setdefault("max_tokens", newer) != newer:
        raise invalid("max_completion_tokens", "`max_tokens` and `max_completion_tokens` differ; send one")
    asked, limit = said.get("max_tokens", 1), profile.context_length
    if asked > limit:
        param = "max_tokens" if newer is None else "max_completion_tokens"
        raise invalid(param, f"`{param}` is {checks.shown(asked)}; this model's context length is {limit} tokens")


def _settle_echo(said: dict[str, Any], profile: Profile) -> None:
    """The prompt before the answer, where the engine can; only then may nothing follow."""
    echo = said.pop("echo", False)
    if echo and not dialect.of(profile).echoes:
        raise unsupported("echo", "`echo` is not supported: this engine cannot repeat the prompt")
    if said.get("max_tokens") == 0 and not echo:
        raise invalid("max_tokens", "`max_tokens` is 0; without `echo` it must be at least 1")
    if echo:
        said["echo"] = True


_OF_THINKING = frozenset(("enable_thinking", "thinking", "reasoning_effort"))


def _fill_template(request: dict[str, Any], profile: Profile) -> None:
    """The Modelfile's variables of the chat template, below the client's; its `reasoning_effort` is a word on thinking.
    """
    variables = profile.template_variables
    if "reasoning_effort" in request:
        variables = {name: value for name, value in variables.items() if name not in _OF_THINKING}
    if variables:
        request["chat_template_kwargs"] = {**variables, **request.get("chat_template_kwargs", {})}


def _filled(said: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """The rules that every generation shares, then the Modelfile's defaults below what the client said."""
    if "stream_options" in said and not said.get("stream"):
        raise invalid("stream_options", "`stream_options` needs `stream` to be true")
    outputs.settle_formats(said, profile)
    request = {**NEUTRAL, **profile.defaults, **said}
    if "stop" not in said and profile.stop and not outputs.grammar_forces(said):
        request["stop"] = list(profile.stop)
    for name in ("modalities", "verbosity"):
        request.pop(name, None)
    return request
