"""TensorRT-LLM's table: every setting of the language, and what it becomes in trtllm-serve 1.2 or in a request to it.

Targets with dots and underscores are fields of its LlmArgs, written to the file that `--extra_llm_api_options` names:
what stands there wins over the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelkit.engines import pooling
from modelkit.engines.contained import CONTRACT_ROWS, PLACE_ROWS, TEMPLATE, must_be_made
from modelkit.engines.table import Answer, Row, equal, lost, rows
from modelkit.engines.vllm_hardware import quantized_as
from modelkit.engines.vllm_settings import unless
from modelkit.language.quantization import PRECISIONS
from modelkit.planning.plan import Plan

READABLE = ("fp8",)
"""Precisions that modelkit makes and TensorRT-LLM 1.2 reads: of compressed-tensors, `_torch/model_config.py` knows
8-bit floating point alone, and would take 8-bit integers for it."""

_NOT_AHEAD = "its sampler that guesses ahead leaves out penalties, min_p and seed: the same answers come first"

_PENALTY = "TensorRT-LLM counts the prompt's tokens too, the other engines the answer's alone"


def _template(value: Any, plan: Plan) -> Answer:
    if plan.shape.architecture.replace("_", "").replace("-", "").lower() == "gptoss":
        return Answer("lost", "", None, "TensorRT-LLM writes gpt-oss's prompts in code and asks no template")
    return Answer("translated", "--chat_template", TEMPLATE)


def _occurrence(field: str) -> Row:
    return Row(field, lambda value, plan: Answer("equal", field, value) if float(value) == 0 else
               Answer("approximated", field, value, _PENALTY),
               "penalty on tokens that occurred" if field == "presence_penalty" else "penalty by how often they did")


def _repeat_last_n(value: Any, plan: Plan) -> Answer:
    if int(value) == -1 or int(value) >= plan.context_length:
        return Answer("equal", "repetition_penalty", None, "its penalty looks at the whole conversation")
    return Answer("approximated", "repetition_penalty", None, "its penalty looks at the whole conversation")


def _seed(value: Any, plan: Plan) -> Answer:
    if int(value) < 0:
        return Answer("equal", "seed", None, "a new seed for each request")
    return Answer("approximated", "seed", value,
                  "repeatable while the requests beside it are the same; other engines draw other numbers")


def _kv_cache(value: Any, plan: Plan) -> Answer | None:
    if value == "auto":
        return None
    if value in ("f16", "bf16"):
        return Answer("approximated", "kv_cache_config.dtype", "auto", "the cache has the model's own 16-bit type")
    if value == "fp8":
        return Answer("equal", "kv_cache_config.dtype", "fp8")
    return Answer("approximated", "kv_cache_config.dtype", "fp8", "8 bits as floating point, not in blocks of integers"
                  if value == "q8_0" else "8 bits are its smallest cache on every GPU")


def _quantize(value: Any, plan: Plan) -> Answer:
    name, made = str(value), quantized_as(plan)
    if name in ("none", "BF16"):
        return Answer("equal", "dtype", None, f"as the base has them, {made}" if made else "as the base has them")
    if name == "auto":
        return Answer("equal", "weights", None, "chosen as soon as the model is known")
    if name == "nvfp4":
        return Answer("lost", "", None, "this release cannot make nvfp4")
    if PRECISIONS[name].form != "safetensors":
        return Answer("approximated", "dtype", None, "a repository's own weights, or the same numbers written out as "
                      "bfloat16: TensorRT-LLM does not load GGUF, and so more memory")
    if name not in READABLE:
        return Answer("lost", "", None, "of what modelkit makes, TensorRT-LLM reads fp8 alone")
    if must_be_made(plan) is not None:
        return Answer("lost", "", None, "nobody makes it on the machines that the stage runs on")
    return Answer("equal" if made in (None, name) else "approximated", "weights", name,
                  f"the base is {made} already" if made else "made beforehand, as compressed-tensors")


SETTINGS: Mapping[str, Row] = rows(
    *CONTRACT_ROWS,
    Row("template", _template, "the chat template's file"),
    Row("typical_p", unless(1.0, lost("TensorRT-LLM has no typical sampling")), "typical sampling"),
    Row("repeat_penalty", lambda value, plan: Answer("translated", "repetition_penalty", value),
        "penalty on what was said before"),
    Row("repeat_last_n", _repeat_last_n, "how far the penalty looks back"),
    _occurrence("presence_penalty"), _occurrence("frequency_penalty"),
    Row("seed", _seed, "repeatable sampling"),
    Row("num_ctx", equal("max_seq_len"), "tokens of context, prompt and answer"),
    Row("num_keep", lost("TensorRT-LLM never shifts the context: a conversation that is too long is an error"), "kept"),
    Row("num_batch", lost("here it would bound the tokens of all conversations together: `FLAG --max_num_tokens N` "
                          "does"), "prompt tokens worked on at once"),
    Row("num_gpu", unless(-1, lost("TensorRT-LLM places whole models, not layers")), "layers on the GPU"),
    Row("main_gpu", lost("the platform gives the container its GPU"), "the one GPU to use"),
    Row("num_thread", lost("the GPU computes"), "CPU threads"),
    Row("use_mmap", lost("TensorRT-LLM reads safetensors its own way"), "whether the model file is mapped"),
    Row("projector", lost("a projector is llama.cpp's own form: images are refused here"), "what lets the model see"),
    Row("draft", lost(_NOT_AHEAD), "a small model that guesses ahead"),
    Row("draft_num_predict", lost(_NOT_AHEAD), "tokens that are guessed ahead"),
    Row("quantize", _quantize, "the precision of the weights"),
    Row("adapters", lost("its requests choose an adapter by a field of their own, not by a model's name"), "LoRA"),
    Row("serve.max_concurrency", equal("max_batch_size"), "conversations at once"),
    Row("serve.tensor_parallel", unless(1, equal("tensor_parallel_size")), "GPUs that share the model"),
    Row("serve.pipeline_parallel", unless(1, equal("pipeline_parallel_size")), "groups of GPUs, one after another"),
    Row("serve.gpu_memory", lambda value, plan: Answer(
        "approximated", "kv_cache_config.free_gpu_memory_fraction", value, "of what the weights leave free, and for "
        "the cache alone"), "the part of the GPU's memory to take"),
    Row("serve.kv_cache", _kv_cache, "precision of the attention cache"),
    Row("serve.prefix_caching", equal("kv_cache_config.enable_block_reuse"),
        "whether prompts that begin alike share work"),
    Row("serve.tool_parser", equal("--tool_parser"), "how tool calls are read"),
    Row("serve.reasoning_parser", equal("reasoning_parser"), "how reasoning is told from the answer"),
    Row("serve.speculative", unless("off", lost(_NOT_AHEAD)), "how tokens are guessed ahead"),
    *PLACE_ROWS, *pooling.TENSORRT_ROWS,
)
