"""A plan as vLLM would really be told, as memory and speed see it: read from the very words of its launch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from modelkit.engines.vllm_hardware import on_cpu
from modelkit.engines.vllm_words import is_flag, words
from modelkit.engines.word import argv
from modelkit.failure import Failure
from modelkit.planning.fit.serving import Serving
from modelkit.planning.plan import Plan

_BLOCK, _BLOCK_CPU, _BLOCK_MLA = 16, 128, 64
"""Tokens of a block where nobody says it (0.32): on GPUs, on CPUs, and of latents on GPUs (FlashMLA)."""

_SHORT = {"-tp": "--tensor-parallel-size", "-pp": "--pipeline-parallel-size", "-dp": "--data-parallel-size"}

_MULTIPLES = {"k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
"""vLLM's `human_readable_int`."""


def serving(plan: Plan) -> Serving:
    """How vLLM would serve it. A FLAG of the author that says memory counts, as it does on the command line.

    Raises Failure `bad-flag-value` for a number that vLLM would not take.
    """
    said = _flags(argv(words(plan)))
    if said.get("--max-model-len") in ("-1", "auto"):  # as much as fits: what is asked for is the plan's
        del said["--max-model-len"]
    cpu = on_cpu(plan)

    def optional(flag: str) -> int | None:
        return _number(flag, said[flag]) if flag in said else None

    def number(flag: str, default: int) -> int:
        return optional(flag) or default

    dtype = str(said.get("--dtype") or "auto")
    return Serving(
        plan.engine_name, number("--max-model-len", plan.context_length),
        number("--max-num-seqs", plan.max_concurrency), str(said.get("--kv-cache-dtype") or "auto"),
        dtype={"auto": "bfloat16", "half": "float16", "float": "float32"}.get(dtype, dtype),
        gpu_memory=None if cpu else _share("--gpu-memory-utilization", said),
        kv_cache_bytes=optional("--kv-cache-memory-bytes"), block_size=number("--block-size", _block(plan)),
        batched_tokens=optional("--max-num-batched-tokens"), tensor_parallel=number("--tensor-parallel-size", 1),
        pipeline_parallel=number("--pipeline-parallel-size", 1), data_parallel=number("--data-parallel-size", 1),
        prefix_caching="--no-enable-prefix-caching" not in said, eager="--enforce-eager" in said, on_cpu=cpu,
        task=plan.task)


def _flags(words: Iterable[str]) -> dict[str, str | None]:
    """The last value of each flag; None of one that stands alone."""
    found: dict[str, str | None] = {}
    last = ""
    for word in words:
        if is_flag(word):
            name, equals, value = word.partition("=")
            last = _SHORT.get(name, name.replace("_", "-"))
            found[last] = value if equals else None
        elif last:
            found[last] = word if found[last] is None else found[last]
    return found


def _number(flag: str, text: str | None) -> int:
    """A whole number as vLLM reads it: `2048`, `8k`, `1.5G`."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgtKMGT]?)", text or "")
    whole = 0 if parts is None or ("." in parts[1] and not parts[2]) else \
        int(float(parts[1]) * _MULTIPLES.get(parts[2], 1))
    if whole < 1:
        raise Failure("bad-flag-value", f"`{flag}` does not take `{text or ''}`",
                      "write a whole number, such as `4096`")
    return whole


def _share(flag: str, said: Mapping[str, str | None]) -> float | None:
    if flag not in said:
        return None
    try:
        share = float(said[flag] or "")
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise Failure("bad-flag-value", f"`{flag}` does not take `{said[flag] or ''}`", "write a share such as `0.9`")
    return share


def _block(plan: Plan) -> int:
    latent = "deepseek" in plan.shape.architecture or "kimi" in plan.shape.architecture
    if on_cpu(plan):
        return _BLOCK if latent else _BLOCK_CPU
    return _BLOCK_MLA if latent else _BLOCK
