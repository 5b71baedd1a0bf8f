"""vLLM's table: every setting of the language, and what it becomes on `vllm serve` 0.32 or in a request to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from modelkit.engines import pooling, vllm_adapters
from modelkit.engines.launch import RUN
from modelkit.engines.losses import LOST
from modelkit.engines.table import Answer, Row, Rule, equal, lost, rows, thinking, translated
from modelkit.engines.vllm_hardware import on_cpu, quantized_as, unfit_processor
from modelkit.language.quantization import PRECISIONS
from modelkit.planning.families import writes_prompts_itself
from modelkit.planning.plan import Plan

TEMPLATE_FILE = "chat_template.jinja"


def asks_nothing(value: Any, plan: Plan) -> Answer | None:
    """For settings that others keep: the stable address, the supervisor."""
    return None


def unless(neutral: Any, rule: Rule) -> Rule:
    """The rule, but nothing at all for a value that asks for nothing."""
    return lambda value, plan: None if value == neutral else rule(value, plan)


def on_gpu(rule: Rule, reason: str) -> Rule:
    """The rule where the engine runs on a GPU; lost for `reason` where it runs on CPUs."""
    return lambda value, plan: Answer("lost", "", None, reason) if on_cpu(plan) else rule(value, plan)


def _in_request(field: str) -> Rule:
    """The contract puts it into every request that does not say it."""
    return equal(field)


def _max_tokens(value: Any, plan: Plan) -> Answer:
    if int(value) < 0:
        return Answer("equal", "max_tokens", None, "no limit but the context, which is what a request without it gets")
    return Answer("translated", "max_tokens", value)


def _repeat_last_n(value: Any, plan: Plan) -> Answer:
    if int(value) == -1 or int(value) >= plan.context_length:
        return Answer("equal", "repetition_penalty", None, "vLLM's penalties look at the whole conversation")
    return Answer("approximated", "repetition_penalty", None,
                  "penalties look at the whole conversation, on every engine, so that they mean the same everywhere")


def _seed(value: Any, plan: Plan) -> Answer:
    if int(value) < 0:
        return Answer("equal", "seed", None, "a new seed for each request, which is what a request without one gets")
    return Answer("approximated", "seed", value,
                  "repeatable while the requests beside it are the same; other engines draw other numbers")


def _threads(value: Any, plan: Plan) -> Answer:
    if not on_cpu(plan):
        return Answer("lost", "", None, "the GPU computes; vLLM's own threads are not set this way")
    if not value:
        return Answer("equal", "OMP_NUM_THREADS", None, "one less than there are cores")
    return Answer("translated", "OMP_NUM_THREADS", value)


def _gpu_layers(value: Any, plan: Plan) -> Answer:
    if int(value) == -1:
        return Answer("equal", "", None, "vLLM puts the whole model on its device")
    return Answer("lost", "", None, LOST["num_gpu"])


def _kv_cache(value: Any, plan: Plan) -> Answer | None:
    if value == "auto":
        return None
    if value == "q4_0":
        return Answer("approximated", "--kv-cache-dtype", "fp8", "8 bits are vLLM's smallest cache for every model")
    if value == "q8_0":
        return Answer("approximated", "--kv-cache-dtype", "fp8", "8 bits as floating point, not in blocks of integers")
    if value == "f16" and on_cpu(plan):
        return Answer("approximated", "--kv-cache-dtype", "auto", "on CPUs the cache has the model's own bfloat16")
    return Answer("translated", "--kv-cache-dtype", {"f16": "float16", "bf16": "bfloat16", "fp8": "fp8"}[value])


def _prefix_caching(value: Any, plan: Plan) -> Answer:
    return Answer("translated", "--enable-prefix-caching" if value else "--no-enable-prefix-caching", True)


def _quantize(value: Any, plan: Plan) -> Answer:
    name, made = str(value), quantized_as(plan)
    if name in ("none", "BF16"):
        return Answer("equal", "--dtype", None, f"as the base has them, {made}" if made else "bfloat16")
    if name == "auto":
        return Answer("equal", "weights", None, "chosen as soon as the model is known")
    if name == "nvfp4":
        return Answer("lost", "", None, "this release cannot make nvfp4")
    elsewhere = plan.source is not None and plan.source.kind != "folder"
    if PRECISIONS[name].form == "safetensors":
        if (reason := unfit_processor(name, plan)) is not None:
            return Answer("lost", "", None, reason)
        if not elsewhere:
            return Answer("equal", "weights", name, "made beforehand, as compressed-tensors")
        if made is not None:
            return Answer("equal" if made == name else "approximated", "weights", name, f"the base is {made} already")
        return Answer("translated", "--quantization", name, "made while the weights load, one scale a tensor") \
            if name == "fp8" else Answer("lost", "", None, "nobody makes it on the machines that the stage runs on")
    if elsewhere:
        return Answer("approximated", "--dtype", None,
                      f"vLLM does not load GGUF: the repository's own weights, not {name}'s, and so more memory")
    return Answer("approximated", "--dtype", None,
                  "vLLM does not load GGUF: the same numbers, written out as bfloat16, and so more memory")


def _template(value: Any, plan: Plan) -> Answer:
    if writes_prompts_itself(plan.shape.architecture):
        return Answer("lost", "", None, f"vLLM writes prompts for {plan.shape.architecture} in code and asks no "
                      "template (MK-TPL-004)")
    return Answer("translated", "--chat-template", f"{RUN}/{TEMPLATE_FILE}")


def _speculative(value: Any, plan: Plan) -> Answer | None:
    if value == "off":
        return None
    method, problem = speculation(plan)
    return Answer("lost", "", None, problem) if problem else Answer("translated", "--speculative-config", method)


def _draft(value: Any, plan: Plan) -> Answer:
    if plan.setting("serve.speculative") is not None:
        return Answer("equal", "--speculative-config", None, "the model of `SERVE speculative`")
    method, problem = speculation(plan)
    return Answer("lost", "", None, problem) if problem else Answer("equal", "--speculative-config", method)


def _draft_tokens(value: Any, plan: Plan) -> Answer:
    method, _ = speculation(plan)
    if method is None:
        return Answer("lost", "", None, "nothing drafts: write `SERVE speculative ngram`, or DRAFT and a model")
    return Answer("translated", "--speculative-config", None, "`num_speculative_tokens` in it")


_ALONE = {"ngram": {"prompt_lookup_min": 2, "prompt_lookup_max": 4}, "suffix": {}, "mtp": {}}
_WITH_DRAFT = ("draft_model", "eagle", "eagle3", "medusa", "mlp_speculator", "dflash")
_DRAFTED = 4
"""Tokens that are guessed ahead where nobody says how many: `draft_num_predict`'s default."""


