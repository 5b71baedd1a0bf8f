"""Run by vLLM's own Python: how large an attention cache it makes for models that have a config and no weights.

Reads `[[folder, max_model_len, bytes], …]` from its input, writes a line `POOL [blocks, tokens, concurrency]` for each.
"""

from __future__ import annotations

import gc
import json
import os
import sys


def main() -> None:
    from vllm import LLM

    for folder, context, room in json.load(sys.stdin):
        model = LLM(folder, load_format="dummy", skip_tokenizer_init=True, dtype="bfloat16", enforce_eager=True,
                    max_model_len=context, max_num_seqs=4, max_num_batched_tokens=2048, kv_cache_memory_bytes=room)
        cache = model.llm_engine.vllm_config.cache_config
        print("POOL", json.dumps([cache.num_gpu_blocks, cache.kv_cache_size_tokens, cache.kv_cache_max_concurrency]),
              flush=True)
        del model
        gc.collect()


if __name__ == "__main__":
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "TORCH_COMPILE_DISABLE": "1", "VLLM_NO_USAGE_STATS": "1",
                   "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    main()
