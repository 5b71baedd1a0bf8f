"""SGLang's table: every setting of the language, and what it becomes on SGLang 0.5.23 or in a request to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelkit.engines import pooling
from modelkit.engines.contained import CONTRACT_ROWS, PLACE_ROWS, TEMPLATE, must_be_made
from modelkit.engines.table import Answer, Row, equal, lost, rows
from modelkit.engines.vllm_hardware import quantized_as
from modelkit.engines.vllm_settings import unless
from modelkit.language.quantization import PRECISIONS
from modelkit.planning.families import writes_prompts_itself
from modelkit.planning.plan import Plan

DRAFTED = 4
"""Tokens that are guessed ahead where nobody says how many: `draft_num_predict`'s default."""

_SPECULATIVE = {"ngram": "NGRAM", "mtp": "NEXTN"}
_WITH_DRAFT = ("draft_model", "eagle", "eagle3", "dflash")


def _template(value: Any, plan: Plan) -> Answer:
    if writes_prompts_itself(plan.shape.architecture):
        return Answer("lost", "", None, f"SGLang writes prompts for {plan.shape.architecture} in code and asks no "
                      "template")
    return Answer("translated", "--chat-template", TEMPLATE)


def _repeat_penalty(value: Any, plan: Plan) -> Answer:
    if float(value) == 1.0:
        return Answer("equal", "repetition_penalty", value)
    return Answer("approximated", "repetition_penalty", value,
                  "SGLang looks at the answer alone, not at the prompt before it")


def _seed(value: Any, plan: Plan) -> Answer:
    if int(value) < 0:
        return Answer("equal", "seed", None, "a new seed for each request")
    return Answer("approximated", "--enable-deterministic-inference", True,
                  "SGLang reads seeds in this mode only, which costs speed; other engines draw other numbers")


def _kv_cache(value: Any, plan: Plan) -> Answer | None:
    if value == "auto":
        return None
    if value == "f16":
        return Answer("approximated", "--kv-cache-dtype", "auto", "the cache has the model's own 16-bit type")
    if value == "q8_0":
        return Answer("approximated", "--kv-cache-dtype", "fp8_e4m3", "8 bits as floating point, not in blocks")
    if value == "q4_0":
        return Answer("approximated", "--kv-cache-dtype", "fp8_e4m3", "8 bits are its smallest cache on every GPU")
    return Answer("translated", "--kv-cache-dtype", {"bf16": "bfloat16", "fp8": "fp8_e4m3"}[value])


def _quantize(value: Any, plan: Plan) -> Answer:
    name, made = str(value), quantized_as(plan)
    if name in ("none", "BF16"):
        return Answer("equal", "--dtype", None, f"as the base has them, {made}" if made else "as the base has them")
    if name == "auto":
        return Answer("equal", "weights", None, "chosen as soon as the model is known")
    if name == "nvfp4":
        return Answer("lost", "", None, "this release cannot make nvfp4")
    if PRECISIONS[name].form != "safetensors":
        return Answer("approximated", "--dtype", None, "a repository's own weights, or the same numbers written out "
                      "as bfloat16: SGLang is not given GGUF, and so more memory")
    if must_be_made(plan) is None:
        return Answer("equal" if made in (None, name) else "approximated", "weights", name,
                      f"the base is {made} already" if made else "made beforehand, as compressed-tensors")
    if name == "fp8":
        return Answer("translated", "--quantization", name, "made while the weights load")
    return Answer("lost", "", None, "nobody makes it on the machines that the stage runs on")


def speculation(plan: Plan) -> tuple[str | None, str]:
    """SGLang's `--speculative-algorithm`, or why there is none; both empty where nothing asks for one."""
    asked, draft, number = (plan.setting(name) for name in ("serve.speculative", "draft", "draft_num_predict"))
    method = str(asked.value) if asked is not None else "draft_model"
    if method == "off" or (asked is None and draft is None):
        return None, ""
    if number is not None and int(number.value) < 1:
        return None, "`draft_num_predict 0` drafts nothing"
    if method in _SPECULATIVE:
        return _SPECULATIVE[method], ""
    if method in _WITH_DRAFT:
        return None, "containers get no draft model in this release"
    return None, f"SGLang has no method `{method}` that modelkit knows: it knows {', '.join(_SPECULATIVE)}"


