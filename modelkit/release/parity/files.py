"""A stage's side without an engine: its template rendered, and its own tokenizer, read from the files alone.

For llama.cpp the tokenizer is llama.cpp's own where the engine is installed (only the vocabulary is loaded), else the
one that we make of a GGUF, which gives the same ids. For vLLM it is `tokenizer.json`, as it will lie in its folder.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure
from modelkit.release.parity.conversations import Conversation
from modelkit.release.parity.rendering import Rendering

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from modelkit.models.weights import Weights

_CHILD = Path(__file__).parent / "children" / "vocabulary_child.py"
_SECONDS = 300.0

Side = Callable[[Conversation], Rendering]
Tokenized = tuple[Sequence[int], Sequence[str]]  # ids and pieces


@dataclass(frozen=True)
class Files:
    """What a stage's prompts are made of. `python` is one that has llama-cpp-python, for `weights` of the form `gguf`.

    `tokens` are the texts of `bos_token` and `eos_token`.
    """

    template: str
    tokens: Mapping[str, str]
    profile: dict[str, Any]
    weights: Weights
    python: str | None = None


def files_side(files: Files, conversations: Sequence[Conversation]) -> Side:
    """What the files make of these conversations, rendered and tokenized at once. Raises Failure."""
    prompts = _prompts(files, conversations)
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    tokenize, spell = _tokenizer(files)
    tokens = dict(zip(texts, tokenize(texts), strict=True))
    made: dict[int, Rendering] = {}
    for said, prompt in zip(conversations, prompts, strict=True):
        if isinstance(prompt, str):
            ids, pieces = tokens[prompt]
            made[id(said)] = Rendering(tuple(ids), spell, tuple(pieces), prompt)
        else:
            made[id(said)] = replace(prompt, text=spell)
    return lambda said: made[id(said)]


def _prompts(files: Files, conversations: Sequence[Conversation]) -> list[str | Rendering]:
    """The text of each, or a rendering that says why there is none."""
    from modelkit.contract.errors import ContractError
    from modelkit.contract.profile import Profile
    from modelkit.contract.request import tokenize
    from modelkit.templates.rendering import Limits, Refused, render_all

    profile = replace(Profile.from_json(files.profile), dialect="llamacpp")
    found: list[str | Rendering | None] = []
    requests = []
    for said in conversations:
        try:
            requests.append(tokenize(said.request(), profile))
            found.append(None)
        except ContractError as error:
            found.append(Rendering((), refused=error.message))
    limits = Limits(cpu_seconds=30, wall_seconds=120.0)
    rendered = iter(render_all(files.template, requests, files.tokens, limits))
    for at, one in enumerate(found):
        if one is None:
            prompt = next(rendered)
            found[at] = Rendering((), refused=prompt.reason) if isinstance(prompt, Refused) else prompt
    return [one for one in found if one is not None]


def _tokenizer(files: Files) -> tuple[Callable[[Sequence[str]], list[Tokenized]], Callable[[Sequence[int]], str]]:
    from modelkit.models.tokens import tokenizer

    known: list[Tokenizer] = []

    def library() -> Tokenizer:
        if not known:
            known.append(tokenizer(files.weights))
        return known[0]

    def spell(ids: Sequence[int]) -> str:
        return str(library().decode(list(ids), skip_special_tokens=False))

    def by_library(texts: Sequence[str]) -> list[Tokenized]:
        return [(one.ids, one.tokens) for one in library().encode_batch(list(texts), add_special_tokens=False)]

    if files.python is None or files.weights.form != "gguf":
        return by_library, spell
    python = files.python
    return lambda texts: _by_llama_cpp(python, files.weights.path, texts), spell


def _by_llama_cpp(python: str, path: str, texts: Sequence[str]) -> list[Tokenized]:
    """The ids of llama.cpp itself. Raises Failure where it can't read the file."""
    asked = json.dumps({"path": path, "texts": list(texts)}).encode()
    try:
        done = subprocess.run([python, "-I", str(_CHILD)], input=asked, capture_output=True, timeout=_SECONDS,
                              check=False, env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"})
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        raise Failure("tokenizer-unreadable", f"llama.cpp could not read the vocabulary of {path}",
                      "`modelkit doctor` tries the engine") from None
    if "failed" in answer:
        raise Failure("tokenizer-unreadable", f"llama.cpp can't read the vocabulary of {path}: {answer['failed']}")
    pieces = answer["pieces"]
    return [(ids, [pieces[str(one)] for one in ids]) for ids in answer["ids"]]
