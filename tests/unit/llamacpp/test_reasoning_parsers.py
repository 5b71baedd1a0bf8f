"""Reasoning split from what follows it, in pieces of any size."""

from __future__ import annotations

import pytest

from modelkit.llamacpp.parsers import (
    REASONING_PARSERS,
    GraniteThinking,
    Machine,
    Reasoning,
    ThinkForm,
    Thinking,
    merged,
    reasoning_parser,
)
from modelkit.planning.families import FAMILIES


def machine(name: str, within: bool) -> Machine:
    form = REASONING_PARSERS[name]
    return Thinking(form, within=within) if isinstance(form, ThinkForm) else GraniteThinking()


def read(name: str, text: str, within: bool, size: int = 0) -> tuple[str, str]:
    """Reasoning and content."""
    found, events = machine(name, within), []
    for at in range(0, len(text), size or len(text)):
        events += found.feed(text[at:at + (size or len(text))])
    events = merged([*events, *found.finish()])
    parts = {kind: "".join(event.text for event in events if isinstance(event,
    Reasoning) is kind)  # type: ignore[union-attr]
             for kind in (True, False)}
    return parts[True], parts[False]


@pytest.mark.parametrize(("name", "text", "within", "reasoning", "content"), [
    ("deepseek_r1", "<think>\nI am\n</think>\n\nHi", True, "\nI am\n", "\n\nHi"),
    ("deepseek_r1", "I am</think>Hi</think>", True, "I am", "Hi</think>"),
    ("deepseek_r1", "cut off", True, "cut off", ""),
    ("deepseek_r1", "the template closed it", False, "", "the template closed it"),
    ("qwen3", "<think>a</think>b", True, "a", "b"),
    ("qwen3", "a</think>b</think>c", True, "a", "bc"),
    ("qwen3", "a\n<tool_call>{}</tool_call>", True, "a\n", "<tool_call>{}</tool_call>"),
    ("seed_oss", "<seed:think>a</seed:think>b", True, "a", "b"),
    ("glm45", "<think>a\n</think>\nb", True, "a", "\nb"),
    ("kimi_k2", "a <|tool_calls_section_begin|>x", True, "a", "<|tool_calls_section_begin|>x"),
    ("mistral", "[THINK]a b [/THINK]c", False, "a b", "c"),
    ("mistral", "[THINK]a[TOOL_CALLS]f{}", False, "a", "[TOOL_CALLS]f{}"),
    ("mistral", "no thoughts", False, "", "no thoughts"),
    ("gemma4", "<|channel>thought\na\n<channel|>b", False, "a", "b"),
    ("gemma4", "thought\na<channel|>b", True, "a", "b"),
    ("gemma4", "plain", False, "", "plain"),
    ("granite", "Here's my thought process: a Here is my response: b", False, " a ", " b"),
    ("granite", "Here is a thing", False, "", "Here is a thing"),
    ("hunyuan_a13b", "<think>\na\n</think>\n<answer>\nb\n</answer>", True, "\na\n", "\nb"),
    ("ernie45", "a</think>\n<response>\nb\n</response>", True, "a", "\nb"),
])
def test_reasoning_and_content(name: str, text: str, within: bool, reasoning: str, content: str) -> None:
    for size in (0, 1, 3):
        assert read(name, text, within, size) == (reasoning, content)


def test_variables_of_the_template_turn_it_on_and_off() -> None:
    qwen3, deepseek = REASONING_PARSERS["qwen3"], REASONING_PARSERS["deepseek_v3"]
    assert isinstance(qwen3, ThinkForm) and isinstance(deepseek, ThinkForm)
    assert qwen3.on({}) and not qwen3.on({"enable_thinking": False})
    assert not deepseek.on({}) and deepseek.on({"thinking": True}) and deepseek.on({"enable_thinking": True})


def test_families_have_their_parsers() -> None:
    without = {"kimi_k3", "minimax_m3"}
    assert {family.vllm.reasoning for family in FAMILIES} - {""} - set(REASONING_PARSERS) == without


def test_an_unknown_parser_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no reasoning parser `nope`; it has .*deepseek_r1, .*qwen3"):
        reasoning_parser("nope")
