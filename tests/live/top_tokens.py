"""Run by path in a child: the most likely next token after each token of some texts, as llama.cpp computes it."""

from __future__ import annotations

import json
import sys

from llama_cpp import Llama


def main() -> None:
    asked = json.load(sys.stdin)
    model = Llama(asked["model"], lora_path=asked.get("adapter"), n_ctx=512, logits_all=True, verbose=False,
                  n_threads=1, n_threads_batch=1)
    found = []
    for text in asked["texts"]:
        ids = model.tokenize(text.encode(), add_bos=False)
        model.reset()
        model.eval(ids)
        found.append(model.scores[:len(ids)].argmax(axis=1).tolist())
    json.dump(found, sys.stdout)


main()
