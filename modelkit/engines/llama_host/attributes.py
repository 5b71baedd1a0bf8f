"""llama-server's flags as attributes of `xllamacpp.CommonParams`: the wheel has no parser for an argument vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Words = tuple[str, ...]

_TRUTH = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


@dataclass(frozen=True)
class Attribute:
    """Where a flag's value goes. `read` makes the attribute's value of the word after the flag; None: it takes none.

    `enum` names the module's enumeration, and `prefix` what stands before the word in its members' names.
    """

    path: str
    read: Callable[[str], Any] | None = None
    value: Any = True
    enum: str = ""
    prefix: str = ""
    listed: bool = False  # the attribute is a list of one
    several: bool = False  # each flag adds one to a list


def _file(word: str) -> str:
    return Path(word).read_text("utf-8")


def _both(name: str, no: str, path: str, *, inverted: bool = False) -> dict[str, Attribute]:
    return {name: Attribute(path, value=not inverted), no: Attribute(path, value=inverted)}


ATTRIBUTES: Mapping[str, Attribute] = {
    "--model": Attribute("model.path", str),
    "--alias": Attribute("model_alias", lambda word: {word}),
    "--host": Attribute("hostnames", lambda word: [word]),
    "--lora": Attribute("lora_adapters", str, several=True),
    "--mmproj": Attribute("mmproj.path", str),
    "--ctx-size": Attribute("n_ctx", int),
    "--parallel": Attribute("n_parallel", int),
    "--batch-size": Attribute("n_batch", int),
    "--ubatch-size": Attribute("n_ubatch", int),
    "--keep": Attribute("n_keep", int),
    "--threads": Attribute("cpuparams.n_threads", int),
    "--threads-batch": Attribute("cpuparams_batch.n_threads", int),
    "--threads-http": Attribute("n_threads_http", int),
    "--gpu-layers": Attribute("n_gpu_layers", int),
    "--main-gpu": Attribute("main_gpu", int),
    "--split-mode": Attribute("split_mode", str.upper, enum="llama_split_mode", prefix="LLAMA_SPLIT_MODE_"),
    "--load-mode": Attribute("load_mode", lambda w: w.upper().replace("+", "_"), enum="llama_load_mode",
                             prefix="LLAMA_LOAD_MODE_"),
    "--flash-attn": Attribute("flash_attn_type", {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}.__getitem__,
                              enum="llama_flash_attn_type", prefix="LLAMA_FLASH_ATTN_TYPE_"),
    "--cache-type-k": Attribute("cache_type_k", str.upper, enum="ggml_type", prefix="GGML_TYPE_"),
    "--cache-type-v": Attribute("cache_type_v", str.upper, enum="ggml_type", prefix="GGML_TYPE_"),
    "--numa": Attribute("numa", str.upper, enum="ggml_numa_strategy", prefix="GGML_NUMA_STRATEGY_"),
    "--pooling": Attribute("pooling_type", str.upper, enum="llama_pooling_type", prefix="LLAMA_POOLING_TYPE_"),
    "--rope-scaling": Attribute("rope_scaling_type", str.upper, enum="llama_rope_scaling_type",
                                prefix="LLAMA_ROPE_SCALING_TYPE_"),
    "--reasoning-format": Attribute("reasoning_format", lambda w: w.upper().replace("-", "_"),
                                    enum="common_reasoning_format", prefix="COMMON_REASONING_FORMAT_"),
    "--rope-freq-base": Attribute("rope_freq_base", float),
    "--rope-freq-scale": Attribute("rope_freq_scale", float),
    "--yarn-orig-ctx": Attribute("yarn_orig_ctx", int),
    "--yarn-ext-factor": Attribute("yarn_ext_factor", float),
    "--yarn-attn-factor": Attribute("yarn_attn_factor", float),
    "--yarn-beta-slow": Attribute("yarn_beta_slow", float),
    "--yarn-beta-fast": Attribute("yarn_beta_fast", float),
    "--cache-ram": Attribute("cache_ram_mib", int),
    "--cache-reuse": Attribute("n_cache_reuse", int),
    "--ctx-checkpoints": Attribute("n_ctx_checkpoints", int),
    "--slot-prompt-similarity": Attribute("slot_prompt_similarity", float),
    "--sse-ping-interval": Attribute("sse_ping_interval", int),
    "--cors-origins": Attribute("cors_origins", str),
    "--chat-template": Attribute("chat_template", str),
    "--chat-template-file": Attribute("chat_template", _file),
    "--spec-type": Attribute("speculative.types", lambda w: w.upper().replace("-", "_"),
                             enum="common_speculative_type", prefix="COMMON_SPECULATIVE_TYPE_", listed=True),
    "--spec-ngram-simple-size-n": Attribute("speculative.ngram_simple.size_n", int),
    "--spec-ngram-simple-size-m": Attribute("speculative.ngram_simple.size_m", int),
    "--spec-draft-model": Attribute("speculative.draft.mparams.path", str),
    "--spec-draft-n-max": Attribute("speculative.draft.n_max", int),
    "--reasoning-budget": Attribute("sampling.reasoning_budget_tokens", int),
    "--fit": Attribute("fit_params", _TRUTH.__getitem__),
    "--fit-ctx": Attribute("fit_params_min_ctx", int),
    "--verbosity": Attribute("verbosity", int),
    "--override-tensor": Attribute("tensor_buft_overrides", str),
    "--swa-full": Attribute("swa_full"),
    "--check-tensors": Attribute("check_tensors"),
    "--metrics": Attribute("endpoint_metrics"),
    "--offline": Attribute("offline"),
    "--no-slots": Attribute("endpoint_slots", value=False),
    "--no-ui": Attribute("ui", value=False),
    **_both("--prefill-assistant", "--no-prefill-assistant", "prefill_assistant"),
    "--kv-unified-per-slot": Attribute("kv_unified_per_slot", int),
    **_both("--kv-unified", "--no-kv-unified", "kv_unified"),
    **_both("--cache-prompt", "--no-cache-prompt", "cache_prompt"),
    **_both("--cont-batching", "--no-cont-batching", "cont_batching"),
    **_both("--warmup", "--no-warmup", "warmup"),
    **_both("--jinja", "--no-jinja", "use_jinja"),
    **_both("--kv-offload", "--no-kv-offload", "no_kv_offload", inverted=True),
    **_both("--op-offload", "--no-op-offload", "no_op_offload", inverted=True),
    **_both("--repack", "--no-repack", "no_extra_bufts", inverted=True),
    **_both("--perf", "--no-perf", "no_perf", inverted=True),
}

ALIASES: Mapping[str, str] = {
    "-m": "--model", "-a": "--alias", "-c": "--ctx-size", "-np": "--parallel", "-b": "--batch-size",
    "-ub": "--ubatch-size", "-t": "--threads", "-tb": "--threads-batch", "-ngl": "--gpu-layers",
    "--n-gpu-layers": "--gpu-layers", "-mg": "--main-gpu", "-sm": "--split-mode", "-lm": "--load-mode",
    "-fa": "--flash-attn", "-ctk": "--cache-type-k", "-ctv": "--cache-type-v", "-kvu": "--kv-unified",
    "-no-kvu": "--no-kv-unified", "-cram": "--cache-ram", "-sps": "--slot-prompt-similarity", "-fit": "--fit",
    "-fitc": "--fit-ctx", "-lv": "--verbosity", "--log-verbosity": "--verbosity", "-ot": "--override-tensor",
    "-cb": "--cont-batching", "-nocb": "--no-cont-batching", "-kvo": "--kv-offload", "-nkvo": "--no-kv-offload",
    "-md": "--spec-draft-model", "--model-draft": "--spec-draft-model",
    "--swa-checkpoints": "--ctx-checkpoints", "-nr": "--no-repack",
}
"""The short and the older names of flags."""


def canonical(flag: str) -> str:
    """A flag's one name."""
    return ALIASES.get(flag, flag)