def speculation(plan: Plan) -> tuple[str | None, str]:
    """vLLM's `--speculative-config` as JSON, or why there is none; both empty where nothing asks for one."""
    asked, draft = plan.setting("serve.speculative"), plan.setting("draft")
    method = str(asked.value) if asked is not None else "draft_model"
    if method == "off" or (asked is None and draft is None):
        return None, ""
    number = plan.setting("draft_num_predict")
    said: dict[str, Any] = {"method": method,
                            "num_speculative_tokens": int(number.value) if number is not None else _DRAFTED}
    if said["num_speculative_tokens"] < 1:
        return None, "`draft_num_predict 0` drafts nothing"
    if method in _ALONE:
        return json.dumps(said | _ALONE[method]), ""
    if method not in _WITH_DRAFT:
        near = get_close_matches(method, (*_ALONE, *_WITH_DRAFT), 1, 0.5)
        return None, f"vLLM has no method `{method}`: " + (f"did you mean `{near[0]}`?" if near else
                                                            f"it has {', '.join((*_ALONE, *_WITH_DRAFT))}")
    if plan.draft is None:
        return None, ("the model of DRAFT is not here" if draft is not None else
                      f"`{method}` wants a model that drafts: name it in DRAFT")
    if plan.image is not None:
        return None, "containers get no draft model in this release"
    return json.dumps(said | {"model": plan.draft.path}), ""


def _replicas(value: Any, plan: Plan) -> Answer | None:
    return None if int(value) == 1 else Answer("lost", "", None, "this release runs one engine for a stage")


