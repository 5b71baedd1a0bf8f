"""llama.cpp's logits by llama-cpp-python: run by the quantizer's Python, asked on stdin, one line an answer."""

import base64
import json
import sys

from llama_cpp import Llama

# Without these the binding has YaRN numbers of its own, whatever the file says.
FROM_THE_FILE = {f"yarn_{name}": -1.0 for name in ("attn_factor", "beta_fast", "beta_slow")}

for path, ids, positions in json.load(sys.stdin):
    model = Llama(path, logits_all=True, verbose=False, n_ctx=64, n_batch=64, type_k=0, type_v=0,  # a float32 cache
                  **FROM_THE_FILE)
    model.eval(ids)
    print("LOGITS", base64.b64encode(model.scores[positions].astype("<f4").tobytes()).decode(), flush=True)