def problem(words: Words) -> str | None:
    """Why these words cannot be said to xllamacpp, or None."""
    attribute = ATTRIBUTES.get(canonical(words[0]))
    if attribute is None:
        return "xllamacpp has no such setting; a `llama-server` on PATH would take it"
    if attribute.read is None:
        return f"`{words[0]}` takes no value" if len(words) > 1 else None
    if len(words) != 2:
        return f"`{words[0]}` takes one value"
    if attribute.read is _file:
        return None
    try:
        attribute.read(words[1])
    except (ValueError, KeyError):
        return f"`{words[1]}` is no value for `{words[0]}`"
    return None


class Unknown(ValueError):
    """This release of the wheel has no such attribute."""


def apply(params: Any, words: Words, module: Any) -> None:
    """Set one flag on a CommonParams. Raises ValueError with a sentence when it cannot: Unknown for another release."""
    if said := problem(words):
        raise ValueError(said)
    attribute = ATTRIBUTES[canonical(words[0])]
    *owners, name = attribute.path.split(".")
    owner = params
    for one in owners:
        owner = getattr(owner, one, None)
    if not hasattr(owner, name):
        raise Unknown("this release of xllamacpp has no such setting")
    value = attribute.value if attribute.read is None else attribute.read(words[1])
    if attribute.enum:
        try:
            value = getattr(getattr(module, attribute.enum), attribute.prefix + value)
        except AttributeError:
            raise ValueError(f"`{words[1]}` is no value for `{words[0]}`") from None
    if attribute.several:
        value = [*getattr(owner, name), module.CommonAdapterLoraInfo(value)]
    setattr(owner, name, [value] if attribute.listed else value)