def _speculative(value: Any, plan: Plan) -> Answer | None:
    if value == "off":
        return None
    method, problem = speculation(plan)
    return Answer("lost", "", None, problem) if method is None else \
        Answer("translated", "--speculative-algorithm", method)


def _draft(value: Any, plan: Plan) -> Answer:
    return Answer("lost", "", None, "containers get no draft model in this release")


def _drafted(value: Any, plan: Plan) -> Answer:
    if speculation(plan)[0] is None:
        return Answer("lost", "", None, "nothing drafts: write `SERVE speculative ngram`")
    return Answer("translated", "--speculative-num-draft-tokens", int(value))


SETTINGS: Mapping[str, Row] = rows(
    *CONTRACT_ROWS,
    Row("template", _template, "the chat template's file"),
    Row("typical_p", unless(1.0, lost("SGLang has no typical sampling")), "typical sampling"),
    Row("repeat_penalty", _repeat_penalty, "penalty on what was said before"),
    Row("repeat_last_n", lost("its penalty has no window: it looks at the whole answer"), "how far the penalty looks"),
    Row("presence_penalty", equal("presence_penalty"), "penalty on tokens that occurred"),
    Row("frequency_penalty", equal("frequency_penalty"), "penalty by how often a token occurred"),
    Row("seed", _seed, "repeatable sampling"),
    Row("num_ctx", equal("--context-length"), "tokens of context, prompt and answer"),
    Row("num_keep", lost("SGLang never shifts the context: a conversation that is too long is an error"), "kept"),
    Row("num_batch", lost("here it would bound the tokens of all conversations together: `FLAG "
                          "--chunked-prefill-size N` does"), "prompt tokens worked on at once"),
    Row("num_gpu", unless(-1, lost("SGLang places whole models, not layers")), "layers on the GPU"),
    Row("main_gpu", lost("the platform gives the container its GPU"), "the one GPU to use"),
    Row("num_thread", lost("the GPU computes"), "CPU threads"),
    Row("use_mmap", lambda value, plan: None if value else Answer("translated", "--weight-loader-disable-mmap", True),
        "whether the model file is mapped"),
    Row("projector", lost("a projector is llama.cpp's own form: images are refused here"), "what lets the model see"),
    Row("draft", _draft, "a small model that guesses ahead"),
    Row("draft_num_predict", _drafted, "tokens that are guessed ahead"),
    Row("quantize", _quantize, "the precision of the weights"),
    Row("adapters", lambda value, plan: Answer("equal", "--lora-paths", None, "each answers under its model name"),
        "LoRA adapters, in PEFT's form"),
    Row("serve.max_concurrency", equal("--max-running-requests"), "conversations at once"),
    Row("serve.tensor_parallel", unless(1, equal("--tp-size")), "GPUs that share the model"),
    Row("serve.pipeline_parallel", unless(1, equal("--pp-size")), "groups of GPUs, one after another"),
    Row("serve.gpu_memory", lambda value, plan: Answer(
        "approximated", "--mem-fraction-static", value, "of the whole memory, for weights and cache; what computing "
        "takes comes on top"), "the part of the GPU's memory to take"),
    Row("serve.kv_cache", _kv_cache, "precision of the attention cache"),
    Row("serve.prefix_caching", lambda value, plan: Answer("equal", "", None, "what SGLang does anyway") if value else
        Answer("translated", "--disable-radix-cache", True), "whether prompts that begin alike share work"),
    Row("serve.tool_parser", equal("--tool-call-parser"), "how tool calls are read"),
    Row("serve.reasoning_parser", equal("--reasoning-parser"), "how reasoning is told from the answer"),
    Row("serve.speculative", _speculative, "how tokens are guessed ahead"),
    *PLACE_ROWS, *pooling.SGLANG_ROWS,
)
