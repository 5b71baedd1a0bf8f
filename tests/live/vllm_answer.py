"""Run by path in vLLM's Python: load the folder that is named and say what it answers."""

from __future__ import annotations

import os
import sys

os.environ.update(VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1", HF_HUB_OFFLINE="1",
                  VLLM_ENABLE_V1_MULTIPROCESSING="0")


def main() -> None:
    from vllm import LLM, SamplingParams

    model = LLM(sys.argv[1], max_model_len=256, max_num_seqs=2, enforce_eager=True, dtype="bfloat16")
    question = [{"role": "user", "content": "What is the capital of France?"}]
    answer = model.chat(question, SamplingParams(temperature=0, max_tokens=24))
    print("ANSWER", answer[0].outputs[0].text)


if __name__ == "__main__":
    main()
