"""What the last words of SGLang and TensorRT-LLM mean. Texts of their sources: nobody here has seen them end."""

from __future__ import annotations

import re
from collections.abc import Iterable

Words = tuple[tuple[str, str, str], ...]

_SMALLER = "write a smaller `PARAMETER num_ctx` or `SERVE max_concurrency`, or take a GPU with more memory"

_BOTH: Words = (
    (r"CUDA out of memory|torch\.OutOfMemoryError", "the GPU's memory is full", _SMALLER),
    (r"modelkit: ([^\n]+)", r"\1", "take the version of the engine that this release of modelkit was made for"),
    (r"MODELKIT_PROFILE must|is not a profile: |MODELKIT_API_KEY must ([^\n]+)",
     "the contract's profile or the key cannot be read", "correct the secret, or report a defect of modelkit"),
    (r"No CUDA GPUs are available|NVIDIA driver on your system is too old|libcuda\.so|No GPU devices found on the node",
     "the container finds no GPU that it can use", "give it one: the platform's notes say how"),
    (r"GatedRepoError|401 Client Error|Repository Not Found", "the Hub does not give this model to this container",
     "put a token that may read it into the secret `hf-token`"),
    (r"No space left on device", "the container's disk is full", "give its cache more room"),
    (r"SafetensorError|Error while deserializing header|incomplete metadata, file not fully covered",
     "the weights' files are damaged", "fetch or push the model again"),
)

# srt/model_executor/pool_configurator.py, srt/configs/model_config.py, srt/models/registry.py, argparse
SGLANG: Words = (
    (r"Not enough memory\. Please try to increase --mem-fraction-static(?:.*mem_fraction_static=([\d.]+))?",
     "the weights leave nothing for the attention cache", "write a larger `SERVE gpu_memory`, or take a larger GPU"),
    (r"context_length \((\d+)\) is greater than the derived context_length \((\d+)\)",
     r"`num_ctx` is \1, and the model was trained for \2 tokens", r"write `PARAMETER num_ctx \2` or less"),
    (r"Model architectures (\[[^\]]*\]) are not supported for now", r"this version of SGLang cannot run \1",
     "a newer one may; `ENGINE vllm` may too"),
    (r"unrecognized arguments: ([^\n]+)", r"this version of SGLang does not know `\1`", "drop the FLAG, or correct it"),
    (r"error: argument (-[\w/, -]+): ([^\n]+)", r"SGLang refuses `\1`: \2", "correct the FLAG"),
    *_BOTH,
)

# commands/serve.py (click), llmapi/llm_args.py (pydantic), _torch/model_config.py, _torch/models/modeling_utils.py
TENSORRT_LLM: Words = (
    (r"No such option: (\S+)", r"this version of TensorRT-LLM does not know `\1`", "drop the FLAG, or correct it"),
    (r"Invalid value for '?([^':]+)'?: ([^\n]+)", r"trtllm-serve refuses `\1`: \2", "correct the FLAG"),
    (r"\n([\w.]+)\n +Extra inputs are not permitted", r"this version of TensorRT-LLM does not know `\1`",
     "take the version that this release of modelkit was made for"),
    (r"Unsupported (quant_bits|weights_quant_strategy|inputs_quant_strategy)",
     "this version of TensorRT-LLM cannot read the base's precision", "take `QUANTIZE fp8`, or a base of NVIDIA's own"),
    (r"Unknown architecture for AutoModelForCausalLM: (\w+)", r"this version of TensorRT-LLM cannot run \1",
     "a newer one may; `ENGINE vllm` may too"),
    (r"Failed to bind socket to ([^:\n]+:\d+)", r"\1 is taken", "end what else listens there"),
    *_BOTH,
)


def explain(known: Words, tail: Iterable[str]) -> tuple[str, str] | None:
    """What happened, and what to do; None for words that nobody has read yet. The first that fits speaks."""
    text = "\n".join(tail)
    for pattern, message, hint in known:
        if (found := re.search(pattern, text, re.DOTALL)) is not None:
            return found.expand(message), found.expand(hint)
    return None
