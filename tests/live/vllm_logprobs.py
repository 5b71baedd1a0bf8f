"""Run by vLLM's own Python: what it makes of folders, as the log-probabilities of its five best tokens.

Reads `[[folder, ids, positions], …]` from its input, writes a line `LOGPROBS [{token: value}, …]` for each.
"""

from __future__ import annotations

import gc
import json
import os
import sys


def main() -> None:
    from vllm import LLM, SamplingParams

    best = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=5, logprobs=5, detokenize=False)
    for folder, ids, positions in json.load(sys.stdin):
        model = LLM(folder, dtype="float32", enforce_eager=True, max_model_len=48, max_num_seqs=2)
        (answer,) = model.generate([{"prompt_token_ids": ids}], best)
        following = [*answer.prompt_logprobs[1:], answer.outputs[0].logprobs[0]]
        print("LOGPROBS", json.dumps([{str(token): one.logprob for token, one in following[at].items()}
                                      for at in positions]), flush=True)
        del model
        gc.collect()


if __name__ == "__main__":
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    main()
