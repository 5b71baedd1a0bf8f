"""`SERVE thinking`: variables of the chat template that a client need not send."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelkit.contract import request
from tests.unit.contract.profiles import FULL, ask, llama

OFF = replace(FULL, template_variables={"enable_thinking": False})
LOW = replace(FULL, template_variables={"enable_thinking": True, "reasoning_effort": "low", "style": "x"})


@pytest.mark.parametrize(("client", "kwargs"), [
    ({}, {"enable_thinking": False}),
    ({"chat_template_kwargs": {"enable_thinking": True}}, {"enable_thinking": True}),
    ({"chat_template_kwargs": {"other": 1}}, {"enable_thinking": False, "other": 1}),
    ({"reasoning_effort": "high"}, None),
])
def test_what_the_client_says_wins(client: dict[str, Any], kwargs: dict[str, Any] | None) -> None:
    for profile in (OFF, llama(OFF)):
        assert request.chat(ask(**client), profile).get("chat_template_kwargs") == kwargs
    tokens = {name: value for name, value in client.items() if name != "reasoning_effort"}
    if "reasoning_effort" not in client:
        body = {"messages": ask()["messages"], **tokens}
        assert request.tokenize(body, OFF).get("chat_template_kwargs") == kwargs, "the prompt's tokens are the same"


def test_an_effort_of_the_clients_replaces_only_words_on_thinking() -> None:
    filled = request.chat(ask(reasoning_effort="high"), LOW)
    assert filled["chat_template_kwargs"] == {"style": "x"} and filled["reasoning_effort"] == "high"


def test_vllm_gets_the_effort_in_its_own_field_too() -> None:
    assert request.chat(ask(), LOW)["reasoning_effort"] == "low"
    assert "reasoning_effort" not in request.chat(ask(), OFF)
