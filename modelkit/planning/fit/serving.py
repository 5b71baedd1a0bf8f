"""How a stage would be served, as far as memory and speed go: one question, the same for every engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Serving:
    """Made of a plan by its engine (`modelkit.engines.fitting.serving`), and varied by the choice.

    `kv_type` is ggml's word on llama.cpp (`f16`, `q8_0`), vLLM's on vLLM (`auto`, `fp8`).
    """

    engine: str  # the language's word
    context_length: int  # tokens of one conversation
    concurrency: int  # conversations at once
    kv_type: str
    # llama.cpp
    kv_tokens: int = 0  # cells of the attention cache in all
    batch: int = 512  # physical batch (n_ubatch)
    sequences: int = 1  # n_seq_max
    unified: bool = True  # all sequences share the cells; else each has its own part of them
    full_windows: bool = False  # layers that see a window keep everything, so that prefixes can be shared
    outputs: int = 1  # rows of logits that a step can leave (n_outputs_max)
    provider: str = ""  # whose process it is: `llama-cpp-python` (our own engine), `llama-server`, `xllamacpp`
    draft: tuple[int, int] = (0, 0)  # of a model that guesses ahead: cells of its cache, sequences
    flash_attention: bool | None = None  # None: the engine decides
    gpu_layers: int = -1  # -1: all
    mmap: bool = True
    # vLLM
    dtype: str = "bfloat16"
    gpu_memory: float | None = None  # share of each GPU that it takes; None: its own default
    kv_cache_bytes: int | None = None  # said outright, as on CPUs
    block_size: int = 16
    batched_tokens: int | None = None  # max_num_batched_tokens; None: its own default
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    prefix_caching: bool = True
    eager: bool = False  # no CUDA graphs
    on_cpu: bool = False  # a build for CPUs, whatever GPUs there are
    threads: int = 0  # of a processor; 0: as many as it has cores
    task: str = "chat"
