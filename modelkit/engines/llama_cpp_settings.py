"""Our own llama.cpp engine's table: every setting of the language, and what it becomes there or in a request to it.

Targets that begin with `--` are fields of `modelkit.llamacpp.config.Config`, others fields of a request. A request's
fields are vLLM's, so that what is `equal` here is equal in meaning to prod.
"""

from __future__ import annotations

from typing import Any

from modelkit.engines import pooling
from modelkit.engines.launch import RUN
from modelkit.engines.llama_rules import ALIKE, FIELD, drafted, method, only_when, positive, projector
from modelkit.engines.table import Answer, Row, Rule, equal, rows, translated
from modelkit.planning.plan import Plan

TEMPLATE = "chat_template.jinja"


def computes_on_cpu(plan: Plan) -> bool:
    return plan.engine is not None and plan.engine.variant in ("", "cpu")


def _with_gpu(target: str) -> Rule:
    def rule(value: Any, plan: Plan) -> Answer | None:
        if value < 0:
            return None
        if computes_on_cpu(plan) and value != 0:
            return Answer("lost", "", None, "this llama-cpp-python was built for the processor alone")
        return Answer("equal", target, value)

    return rule


def _main_gpu(value: Any, plan: Plan) -> Answer:
    if computes_on_cpu(plan):
        return Answer("lost", "", None, "this llama-cpp-python was built for the processor alone")
    return Answer("equal", "--main-gpu", value)


def _kv_cache(value: Any, plan: Plan) -> Answer | None:
    if value == "auto":
        return None
    if value == "fp8":
        return Answer("approximated", "--kv-cache", "q8_0", "llama.cpp has no fp8; q8_0 has its size")
    return Answer("equal", "--kv-cache", value)


def _repeat_last_n(value: Any, plan: Plan) -> Answer:
    if value in (-1, plan.context_length):
        return Answer("equal", "repetition_penalty", None)
    return Answer("approximated", "repetition_penalty", None,
                  "penalties look at the whole conversation, on every engine")


def speculation(plan: Plan) -> tuple[str, str | None]:
    """How tokens are guessed ahead and, where a model does it, its path; `off` where nothing asks for it, or can."""
    how = method(plan) if drafted(plan) else "off"
    if how == "ngram":
        return how, None
    if how == "draft_model" and plan.draft is not None:
        return how, plan.draft.path
    return "off", None


def _speculative(value: Any, plan: Plan) -> Answer | None:
    if value == "off":
        return None
    how, _ = speculation(plan)
    if how != "off":
        return Answer("equal", "--speculative", how, "the text is the same as without")
    return Answer("lost", "", None, "there is no DRAFT to guess" if value == "draft_model" else
                  "`draft_num_predict` is 0" if not drafted(plan) else
                  f"llama.cpp guesses ahead by `ngram` or with a DRAFT, not by `{value}`")


def _draft(value: Any, plan: Plan) -> Answer:
    if speculation(plan)[1] is not None:
        return Answer("equal", "--draft")
    return Answer("lost", "", None, "the model of DRAFT is not here" if method(plan) == "draft_model" else
                  f"`SERVE speculative {method(plan)}` takes no model")


def _draft_tokens(value: Any, plan: Plan) -> Answer:
    if speculation(plan)[0] == "off":
        return Answer("lost", "", None, "nothing drafts: write `SERVE speculative ngram`, or DRAFT and a model")
    return Answer("equal", "--draft-tokens", int(value))


def _parser(kind: str) -> Rule:
    """Equal where we have the parser of that name, which is vLLM's."""
    def rule(value: Any, plan: Plan) -> Answer:
        from modelkit.llamacpp.parsers import REASONING_PARSERS, TOOL_PARSERS

        if value in (TOOL_PARSERS if kind == "tool" else REASONING_PARSERS):
            return Answer("equal", f"{kind}_parser", str(value), "the parser that vLLM has by this name")
        return Answer("lost", "", None, f"modelkit's own engine has no {kind} parser `{value}`: the text stays text")

    return rule


def _task(value: Any, plan: Plan) -> Answer | None:
    if value == "chat":
        return None
    if value in ("embed", "rerank"):
        return Answer("equal", "--task", value)
    return Answer("lost", "", None, f"modelkit's own engine has no task `{value}`")


SETTINGS = rows(
    *ALIKE,
    # Of the process.
    Row("num_ctx", equal("--context-length"), "tokens of one conversation, to the token"),
    Row("serve.max_concurrency", equal("--max-concurrency"), "conversations at once; who comes later waits"),
    *pooling.rows(_task, equal("--pooling"), pooling.by_the_contract),
    Row("num_batch", equal("--batch-tokens"), "prompt tokens worked on in one step"),
    Row("num_thread", positive(equal("--threads")), "0: the physical cores that the process may use"),
    Row("num_gpu", _with_gpu("--gpu-layers"), "-1: all layers, where there is a GPU"),
    Row("main_gpu", _main_gpu, "the one GPU to use"),
    Row("use_mmap", only_when(False, translated("--use-mmap", lambda _: "false")), "true is what it does"),
    Row("serve.kv_cache", _kv_cache, "keys and values alike"),
    Row("serve.prefix_caching", only_when(False, translated("--prefix-caching", lambda _: "false")),
        "true is what it does, between all conversations"),
    Row("adapters", lambda value, plan: Answer("equal", "--adapter"), "LoRA adapters, as GGUF; the model name chooses"),
    Row("template", translated("--chat-template", lambda _: f"{RUN}/{TEMPLATE}"), "Jinja as it is"),
    Row("projector", projector("--projector"), "a GGUF that lets the model see"),
    Row("draft", _draft, "a small model that guesses ahead, as GGUF"),
    Row("draft_num_predict", _draft_tokens, "tokens that are guessed ahead"),
    Row("serve.speculative", _speculative, "how tokens are guessed ahead"),
    # Of each request.
    *(Row(name, equal(name), FIELD) for name in ("temperature", "top_p", "top_k", "min_p", "seed", "stop",
                                                 "presence_penalty", "frequency_penalty", "system", "messages")),
    Row("repeat_penalty", translated("repetition_penalty", float), FIELD),
    Row("num_predict", translated("max_tokens", int, "a default, not a cap"), FIELD),
    Row("repeat_last_n", _repeat_last_n, "how far the penalties look back"),
    # Of the answer.
    Row("serve.tool_parser", _parser("tool"), "how tool calls are read"),
    Row("serve.reasoning_parser", _parser("reasoning"), "how reasoning is told from the answer"),
)
"""What every setting of the language becomes."""
