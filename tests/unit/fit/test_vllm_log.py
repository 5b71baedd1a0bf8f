"""vLLM's log, as it was written: 0.32 on processors, and what people published of GPUs."""

from __future__ import annotations

import pytest

from modelkit.planning.fit.vllm_log import VllmLog, read

GiB = 2**30

CPU = """(EngineCore pid=7) INFO 11-24 02:02:05 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: x
(EngineCore pid=7) INFO 11-24 02:02:43 [utils.py:347] Using LBHNC KV cache layout.
(EngineCore pid=7) INFO 11-24 02:02:43 [cpu_worker.py:260] Explicitly set (1.0/18.59) GiB for KV cache on node 0.
(EngineCore pid=7) INFO 11-24 02:02:43 [kv_cache_utils.py:2327] CPU KV cache size: 46,592 tokens, Maximum concurrency \
for 2,048 tokens per request: 22.75x
"""
GPU = """(Worker_TP0 pid=1) INFO [gpu_model_runner.py:4879] Model loading took 12.66 GiB memory and 31.657031 seconds
(Worker_TP1 pid=2) INFO [gpu_model_runner.py:4879] Model loading took 12.68 GiB memory and 31.1 seconds
(Worker_TP0 pid=1) INFO [interface.py:918] Setting attention block size to 1568 tokens to ensure that
(Worker_TP0 pid=1) INFO [gpu_model_runner.py:6806] Estimated CUDA graph memory: 0.36 GiB total
(Worker_TP0 pid=1) INFO [gpu_worker.py:563] Available KV cache memory: 6.87 GiB
(Worker_TP1 pid=2) INFO [gpu_worker.py:563] Available KV cache memory: 6.81 GiB
(EngineCore pid=3) INFO [kv_cache_utils.py:1305] GPU KV cache size: 158,656 tokens
(EngineCore pid=3) INFO [kv_cache_utils.py:1310] Maximum concurrency for 32,768 tokens per request: 4.84x
(Worker_PP1_TP2 pid=4) INFO [gpu_worker.py:742] CUDA graph pool memory: 0.1 GiB (actual), 0.58 GiB (estimated), \
difference: 0.47 GiB (457.5%).
(Worker_PP1_TP3 pid=5) INFO [gpu_worker.py:805] Free memory on device (22.93/23.56 GiB) on startup. Desired GPU memory \
utilization is (0.935, 22.03 GiB). Actual usage is 19.47 GiB for consumed memory (weights + non-torch), 0.6 GiB for \
peak activation, and 0.1 GiB for CUDAGraph memory. Replace gpu_memory_utilization config with \
`--kv-cache-memory=1828800984` (1.7 GiB) to fit into requested memory, or `--kv-cache-memory=2798683648` (2.61 GiB) \
to fully utilize gpu memory. \
Current kv cache memory in use is 1.95 GiB.
"""
OLD = """INFO [worker.py:287] the current vLLM instance can use total_gpu_memory (31.37GiB) x (0.85) = 26.66GiB
INFO [worker.py:287] model weights take 10.80GiB; non_torch_memory takes 0.33GiB; PyTorch activation peak memory takes \
1.01GiB; the rest of the memory reserved for KV Cache is 14.52GiB.
(VllmWorkerProcess pid=1) INFO [worker.py:287] model weights take 10.30GiB; non_torch_memory takes 0.33GiB; PyTorch \
activation peak memory takes 1.77GiB; the rest of the memory reserved for KV Cache is 14.26GiB.
INFO [executor_base.py:117] Maximum concurrency for 50000 tokens per request: 2.34x
"""
REFUSED = """ValueError: To serve at least one request with the model's max seq len (131072), (16.0 GiB KV cache is \
needed, which is larger than the available KV cache memory (5.13 GiB). Based on the available memory, the estimated \
maximum model length is 42016. Try increasing `gpu_memory_utilization`"""
FITTED = "INFO [kv_cache_utils.py:2478] Auto-fit max_model_len: reduced from 131072 to 42016 to fit in available"


def size(gibibytes: float) -> int:
    return round(gibibytes * GiB)


@pytest.mark.parametrize(("text", "expected"), [
    (CPU, VllmLog(kv_tokens=46592, concurrency=22.75, context_length=2048, kv_bytes=GiB)),
    (GPU, VllmLog(kv_tokens=158_656, concurrency=4.84, context_length=32768, kv_bytes=size(6.81), weights=size(12.68),
                  non_torch=size(19.47) - size(12.68), activation=size(0.6), graphs=size(0.1),
                  graphs_estimated=size(0.58), block_size=1568)),
    (OLD, VllmLog(concurrency=2.34, context_length=50000, kv_bytes=size(14.26), weights=size(10.80),
                  non_torch=size(0.33), activation=size(1.77))),
    (REFUSED, VllmLog(needed=16 * GiB, longest=42016)),
    (FITTED, VllmLog(longest=42016)),
    ("", VllmLog()),
    ("Available KV cache memory: GiB, Maximum concurrency for tokens, KV cache size: many tokens", VllmLog()),
], ids=["cpu", "gpu", "old", "refused", "fitted", "nothing", "noise"])
def test_what_it_says(text: str, expected: VllmLog) -> None:
    assert read(text) == expected


def test_the_last_start_counts() -> None:
    again = CPU.replace("46,592", "93,184").replace("22.75", "45.50")
    assert read(CPU + again).kv_tokens == 93_184


def test_a_refusal_without_room_says_less() -> None:
    assert read("max seq len (8192), (1.0 GiB KV cache is needed, which is larger than the available KV cache memory "
                "(-0.5 GiB). Try").needed == GiB
