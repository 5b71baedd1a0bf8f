"""Fields of an OpenAI request as defaults of a Modelfile."""

from __future__ import annotations

from typing import Any

from modelkit.exchange.draft import Draft

PARAMETERS = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "typical_p": "typical_p",
    "seed": "seed", "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
    "repeat_penalty": "repeat_penalty", "repetition_penalty": "repeat_penalty", "repeat_last_n": "repeat_last_n",
    "max_tokens": "num_predict", "max_completion_tokens": "num_predict", "max_new_tokens": "num_predict",
    "n_predict": "num_predict",
}
"""A request's field, and the PARAMETER that is its default."""


def request_field(draft: Draft, field: str, value: Any, said: str) -> None:
    """What a request would say with a field, as the model's default; lost where there is no default for it."""
    shown = f"{said} {value}" if isinstance(value, (str, int, float)) else said
    if field == "stop":
        for one in value if isinstance(value, list) else [value]:
            draft.parameter("stop", one, said=f"{said} {one}")
    elif field == "chat_template_kwargs" and isinstance(value, dict):
        variables(draft, value, said)
    elif (name := PARAMETERS.get(field)) is None or not isinstance(value, (str, int, float)):
        draft.account.lost(shown, "there is no PARAMETER for it")
    else:
        draft.parameter(name, value, said=shown)


def variables(draft: Draft, said: dict[str, Any], where: str) -> None:
    """Variables of the chat template: the switch for thinking is the language's, others have no default."""
    for name, value in said.items():
        switch = name in ("enable_thinking", "thinking") and isinstance(value, bool)
        if switch or name == "reasoning_effort":
            draft.serve("thinking", value, said=f"{where}.{name} {value}")
        else:
            draft.account.lost(f"{where}.{name}", "a variable of the chat template has no default here")