SETTINGS: Mapping[str, Row] = rows(
    Row("system", _in_request("messages"), "the system prompt, where the client sends none"),
    Row("messages", _in_request("messages"), "few-shot turns, before the client's own"),
    Row("template", _template, "the chat template's file"),
    Row("stop", _in_request("stop"), "stop strings"),
    Row("temperature", _in_request("temperature"), "how random the choice is"),
    Row("top_p", _in_request("top_p"), "nucleus sampling"),
    Row("top_k", _in_request("top_k"), "the k likeliest tokens"),
    Row("min_p", _in_request("min_p"), "tokens at least this likely, relative to the likeliest"),
    Row("typical_p", unless(1.0, lost(LOST["typical_p"])), "typical sampling"),
    Row("repeat_penalty", translated("repetition_penalty", lambda value: value), "penalty on what was said before"),
    Row("repeat_last_n", _repeat_last_n, "how far the penalty looks back"),
    Row("presence_penalty", _in_request("presence_penalty"), "penalty on tokens that occurred"),
    Row("frequency_penalty", _in_request("frequency_penalty"), "penalty by how often a token occurred"),
    Row("seed", _seed, "repeatable sampling"),
    Row("num_predict", _max_tokens, "the answer's tokens, where the client sets no limit"),
    Row("num_ctx", equal("--max-model-len"), "tokens of context, prompt and answer"),
    Row("num_keep", lost(LOST["num_keep"]), "tokens kept"),
    Row("num_batch", lost(LOST["num_batch"]), "prompt tokens worked on at once"),
    Row("num_gpu", _gpu_layers, "layers on the GPU"),
    Row("main_gpu", lost(LOST["main_gpu"]), "the one GPU to use"),
    Row("num_thread", _threads, "CPU threads"),
    Row("use_mmap", lost(LOST["use_mmap"]), "whether the model file is mapped"),
    Row("projector", lost(LOST["projector"]), "what lets the model see"),
    Row("draft", _draft, "a small model that guesses ahead"),
    Row("draft_num_predict", _draft_tokens, "tokens that are guessed ahead"),
    Row("quantize", _quantize, "the precision of the weights"),
    vllm_adapters.ROW,
    Row("serve.max_concurrency", equal("--max-num-seqs"), "conversations at once"),
    Row("serve.replicas", _replicas, "copies of the engine"),
    Row("serve.tensor_parallel", unless(1, on_gpu(equal("--tensor-parallel-size"),
                                                  "there is one CPU to compute on, not several GPUs")),
        "GPUs that share the model"),
    Row("serve.pipeline_parallel", unless(1, on_gpu(equal("--pipeline-parallel-size"),
                                                    "there is one CPU to compute on, not several GPUs")),
        "groups of GPUs that hold the layers one after another"),
    Row("serve.accelerator", lambda value, plan: Answer("equal", "", None, "precisions are checked against it"),
        "what the stage runs on"),
    Row("serve.image", lambda value, plan: Answer("equal", "image", plan.image) if plan.image else
        Answer("lost", "", None, "an engine of this machine has no image"), "the engine's container image"),
    Row("serve.max_replicas", lost("only platforms that add copies under load have it"), "copies at most"),
    Row("serve.gpu_memory", on_gpu(equal("--gpu-memory-utilization"),
                                   "no GPU: the cache gets what num_ctx and max_concurrency need"),
        "the part of the GPU's memory to take"),
    Row("serve.kv_cache", _kv_cache, "precision of the attention cache"),
    Row("serve.prefix_caching", _prefix_caching, "whether prompts that begin alike share work"),
    Row("serve.keep_alive", lost(LOST["serve.keep_alive"]), "how long an idle model stays"),
    Row("serve.port", asks_nothing, "the stable address's; the engine listens on a Unix socket"),
    Row("serve.host", asks_nothing, "the stable address's"),
    Row("serve.api_key", asks_nothing, "the stable address asks for it"),
    Row("serve.tool_parser", equal("--tool-call-parser"), "how tool calls are read"),
    Row("serve.reasoning_parser", equal("--reasoning-parser"), "how reasoning is told from the answer"),
    Row("serve.thinking", thinking, "whether the model thinks"),
    Row("serve.speculative", _speculative, "how tokens are guessed ahead"),
    *pooling.VLLM_ROWS,
)

TAGGED_PARSERS = frozenset(("glm45", "glm47", "hy_v4", "kimi_k3", "ling3", "openai", "plamo3"))
"""Parsers whose forced calls are xgrammar's tags and nothing else (0.32, `supports_required_and_named`)."""
