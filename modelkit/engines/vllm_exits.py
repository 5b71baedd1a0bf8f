"""What vLLM's last words mean for the person who started it."""

from __future__ import annotations

import re
from collections.abc import Iterable


def explain_exit(tail: Iterable[str]) -> str | None:
    """One sentence of advice on vLLM's last lines; None when they say nothing that is known."""
    text = "\n".join(tail)
    for pattern, advice in _KNOWN:
        if (found := re.search(pattern, text, re.S)) is not None:
            return found.expand(advice)
    return None


_LOWER = "write a smaller `PARAMETER num_ctx` or `SERVE max_concurrency`"

_KNOWN: tuple[tuple[str, str], ...] = (
    (r"max seq len \((\d+)\), \(([\d.]+) GiB KV cache is needed.*?memory \(([\d.]+) GiB\)",
     r"one conversation of \1 tokens needs \2 GiB of attention cache, and there are \3 GiB: write a smaller "
     r"`PARAMETER num_ctx`"),
    (r"No available memory for the cache blocks",
     "nothing is left for the attention cache after the weights: a smaller model, or more memory, is needed"),
    (r"Available memory on node \d+ \(([\d.]+)/[\d.]+ GiB\) on kv cache allocation is less than requested memory for "
     r"kv \(([\d.]+)",
     rf"the attention cache asks for \2 GiB and \1 GiB of memory are free: {_LOWER}"),
    (r"Free memory on device.*?\(([\d.]+)/([\d.]+) GiB\) on startup is less than desired GPU memory utilization "
     r"\(([\d.]+)",
     r"\1 GiB of the GPU's \2 are free, and the share of \3 is asked for: free the GPU, or write a smaller "
     r"`SERVE gpu_memory`"),
    (r"(CUDA out of memory|torch\.OutOfMemoryError|OutOfMemoryError: CUDA)",
     f"the GPU's memory is full: {_LOWER}, or `QUANTIZE fp8`"),
    (r"(DefaultCPUAllocator: (can't|not enough memory)|Cannot allocate memory|\bMemoryError\b|std::bad_alloc)",
     f"the machine's memory is full: {_LOWER}, or use a smaller model"),
    (r"Model architectures \[([^\]]*)\] are not supported",
     r"this version of vLLM cannot run \1: use a newer one, or `ENGINE llama.cpp`"),
    (r"max_model_len \((\d+)\) is greater than the derived max_model_len \(\w+=([\d.]+)",
     r"the model was trained for \2 tokens: write `PARAMETER num_ctx \2` or less"),
    (r"AF_UNIX path too long",
     "the path of the run directory is too long for a Unix socket: set MODELKIT_HOME to a shorter one"),
    (r"(InvalidCxxCompiler|No working C\+\+ compiler|Failed to find C compiler)",
     "vLLM compiles kernels on this path and finds no compiler: install gcc and g++, or write `FLAG --enforce-eager`"),
    (r"unrecognized arguments: ([^\n]+)", r"this version of vLLM does not know `\1`: drop the FLAG, or correct it"),
    (r"argument (-[\w/, -]+): (invalid [^\n]+)", r"vLLM refused `\1`: \2"),
    (r"invalid (tool call|reasoning) parser: (\S+)", r"vLLM has no \1 parser `\2`"),
    (r"ModuleNotFoundError: No module named '([^']+)'",
     r"the engine's environment lacks `\1`: run `modelkit engine install vllm --reinstall`"),
    (r"(Failed to infer device type|No CUDA GPUs are available|NVIDIA driver on your system is too old|libcuda\.so)",
     "this vLLM finds no GPU that it can use: run `modelkit engine install vllm --variant cpu`"),
    (r"Tensor parallel size \((\d+)\) cannot be larger than the number of available GPUs \((\d+)\)",
     r"`SERVE tensor_parallel \1` asks for more than the \2 GPUs that are here"),
    (r"Total number of attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)",
     r"the model's \1 attention heads cannot be shared by \2 GPUs: write another `SERVE tensor_parallel`"),
    (r"Cannot find any model weights with",
     "the folder has no safetensors; pickled weights are not loaded: run `modelkit up` again to make the folder anew"),
    (r"(SafetensorError|Error while deserializing header|incomplete metadata, file not fully covered)",
     "the weights' files are damaged: delete the folder from modelkit's cache and run `modelkit up` again"),
    (r"No space left on device",
     "the disk is full: vLLM keeps what it compiled below modelkit's cache, and files in TMPDIR"),
    (r"(TemplateSyntaxError|jinja2\.exceptions\.\w+): ([^\n]+)", r"the chat template does not work: \2"),
    (r"MODELKIT_PROFILE must|is not a profile: ",
     "the contract's profile cannot be read, which is a defect of modelkit"),
)
