"""Settings that vLLM never has, whatever it runs on, and why.

Apart from its table of settings, so that `check` can read it alone.
"""

from __future__ import annotations

from collections.abc import Mapping

LOST: Mapping[str, str] = {
    "typical_p": "vLLM has no typical sampling",
    "num_keep": "vLLM never shifts the context: a conversation that is too long is an error",
    "num_batch": "here it would bound the tokens of all conversations together: `FLAG --max-num-batched-tokens N` does",
    "num_gpu": "vLLM places whole models, not layers",
    "main_gpu": "the GPU is chosen by CUDA_VISIBLE_DEVICES, outside the engine",
    "use_mmap": "vLLM reads safetensors its own way",
    "projector": "a projector is llama.cpp's own form: images are refused here",
    "serve.keep_alive": "an engine stays until `modelkit down`",
}

NEUTRAL: Mapping[str, object] = {"typical_p": 1.0, "num_gpu": -1}
"""Values that ask for nothing, so that nothing is lost of them."""
