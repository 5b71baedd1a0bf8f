"""Runs in a Python that has llama-cpp-python: prompts with images, by our engine and by mtmd's own helper.

    python seen.py BATCH MODEL.gguf PROJECTOR.gguf IMAGE.png …

Our engine computes `BATCH` tokens in a step, mtmd as many as there are.

Out comes as JSON, for each prompt, by how much the likeliest first tokens' log-probabilities differ, and what of the
prompt was cached.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import mtmd_cpp

from modelkit.llamacpp import engine
from modelkit.llamacpp.config import Config
from modelkit.llamacpp.context import Context
from modelkit.llamacpp.images import Projector
from modelkit.llamacpp.jobs import Image, Job, Sampling
from modelkit.llamacpp.library import Model, low

CONTEXT, TOP = 512, 10
WORDS = "the small bird sat on the high wall and sang. " * 3


def image(path: Path) -> Image:
    data = path.read_bytes()
    return Image(data, hashlib.sha256(data).hexdigest())


def prompts(images: list[Image]) -> list[list[str | Image]]:
    """Later ones share beginnings with those before."""
    one, two, three = images
    return [["What is ", one, " this? "], ["What is ", one, " this? "], ["What is ", one, " that, and ", two, "? "],
            ["What is ", one, " that, and ", three, "? " + WORDS], [one, three, WORDS, two, "so "],
            [one, three, WORDS, two, one, "no "], [WORDS]]


def reference(projector: Projector, model: Model, parts: list[str | Image]) -> np.ndarray:
    """Log-probabilities behind a prompt, as mtmd evaluates it from the text with its marker, in a fresh context."""
    context = Context(model, tokens=CONTEXT, sequences=1, batch=CONTEXT, physical_batch=CONTEXT, threads=1)
    marker = mtmd_cpp.mtmd_default_marker()
    raw = b"".join(part.encode() if isinstance(part, str) else marker for part in parts)
    pictures = [projector._bitmap(part) for part in parts if isinstance(part, Image)]
    chunks = mtmd_cpp.mtmd_input_chunks_init()
    text = mtmd_cpp.mtmd_input_text(raw, len(raw), False, True)
    assert mtmd_cpp.mtmd_tokenize(projector.handle, chunks, ctypes.byref(text),
                                  (ctypes.c_void_p * len(pictures))(*pictures), len(pictures)) == 0
    end = low.llama_pos()
    assert mtmd_cpp.mtmd_helper_eval_chunks(projector.handle, context.handle, chunks, 0, 0, CONTEXT, True,
                                            ctypes.byref(end)) == 0
    logits = np.ctypeslib.as_array(low.llama_get_logits_ith(context.handle, -1), (model.vocab_size,)).astype(float)
    context.close()
    return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())


async def drawn(one: engine.LlamaEngine, parts: list[str | Image]) -> tuple[dict[int, float], int, int]:
    assert one.projector is not None
    prompt, spans = one.projector.read(parts)
    answer = one.submit(Job(prompt, Sampling(temperature=0, ignore_eos=True), 3, logprobs=TOP, images=spans))
    tokens = [token async for delta in answer for token in delta.tokens]
    return {other.id: other.logprob for other in tokens[0].top}, answer.cached_tokens, len(prompt)


async def main(batch: str, model: str, projector: str, *images: str) -> list[dict[str, Any]]:
    given = prompts([image(Path(path)) for path in images])
    weights = Model(Path(model))
    eyes = Projector(Path(projector), weights, threads=1)
    wanted = [reference(eyes, weights, parts) for parts in given]
    eyes.close()
    weights.close()
    config = Config(model=model, socket="", profile="", fingerprint="", context_length=CONTEXT, max_concurrency=2,
                    projector=projector, threads=1, batch_tokens=int(batch))
    one = engine.start(config)
    found = [await drawn(one, parts) for parts in given]
    one.close()
    return [{"apart": max(abs(wants[token] - logprob) for token, logprob in top.items()), "cached": cached,
             "prompt": length} for wants, (top, cached, length) in zip(wanted, found, strict=True)]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
