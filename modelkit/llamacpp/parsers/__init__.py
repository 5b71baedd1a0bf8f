"""What models write, read as content, reasoning and tool calls: one machine a format, under vLLM's parser names.

How vLLM 0.32 reads each format (`vllm/tool_parsers`, `vllm/parser`, `vllm/reasoning`) is the measure; where its
streamed and whole answers differ, ours are what it streams, and text that is no call is never lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from modelkit.llamacpp.parsers.gemma_calls import FUNCTIONGEMMA, GEMMA4, GemmaCalls, GemmaForm
from modelkit.llamacpp.parsers.harmony import MARKS as HARMONY_MARKS
from modelkit.llamacpp.parsers.harmony import Harmony
from modelkit.llamacpp.parsers.json_calls import Form, JsonCalls
from modelkit.llamacpp.parsers.machine import Arguments, Call, Content, Event, Machine, Reasoning, Tools, merged
from modelkit.llamacpp.parsers.named_calls import (
    DEEPSEEK_V3,
    DEEPSEEK_V31,
    KIMI_K2,
    MistralCalls,
    NamedCalls,
    NamedForm,
)
from modelkit.llamacpp.parsers.python_calls import LFM2, LLAMA4, OLMO3, PYTHONIC, PythonCalls, PythonForm
from modelkit.llamacpp.parsers.tagged_calls import (
    DEEPSEEK_V4,
    DEEPSEEK_V32,
    GLM,
    MIMO,
    MINIMAX_M2,
    QWEN3_CODER,
    SEED_OSS,
    TagForm,
    TaggedCalls,
)
from modelkit.llamacpp.parsers.thinking import GraniteThinking, ThinkForm, Thinking

__all__ = ["HARMONY_MARKS", "REASONING_PARSERS", "TOOL_PARSERS", "Arguments", "Call", "Content", "Event", "Form",
           "GraniteThinking", "Harmony", "JsonCalls", "Machine", "Reasoning", "ThinkForm", "Thinking", "ToolParser",
           "Tools", "merged", "reasoning_parser", "tool_parser"]


@dataclass(frozen=True)
class ToolParser:
    """A format of tool calls. `marks` are the texts that the answer must show, control tokens or not.

    `always`: calls are taken out of the answer even where `tool_choice` is `none`, as vLLM does for this format.
    `ids`: whether calls have Mistral's short ids.
    """

    make: Callable[[Tools], Machine]
    marks: tuple[str, ...] = ()
    always: bool = False
    short_ids: bool = False


def _json(form: Form, *, always: bool = False) -> ToolParser:
    return ToolParser(lambda tools: JsonCalls(form, tools), (*form.begin, *filter(None, (form.end,))), always)


def _named(form: NamedForm, *, always: bool = False) -> ToolParser:
    marks = (form.section, form.begin, *form.divide, *form.end, "<｜tool▁sep｜>", "<｜tool▁calls▁end｜>")
    return ToolParser(lambda tools: NamedCalls(form, tools), marks, always)


def _tagged(form: TagForm) -> ToolParser:
    marks = (form.begin, form.end, form.call, *form.named, form.close, form.parameter, form.divide, form.done,
             "</arg_key>")
    return ToolParser(lambda tools: TaggedCalls(form, tools), tuple(mark for mark in marks if len(mark) > 1), True)


def _python(form: PythonForm) -> ToolParser:
    return ToolParser(lambda tools: PythonCalls(form, tools), tuple(filter(None, (form.begin, form.end, *form.opens))))


def _gemma(form: GemmaForm, *, always: bool = False) -> ToolParser:
    return ToolParser(lambda tools: GemmaCalls(form, tools), (form.begin, form.end, form.quote), always)


_HERMES = _json(Form(("<tool_call>",), "</tool_call>"))
_LLAMA3 = _json(Form(("<|python_tag|>",), bare=True))
_QWEN3_CODER = _tagged(QWEN3_CODER)

TOOL_PARSERS: Mapping[str, ToolParser] = {
    "hermes": _HERMES,
    "qwen3_json": _HERMES,
    "longcat": _json(Form(("<longcat_tool_call>",), "</longcat_tool_call>")),
    "granite4": _json(Form(("<tool_call>",), "</tool_call>", after=True, unquotes=True)),
    "granite": _json(Form(("<|tool_call|>", "<tool_call>"), list=True, object=False, after=True, strips=" \t\r\n"),
                     always=True),
    "ernie45": _json(Form(("<tool_call>",), "</tool_call>", strips="\n")),
    "jamba": _json(Form(("<tool_calls>",), "</tool_calls>", list=True, object=False)),
    "hunyuan_a13b": _json(Form(("<tool_calls>",), "</tool_calls>", list=True, object=False, unquotes=True)),
    "internlm": _json(Form(("<|action_start|><|plugin|>",), "<|action_end|>")),
    "phi4_mini_json": _json(Form(("functools",), list=True, object=False)),
    "llama3_json": _LLAMA3,
    "llama4_json": _LLAMA3,
    "mistral": ToolParser(MistralCalls, ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"), True, True),
    "deepseek_v3": _named(DEEPSEEK_V3),
    "deepseek_v31": _named(DEEPSEEK_V31),
    "kimi_k2": _named(KIMI_K2, always=True),
    "qwen3_coder": _QWEN3_CODER,
    "qwen3_xml": _QWEN3_CODER,
    "mimo": _tagged(MIMO),
    "step3p5": _QWEN3_CODER,
    "seed_oss": _tagged(SEED_OSS),
    "minimax_m2": _tagged(MINIMAX_M2),
    "deepseek_v32": _tagged(DEEPSEEK_V32),
    "deepseek_v4": _tagged(DEEPSEEK_V4),
    "glm45": _tagged(GLM),
    "glm47": _tagged(GLM),
    "pythonic": _python(PYTHONIC),
    "llama4_pythonic": _python(LLAMA4),
    "olmo3": _python(OLMO3),
    "lfm2": _python(LFM2),
    "gemma4": _gemma(GEMMA4, always=True),
    "functiongemma": _gemma(FUNCTIONGEMMA),
    "openai": ToolParser(lambda tools: Harmony(tools, reasons=False), HARMONY_MARKS, True),
}

_THINK = ThinkForm("<think>", "</think>")
_SWITCHES = ("thinking", "enable_thinking")
_QWEN3 = replace(_THINK, passes=("<tool_call>",), switches=("enable_thinking",))

REASONING_PARSERS: Mapping[str, ThinkForm | str] = {
    "deepseek_r1": _THINK,
    "deepseek_v3": replace(_THINK, switches=_SWITCHES, thinks=False),
    "deepseek_v4": replace(_THINK, switches=_SWITCHES, thinks=False, passes=("<｜DSML｜tool_calls>",)),
    "holo2": replace(_THINK, switches=_SWITCHES),
    "qwen3": _QWEN3,
    "mimo": _QWEN3,
    "nemotron_v3": _QWEN3,
    "step3p5": _QWEN3,
    "seed_oss": replace(_QWEN3, start="<seed:think>", end="</seed:think>", passes=("<seed:tool_call>",)),
    "glm45": replace(_THINK, passes=("<tool_call>",), switches=_SWITCHES, strips=True),
    "glm47": replace(_THINK, passes=("<tool_call>",), switches=_SWITCHES, strips=True),
    "kimi_k2": replace(_THINK, passes=("<|tool_calls_section_begin|>",), switches=_SWITCHES, strips=True),
    "minimax_m2": _THINK,
    "olmo3": _THINK,
    "step3": _THINK,
    "ernie45": replace(_THINK, drops=("<response>\n", "\n</response>", "<response>", "</response>")),
    "hunyuan_a13b": replace(_THINK, drops=("<answer>\n", "\n</answer>", "<answer>", "</answer>")),
    "mistral": ThinkForm("[THINK]", "[/THINK]", begins=False, passes=("[TOOL_CALLS]",), strips=True),
    "gemma4": ThinkForm("<|channel>", "<channel|>", begins=False, passes=("<|tool_call>",), strips=True,
                        prefix="thought\n"),
    "granite": "granite",
    "openai_gptoss": "harmony",
}


def tool_parser(name: str) -> ToolParser:
    """The format of that name. Raises ValueError, one sentence that lists what there is."""
    if name not in TOOL_PARSERS:
        raise ValueError(f"this engine has no tool parser `{name}`; it has {', '.join(sorted(TOOL_PARSERS))}")
    return TOOL_PARSERS[name]


def reasoning_parser(name: str) -> ThinkForm | str:
    """The form of that name. Raises ValueError, one sentence that lists what there is."""
    if name not in REASONING_PARSERS:
        raise ValueError(
            f"this engine has no reasoning parser `{name}`; it has {', '.join(sorted(REASONING_PARSERS))}")
    return REASONING_PARSERS[name]

