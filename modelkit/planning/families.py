"""Families of models: how each writes tool calls and reasoning, and what every engine calls the parser that reads it.

A family is known by its chat template, which shows how the model was taught to write, and where two families write
alike by its architecture too. Names of parsers are those of vLLM 0.32, SGLang 0.5.23 and TensorRT-LLM 1.2; live tests
hold vLLM's against the engine itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Parsers(NamedTuple):
    """An engine's words for reading tool calls and reasoning; "" where it has none for the family."""

    tool: str = ""
    reasoning: str = ""


NO_PARSERS = Parsers()


@dataclass(frozen=True)
class Family:
    """`marks` must all be in the template, `unlike` must not be; `architectures` restrict it where they are said.

    An architecture is a Hugging Face `model_type` or a GGUF's word, compared without `_` and `-`; a `*` at its end
    stands for any ending.
    """

    name: str
    vllm: Parsers
    sglang: Parsers = NO_PARSERS
    tensorrt_llm: Parsers = NO_PARSERS
    marks: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    thinks: tuple[str, ...] = ("<think>",)  # one of these in the template: it writes its reasoning down

    def fits(self, architecture: str, template: str) -> bool:
        return (all(mark in template for mark in self.marks) and not any(mark in template for mark in self.unlike)
                and (not self.architectures or _is(architecture, self.architectures)))

    def of(self, engine: str) -> Parsers:
        """The engine's parsers. llama.cpp reads the template itself, so that vLLM's word only says that there is one.
        """
        return {"sglang": self.sglang, "tensorrt-llm": self.tensorrt_llm}.get(engine, self.vllm)


_DEEPSEEK = ("deepseek*",)
_CALLS = "<｜tool▁calls▁begin｜>"

# The first that fits is taken: what is particular stands above what is general.
FAMILIES: tuple[Family, ...] = (
    Family("gpt-oss", Parsers("openai", "openai_gptoss"), Parsers("gpt-oss", "gpt-oss"),
           architectures=("gptoss",), thinks=("<|channel|>",)),
    Family("functiongemma", Parsers("functiongemma"), marks=("<start_function_call>",)),
    Family("gemma-4", Parsers("gemma4", "gemma4"), Parsers("gemma4", "gemma4"), architectures=("gemma4*",),
           thinks=("enable_thinking", "<|channel>")),
    Family("deepseek-v4", Parsers("deepseek_v4", "deepseek_v4"), Parsers("deepseekv4", "deepseek-v4"),
           architectures=("deepseekv4",), thinks=("",)),
    Family("deepseek-v3.2", Parsers("deepseek_v32", "deepseek_v3"), Parsers("deepseekv32", "deepseek-v3"),
           Parsers("deepseek_v32"), architectures=("deepseekv32",), thinks=("",)),
    Family("deepseek-v3.1", Parsers("deepseek_v31", "deepseek_v3"), Parsers("deepseekv31", "deepseek-v3"),
           Parsers("deepseekv3.1"), marks=(_CALLS, "thinking"), unlike=("```json",), architectures=_DEEPSEEK),
    Family("deepseek-r1", Parsers("deepseek_v3", "deepseek_r1"), Parsers("deepseekv3", "deepseek-r1"),
           Parsers("deepseekv3", "deepseek-r1"), marks=(_CALLS,)),
    Family("kimi-k3", Parsers("kimi_k3", "kimi_k3"), Parsers("kimi_k3", "kimi_k3"), architectures=("kimik3*",),
           thinks=("",)),
    Family("kimi-k2", Parsers("kimi_k2", "kimi_k2"), Parsers("kimi_k2", "kimi_k2"), Parsers("kimi_k2"),
           marks=("<|tool_calls_section_begin|>",)),
    Family("minimax-m3", Parsers("minimax_m3", "minimax_m3"), Parsers("minimax-m3", "minimax-m3"),
           architectures=("minimaxm3*",), thinks=("",)),
    Family("minimax-m2", Parsers("minimax_m2", "minimax_m2"), Parsers("minimax-m2", "minimax"),
           marks=("<minimax:tool_call>",)),
    Family("seed-oss", Parsers("seed_oss", "seed_oss"), marks=("<seed:tool_call>",), thinks=("<seed:think>",)),
    Family("glm-4.7", Parsers("glm47", "glm47"), Parsers("glm47", "glm45"), marks=("<arg_key>",),
           architectures=("glm4moelite",)),
    Family("glm-4.5", Parsers("glm45", "glm45"), Parsers("glm45", "glm45"), marks=("<arg_key>",)),
    Family("qwen3-coder", Parsers("qwen3_coder", "qwen3"), Parsers("qwen3_coder", "qwen3"),
           Parsers("qwen3_coder", "qwen3"), marks=("<function=", "<parameter=")),
    Family("mistral", Parsers("mistral", "mistral"), Parsers("mistral", "mistral"), marks=("[TOOL_CALLS]",),
           thinks=("[THINK]",)),
    Family("llama-4", Parsers("llama4_pythonic"), Parsers("pythonic"), architectures=("llama4*",)),
    Family("llama-3", Parsers("llama3_json"), Parsers("llama3"), marks=("ipython", '"parameters"')),
    Family("granite-4", Parsers("granite4", "granite"), marks=("<tool_call>",), architectures=("granitemoehybrid",
                                                                                               "granitehybrid")),
    Family("granite", Parsers("granite", "granite"), marks=("<|tool_call|>",), architectures=("granite*",),
           thinks=("thinking",)),
    Family("phi-4-mini", Parsers("phi4_mini_json"), marks=("<|tool|>",)),
    Family("olmo-3", Parsers("olmo3", "olmo3"), marks=("<function_calls>",), architectures=("olmo*",)),
    Family("lfm2", Parsers("lfm2"), marks=("<|tool_call_start|>",)),
    Family("apertus", Parsers("apertus"), marks=("<|tools_prefix|>",)),
    Family("jamba", Parsers("jamba"), marks=("<tool_calls>",), architectures=("jamba*",)),
    Family("internlm", Parsers("internlm"), marks=("<|plugin|>",)),
    Family("hunyuan-a13b", Parsers("hunyuan_a13b", "hunyuan_a13b"), marks=("<tool_calls>",),
           architectures=("hunyuan*",)),
    Family("ernie-4.5", Parsers("ernie45", "ernie45"), marks=("<tool_call>",), architectures=("ernie45*",)),
    # `<tool_call>` around a JSON object: Qwen 2.5, Qwen 3, Hermes, SmolLM 3, and many that were tuned alike.
    Family("hermes-thinking", Parsers("hermes", "qwen3"), Parsers("qwen", "qwen3"), Parsers("qwen3", "qwen3"),
           marks=("<tool_call>", "enable_thinking")),
    Family("hermes", Parsers("hermes", "deepseek_r1"), Parsers("qwen", "deepseek-r1"), Parsers("qwen3", "deepseek-r1"),
           marks=("<tool_call>",)),
    Family("thinking", Parsers("", "deepseek_r1"), Parsers("", "deepseek-r1"), Parsers("", "deepseek-r1"),
           marks=("<think>",)),
)

