"""What vLLM's last words mean for the person who started it."""

from __future__ import annotations

import re
from collections.abc import Iterable


def explain_exit(tail: Iterable[str]) -> tuple[str, str] | None:
    """What happened, and what to do, from vLLM's last lines; None for words that nobody has seen yet."""
    text = "\n".join(tail)
    for pattern, message, hint in _LAST_WORDS:
        if (found := re.search(pattern, text, re.DOTALL)) is not None:
            return found.expand(message), found.expand(hint)
    return None


_SMALLER = "write a smaller `PARAMETER num_ctx` or `SERVE max_concurrency`"
_AGAIN = "delete the folder from modelkit's cache and run `modelkit up` again"

# The first that fits speaks, so the cause stands above what it brings about. Texts of vLLM 0.32 and torch 2.13.
_LAST_WORDS: tuple[tuple[str, str, str], ...] = (
    (r"max seq len \((\d+)\), \(([\d.]+) GiB KV cache is needed.*?memory \(([\d.]+) GiB\)",
     r"one conversation of \1 tokens needs \2 GiB of attention cache, and there are \3 GiB",
     "write a smaller `PARAMETER num_ctx`"),
    (r"No available memory for the cache blocks", "the weights leave nothing for the attention cache",
     "take a smaller model, or a machine with more memory"),
    (r"\(([\d.]+)/[\d.]+ GiB\) on kv cache allocation is less than requested memory for kv \(([\d.]+)",
     r"the attention cache asks for \2 GiB, and \1 GiB of memory are free", _SMALLER),
    (r"\(([\d.]+)/([\d.]+) GiB\) on startup is less than desired (?:GPU|CPU) memory utilization \(([\d.]+)",
     r"\1 of \2 GiB are free, and the share of \3 is asked for",
     "end what else uses this memory, or write a smaller `SERVE gpu_memory`"),
    (r"CUDA out of memory|torch\.OutOfMemoryError", "the GPU's memory is full", _SMALLER),
    (r"DefaultCPUAllocator: |Cannot allocate memory|\bMemoryError\b|std::bad_alloc", "the machine's memory is full",
     f"{_SMALLER}, or take a smaller model"),
    (r"Model architectures \[([^\]]*)\] are not supported", r"this version of vLLM cannot run \1",
     "a newer one may; `ENGINE llama.cpp` may too"),
    (r"max_model_len \((\d+)\) is greater than the derived max_model_len \(\w+=([\d.]+?)(?:\.0)?[ )]",
     r"`num_ctx` is \1, and the model was trained for \2 tokens", r"write `PARAMETER num_ctx \2` or less"),
    (r"AF_UNIX path too long", "the run directory's path is too long for a Unix socket",
     "set MODELKIT_HOME to a shorter path"),
    (r"InvalidCxxCompiler|No working C\+\+ compiler|Failed to find C compiler",
     "vLLM compiles kernels here, and there is no compiler", "install gcc and g++, or write `FLAG --enforce-eager`"),
    (r"unrecognized arguments: ([^\n]+)", r"this version of vLLM does not know `\1`", "drop the FLAG, or correct it"),
    (r"error: argument (-[\w/, -]+): ([^\n]+)", r"vLLM refuses `\1`: \2", "correct the FLAG"),
    (r"[Ii]nvalid (tool call|reasoning) parser: (\S+)", r"vLLM has no \1 parser \2", "correct the SERVE key"),
    (r"Tensor parallel size \((\d+)\) cannot be larger than the number of available GPUs \((\d+)\)",
     r"`SERVE tensor_parallel \1` asks for more than the \2 GPUs that are here", r"write \2 or less"),
    (r"attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)",
     r"the model's \1 attention heads cannot be shared by \2 GPUs", "write another `SERVE tensor_parallel`"),
    (r"Failed to infer device type|No CUDA GPUs are available|NVIDIA driver on your system is too old|libcuda\.so",
     "this vLLM finds no GPU that it can use", "run `modelkit engine install vllm --variant cpu`"),
    (r"Cannot find any model weights with",
     "the folder has no safetensors, and pickled weights are not loaded", _AGAIN),
    (r"While loading ([^\n]+?), expected target modules in .*? but received (\[[^\]]*\])",
     r"the adapter \1 changes modules that vLLM can't change: \2", "merge it into its base and name that in FROM"),
    (r"LoRA rank (\d+) is greater than max_lora_rank (\d+)", r"an adapter has rank \1, and `--max-lora-rank` is \2",
     "drop that FLAG: modelkit says the rank itself"),
    (r"SafetensorError|Error while deserializing header|incomplete metadata, file not fully covered",
     "the weights' files are damaged", _AGAIN),
    (r"No space left on device", "the disk is full",
     "vLLM writes below modelkit's cache, and to TMPDIR: make room there"),
    (r"jinja2\.exceptions\.\w+: ([^\n]+)", r"the chat template does not work: \1", "correct TEMPLATE"),
    (r"MODELKIT_PROFILE must|is not a profile: ", "the contract's profile cannot be read",
     "this is a defect of modelkit: please report it"),
    (r"ModuleNotFoundError: No module named '([^']+)'", r"the engine's environment lacks `\1`",
     "run `modelkit engine install vllm --reinstall`"),
)
