"""Tokenizes texts with llama.cpp itself: `python -I vocabulary_child.py`, run by `parity.files` and never imported.

A GGUF's `path` and `texts` as JSON on stdin; one JSON object on stdout: `ids`, a list for each text, and `pieces`, the
writing of each id that occurs. Only the vocabulary is loaded. The Python is the engine's own, so modelkit's folder
comes after its packages.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    sys.path.append(str(Path(__file__).parents[4]))
    asked = json.load(sys.stdin)
    from modelkit.llamacpp.computing import LlamaError
    from modelkit.llamacpp.library import Model

    try:
        model = Model(Path(asked["path"]), vocabulary_only=True)
        ids = [model.tokenize(text, False, True) for text in asked["texts"]]
        pieces = {one: model.written(one) for one in sorted({one for each in ids for one in each})}
        answer = {"ids": ids, "pieces": pieces}
    except LlamaError as error:
        answer = {"failed": str(error)}
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    os._exit(0)


main()