_BUILT_IN = ("gptoss", "deepseekv4", "deepseekv41", "deepseekv32", "kimik3*", "inkling*")
"""Architectures whose prompts vLLM 0.32 writes in code (`renderers/`), so that no chat template is asked."""


def family(architecture: str, template: str | None) -> Family | None:
    """The family of a model with that chat template, None for one that is not in the table."""
    return next((one for one in FAMILIES if one.fits(architecture, template or "")), None)


def parsers(engine: str, architecture: str, template: str | None) -> Parsers:
    """What reads the model's tool calls and reasoning on an engine, as far as its template writes them at all."""
    found, text = family(architecture, template), template or ""
    if found is None:
        return NO_PARSERS
    words = found.of(engine)
    return Parsers(words.tool if "tools" in text or not text else "",
                   words.reasoning if any(mark in text for mark in found.thinks) else "")


def writes_prompts_itself(architecture: str) -> bool:
    """Whether vLLM ignores chat templates for this architecture (rule MK-TPL-004)."""
    return _is(architecture, _BUILT_IN)


@dataclass(frozen=True)
class Thinking:
    """What `SERVE thinking` becomes: variables of the chat template; `problem` says what it can't have, if anything."""

    variables: Mapping[str, bool | str] = field(default_factory=dict)
    problem: str = ""


_LEVELS = ("low", "medium", "high", "max")


def thinking(value: str, architecture: str, template: str | None) -> Thinking:
    """The variables that make a model think as `value` says: `true`, `false`, or a level."""
    read = template_variables(template or "")
    if _is(architecture, ("gptoss",)):
        read |= {"reasoning_effort"}
    switch = next((name for name in ("enable_thinking", "thinking") if name in read), None)
    if value in _LEVELS and "reasoning_effort" in read:
        level = value if value != "max" or (template and "max" in template) else "high"
        problem = "" if level == value else "`high` is the most that this model's template knows"
        return Thinking(({switch: True} if switch else {}) | {"reasoning_effort": level}, problem)
    if switch is not None:
        problem = f"this model's template knows no levels: `{value}` turns thinking on" if value in _LEVELS else ""
        return Thinking({switch: value != "false"}, problem)
    if "reasoning_effort" in read:
        if value == "true":
            return Thinking({"reasoning_effort": "medium"}, "this model always thinks: `true` is its middle effort")
        return Thinking({}, "this model always thinks; `low` is the least that its template knows")
    return Thinking({}, "this model's chat template has no switch for thinking")


def template_variables(template: str) -> set[str]:
    """The variables that a Jinja template reads from outside; none of one that can't be read."""
    import re

    from jinja2 import Environment, TemplateSyntaxError, meta

    if not any(word in template for word in ("thinking", "reasoning_effort")):
        return set()
    plain = re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", template)  # a tag of transformers' own
    try:
        return set(meta.find_undeclared_variables(Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)))
    except TemplateSyntaxError:
        return set()


def _is(architecture: str, known: Iterable[str]) -> bool:
    word = architecture.lower().replace("_", "").replace("-", "")
    return any(word == one or (one.endswith("*") and word.startswith(one[:-1])) for one in known)
