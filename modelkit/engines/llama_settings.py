"""llama.cpp's table: every setting of the language, and what it becomes on llama-server or in a request to it.

Facts about flags and words are of llama.cpp b11549 (2026-10).
"""

from __future__ import annotations

from typing import Any

from modelkit.engines import llama_adapters
from modelkit.engines.launch import RUN
from modelkit.engines.table import Answer, Row, Rule, approximated, equal, lost, rows, translated
from modelkit.language.quantization import PRECISIONS
from modelkit.planning.plan import Plan

BATCH = 512
"""Prompt tokens a step. Everybody who is being answered waits for a step: 2048 stalled seven streams for 9 s."""

CONTEXT_STEP = 256
"""llama.cpp makes the context of a slot a multiple of this."""


def _only_when(wanted: bool, rule: Rule) -> Rule:
    return lambda value, plan: rule(value, plan) if value is wanted else None


def _positive(rule: Rule) -> Rule:
    return lambda value, plan: rule(value, plan) if value > 0 else None


def _layers(value: Any, plan: Plan) -> Answer | None:
    return None if value < 0 else Answer("equal", "--gpu-layers", value)


def _concurrency(value: Any, plan: Plan) -> Answer:
    return Answer("equal", "--parallel", plan.max_concurrency)


def _context(value: Any, plan: Plan) -> Answer:
    """Each slot has its own share of the cache: what one conversation takes, no other can lack."""
    each, slots = plan.context_length, plan.max_concurrency
    if each % CONTEXT_STEP:
        rounded = -(-each // CONTEXT_STEP) * CONTEXT_STEP
        return Answer("approximated", "--ctx-size", each * slots,
                      f"llama.cpp rounds the context of each conversation up to {rounded} tokens")
    return Answer("translated", "--ctx-size", each * slots, f"{each} tokens for each of {slots} conversations")


def _quantize(value: Any, plan: Plan) -> Answer:
    row = PRECISIONS.get(str(value))
    if row is None:
        return Answer("lost", "", None, "choosing a precision comes with a later release: the base's own is used")
    if row.form == "safetensors":
        return Answer("lost", "", None, f"llama.cpp has no {row.name}: the base's own precision is used")
    return Answer("equal", "weights", row.name)


def _kv_cache(value: Any, plan: Plan) -> Answer | None:
    if value == "auto":
        return None
    if value == "fp8":
        return Answer("approximated", "--cache-type-k", "q8_0", "llama.cpp has no fp8; q8_0 has its size")
    return Answer("equal", "--cache-type-k", value)


def _repeat_last_n(value: Any, plan: Plan) -> Answer:
    if value in (-1, plan.context_length):
        return Answer("equal", "repeat_last_n", plan.context_length)
    return Answer("approximated", "repeat_last_n", plan.context_length,
                  "penalties look at the whole conversation, on every engine")


def _off(neutral: float, reason: str) -> Rule:
    """Lost, unless the value turns it off anyway."""
    return lambda value, plan: None if value == neutral else Answer("lost", "", None, reason)


def _thinking(value: Any, plan: Plan) -> Answer | None:
    if value == "auto":
        return None
    variables = plan.profile.get("template_variables") or {}
    if not variables:
        return Answer("lost", "", None, plan.thinking_problem or "this model's chat template has no switch for it")
    return Answer("approximated" if plan.thinking_problem else "translated", "chat_template_kwargs", variables,
                  plan.thinking_problem)


_DRAFTED = 4
"""Tokens that are guessed ahead where nobody says how many: `draft_num_predict`'s default."""


def speculation(plan: Plan) -> tuple[tuple[str, str, str], ...]:
    """llama-server's flags for guessing ahead, each with its reason; none where nothing asks for it, or it can't."""
    method, number = _method(plan), plan.setting("draft_num_predict")
    ahead = str(int(number.value) if number is not None else _DRAFTED)
    if ahead == "0":
        return ()
    if method == "ngram":
        return (("--spec-type", "ngram-simple", "guesses what followed the same words before; each guess is checked"),
                ("--spec-ngram-simple-size-n", "3", "words alike before a guess"),
                ("--spec-ngram-simple-size-m", ahead, "tokens that are guessed ahead"))
    if method == "draft_model" and plan.draft is not None:
        return (("--spec-type", "draft-simple", "a small model guesses; the large one checks each guess"),
                ("--spec-draft-model", plan.draft.path, "DRAFT"),
                ("--spec-draft-n-max", ahead, "tokens that are guessed ahead"))
    return ()


def _method(plan: Plan) -> str:
    said = plan.setting("serve.speculative")
    return str(said.value) if said is not None else "draft_model" if plan.setting("draft") is not None else "off"


def _speculative(value: Any, plan: Plan) -> Answer | None:
    if value == "off":
        return None
    if speculation(plan):
        return Answer("translated", "--spec-type", speculation(plan)[0][1])
    return Answer("lost", "", None, "the model of DRAFT is not here" if value == "draft_model" else
                  f"llama.cpp guesses ahead by `ngram` or with a DRAFT, not by `{value}`")


def _draft(value: Any, plan: Plan) -> Answer:
    if any(flag == "--spec-draft-model" for flag, _, _ in speculation(plan)):
        return Answer("equal", "--spec-draft-model")
    return Answer("lost", "", None, "the model of DRAFT is not here" if _method(plan) == "draft_model" else
                  f"`SERVE speculative {_method(plan)}` takes no model")


def _draft_tokens(value: Any, plan: Plan) -> Answer:
    if not speculation(plan):
        return Answer("lost", "", None, "nothing drafts: write `SERVE speculative ngram`, or DRAFT and a model")
    return Answer("equal", "--spec-type", None, "how far it guesses ahead")


_FIELD = "the request says it; the contract fills it in"
_IGNORED = "deprecated in Ollama, which ignores it too"

SETTINGS = rows(
    # Of the process.
    Row("num_ctx", _context, "`--ctx-size` is for all conversations together"),
    Row("serve.max_concurrency", _concurrency, "slots; who comes later waits"),
    Row("quantize", _quantize, "made beforehand"),
    Row("num_batch", translated("--batch-size", int, "also `--ubatch-size`"), "prompt tokens worked on in one step"),
    Row("num_thread", _positive(equal("--threads")), "0: the physical cores that the process may use"),
    Row("num_gpu", _layers, "-1: as many layers as fit"),
    Row("main_gpu", translated("--main-gpu", int, "with `--split-mode none`"), "the one GPU to use"),
    Row("use_mmap", _only_when(False, translated("--load-mode", lambda _: "none")), "true is what llama.cpp does"),
    Row("serve.kv_cache", _kv_cache, "keys and values alike"),
    Row("serve.prefix_caching", _only_when(False, translated("--no-cache-prompt", lambda _: True)),
        "true is what llama.cpp does, in each slot"),
    Row("serve.gpu_memory", _off(0.9, "llama.cpp places layers, it does not reserve memory; see `num_gpu`"), ""),
    Row("serve.tensor_parallel", _off(1, "llama.cpp splits layers over all the GPUs that it sees by itself"), ""),
    llama_adapters.ROW,
    Row("template", translated("--chat-template-file", lambda _: f"{RUN}/chat_template.jinja"), "Jinja as it is"),
    # Of each request.
    *(Row(name, equal(name), _FIELD) for name in ("temperature", "top_p", "top_k", "min_p", "seed", "stop",
                                                  "presence_penalty", "frequency_penalty", "system", "messages")),
    Row("repeat_penalty", translated("repeat_penalty", float), _FIELD),
    Row("num_predict", translated("max_tokens", int, "a default, not a cap"), _FIELD),
    Row("repeat_last_n", _repeat_last_n, "how far the penalties look back"),
    Row("typical_p", _off(1.0, "vLLM has no typical sampling, and a request means the same on every engine"), ""),
    Row("num_keep", lost("a conversation ends where its context does; nothing is shifted out of it"), ""),
    Row("draft", _draft, "a small model that guesses ahead, as GGUF"),
    Row("draft_num_predict", _draft_tokens, "tokens that are guessed ahead"),
    Row("serve.speculative", _speculative, "how tokens are guessed ahead"),
    Row("serve.thinking", _thinking, "variables of the chat template"),
    Row("serve.accelerator", lambda value, plan: Answer("equal", "", None, "it takes what the machine has"), ""),
    Row("serve.pipeline_parallel", _off(1, "llama.cpp splits layers over all the GPUs that it sees by itself"), ""),
    Row("serve.image", lost("llama.cpp runs as a process of the machine, in no image"), ""),
    Row("serve.max_replicas", lost("only platforms that add copies under load have it"), ""),
    # Of the answer.
    Row("serve.tool_parser", approximated("chat template", str, "tool calls are read as the chat template writes them"),
        "that there is one lets a model choose its tools"),
    Row("serve.reasoning_parser", approximated("chat template", str, "reasoning is read as it writes it"), ""),
    *(Row(name, lost(_IGNORED), "") for name in ("f16_kv", "logits_all", "low_vram", "mirostat", "mirostat_eta",
                                                 "mirostat_tau", "penalize_newline", "use_mlock", "vocab_only")),
)
"""What every setting of the language becomes. Targets that begin with `--` are llama-server's flags, others request
fields; `llama_host.attributes` says the flags to the wheel."""
