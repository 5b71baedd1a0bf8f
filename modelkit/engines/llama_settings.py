"""llama.cpp's table: every setting of the language, and what it becomes on llama-server or in a request to it.

Facts about flags and words are of llama.cpp b11549 (2026-10).
"""

from __future__ import annotations

from typing import Any

from modelkit.engines import llama_adapters, pooling
from modelkit.engines.launch import RUN
from modelkit.engines.llama_rules import ALIKE, FIELD, drafted, method, only_when, positive, projector, repeat_last_n
from modelkit.engines.table import Answer, Row, approximated, equal, rows, translated
from modelkit.planning.plan import Plan

BATCH = 512
"""Prompt tokens a step. Everybody who is being answered waits for a step: 2048 stalled seven streams for 9 s."""

CONTEXT_STEP = 256
"""llama.cpp makes the context of a slot a multiple of this."""


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


def _kv_cache(value: Any, plan: Plan) -> Answer | None:
    if value == "auto":
        return None
    if value == "fp8":
        return Answer("approximated", "--cache-type-k", "q8_0", "llama.cpp has no fp8; q8_0 has its size")
    return Answer("equal", "--cache-type-k", value)


def speculation(plan: Plan) -> tuple[tuple[str, str, str], ...]:
    """llama-server's flags for guessing ahead, each with its reason; none where nothing asks for it, or it can't."""
    how, ahead = method(plan), str(drafted(plan))
    if ahead == "0":
        return ()
    if how == "ngram":
        return (("--spec-type", "ngram-simple", "guesses what followed the same words before; each guess is checked"),
                ("--spec-ngram-simple-size-n", "3", "words alike before a guess"),
                ("--spec-ngram-simple-size-m", ahead, "tokens that are guessed ahead"))
    if how == "draft_model" and plan.draft is not None:
        return (("--spec-type", "draft-simple", "a small model guesses; the large one checks each guess"),
                ("--spec-draft-model", plan.draft.path, "DRAFT"),
                ("--spec-draft-n-max", ahead, "tokens that are guessed ahead"))
    return ()


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
    return Answer("lost", "", None, "the model of DRAFT is not here" if method(plan) == "draft_model" else
                  f"`SERVE speculative {method(plan)}` takes no model")


def _draft_tokens(value: Any, plan: Plan) -> Answer:
    if not speculation(plan):
        return Answer("lost", "", None, "nothing drafts: write `SERVE speculative ngram`, or DRAFT and a model")
    return Answer("equal", "--spec-type", None, "how far it guesses ahead")


SETTINGS = rows(
    *ALIKE,
    # Of the process.
    Row("num_ctx", _context, "`--ctx-size` is for all conversations together"),
    Row("serve.max_concurrency", _concurrency, "slots; who comes later waits"),
    Row("num_batch", translated("--batch-size", int, "also `--ubatch-size`"), "prompt tokens worked on in one step"),
    Row("num_thread", positive(equal("--threads")), "0: the physical cores that the process may use"),
    Row("num_gpu", _layers, "-1: as many layers as fit"),
    Row("main_gpu", translated("--main-gpu", int, "with `--split-mode none`"), "the one GPU to use"),
    Row("use_mmap", only_when(False, translated("--load-mode", lambda _: "none")), "true is what llama.cpp does"),
    Row("serve.kv_cache", _kv_cache, "keys and values alike"),
    Row("serve.prefix_caching", only_when(False, translated("--no-cache-prompt", lambda _: True)),
        "true is what llama.cpp does, in each slot"),
    llama_adapters.ROW, *pooling.LLAMA_SERVER_ROWS,
    Row("template", translated("--chat-template-file", lambda _: f"{RUN}/chat_template.jinja"), "Jinja as it is"),
    # Of each request.
    *(Row(name, equal(name), FIELD) for name in ("temperature", "top_p", "top_k", "min_p", "seed", "stop",
                                                  "presence_penalty", "frequency_penalty", "system", "messages")),
    Row("repeat_penalty", translated("repeat_penalty", float), FIELD),
    Row("num_predict", translated("max_tokens", int, "a default, not a cap"), FIELD),
    Row("repeat_last_n", repeat_last_n, "how far the penalties look back"),
    Row("projector", projector("--mmproj"), "a GGUF that lets the model see"),
    Row("draft", _draft, "a small model that guesses ahead, as GGUF"),
    Row("draft_num_predict", _draft_tokens, "tokens that are guessed ahead"),
    Row("serve.speculative", _speculative, "how tokens are guessed ahead"),
    # Of the answer.
    Row("serve.tool_parser", approximated("chat template", str, "tool calls are read as the chat template writes them"),
        "that there is one lets a model choose its tools"),
    Row("serve.reasoning_parser", approximated("chat template", str, "reasoning is read as it writes it"), ""),
)
"""What every setting of the language becomes. Targets that begin with `--` are llama-server's flags, others request
fields; `llama_host.attributes` says the flags to the wheel."""
