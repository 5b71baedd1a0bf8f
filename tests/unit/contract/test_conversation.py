"""Messages in, messages out: one normal form, with the Modelfile's part in its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelkit.contract.messages import conversation
from tests.unit.contract.profiles import FULL, PLAIN, user

OWN = {"role": "system", "content": "Mine."}
LATE = {"role": "system", "content": "Later."}
SYSTEM = {"role": "system", "content": "You are terse."}
EXAMPLES = list(FULL.messages)
CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}


@pytest.mark.parametrize(("sent", "got"), [
    (user(), [SYSTEM, *EXAMPLES, *user()]),
    ([OWN, *user()], [OWN, *EXAMPLES, *user()]),
    ([{"role": "developer", "content": "Mine."}, *user()], [OWN, *EXAMPLES, *user()]),
    ([OWN, LATE, *user()], [OWN, LATE, *EXAMPLES, *user()]),
    ([*user(), LATE], [*EXAMPLES, *user(), LATE]),
    ([OWN], [OWN, *EXAMPLES]),
    ([{"role": "system", "content": ""}, *user()], [{"role": "system", "content": ""}, *EXAMPLES, *user()]),
    ([{"role": "assistant", "content": "So."}], [SYSTEM, *EXAMPLES, {"role": "assistant", "content": "So."}]),
])
def test_the_modelfiles_part_stands_before_the_clients(sent, got) -> None:
    assert conversation(sent, FULL) == got


def test_without_system_and_examples_nothing_is_added() -> None:
    assert conversation(user(), PLAIN) == user()
    assert conversation(user(), replace(PLAIN, system="")) == [{"role": "system", "content": ""}, *user()]


@pytest.mark.parametrize(("sent", "got"), [
    ({"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "user", "content": "a"}),
    ({"role": "user", "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]},
     {"role": "user", "content": "a b"}),
    ({"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
     {"role": "user", "content": "a"}),
    ({"role": "user", "content": ""}, {"role": "user", "content": ""}),
    ({"role": "user", "content": "a", "name": "Ann"}, {"role": "user", "content": "a", "name": "Ann"}),
    ({"role": "user", "content": "a", "name": None}, {"role": "user", "content": "a"}),
    ({"role": "developer", "content": "a"}, {"role": "system", "content": "a"}),
    ({"role": "assistant", "content": None}, {"role": "assistant", "content": ""}),
    ({"role": "assistant"}, {"role": "assistant", "content": ""}),
    ({"role": "assistant", "content": None, "tool_calls": [CALL]},
     {"role": "assistant", "content": "", "tool_calls": [CALL]}),
    ({"role": "assistant", "content": "a", "tool_calls": []}, {"role": "assistant", "content": "a"}),
    ({"role": "assistant", "content": "a", "tool_calls": None}, {"role": "assistant", "content": "a"}),
    ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": ""}}]},
     {"role": "assistant", "content": "",
      "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
    ({"role": "assistant", "content": "a", "reasoning": "r"}, {"role": "assistant", "content": "a", "reasoning": "r"}),
    ({"role": "assistant", "content": "a", "reasoning_content": "r"},
     {"role": "assistant", "content": "a", "reasoning": "r"}),
    ({"role": "assistant", "content": "a", "reasoning_content": "r", "reasoning": "s"},
     {"role": "assistant", "content": "a", "reasoning": "s"}),
    ({"role": "tool", "content": [{"type": "text", "text": "1"}], "tool_call_id": "1"},
     {"role": "tool", "content": "1", "tool_call_id": "1"}),
    # an answer of ours, sent back as the openai package dumps it
    ({"role": "assistant", "content": "a", "refusal": None, "annotations": None, "audio": None, "function_call": None,
      "tool_calls": None}, {"role": "assistant", "content": "a"}),
])
def test_a_message_has_one_normal_form(sent, got) -> None:
    assert conversation([sent], PLAIN) == [got]
