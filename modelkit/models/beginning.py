"""Whether a model's tokenizer begins every text with its beginning-of-sequence token, as its files say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.models.convert.vocabulary import Vocabulary
    from modelkit.models.formats.access import Access

BEGINS = "{{ bos_token }}"
"""What a chat template begins with that leaves nothing to whoever renders it."""

_HEAD = 4 << 20
"""Bytes of `tokenizer.json` that are looked at: its processors stand before its vocabulary."""

_FIRST = re.compile(r'"single"\s*:\s*\[\s*\{\s*"SpecialToken"\s*:\s*\{\s*"id"\s*:\s*("(?:[^"\\]|\\.)*")')


def of_vocabulary(vocabulary: Vocabulary) -> bool | None:
    """Of a GGUF; None for a tokenizer that modelkit does not know."""
    from modelkit.models.convert.tokenizer import adds_bos

    try:
        return adds_bos(vocabulary)
    except Failure:
        return None


def left_to_llama_cpp(vocabulary: Vocabulary, template: str | None) -> bool:
    """Whether prompts of this chat template begin as the tokenizer wants it only where llama.cpp's server adds BOS."""
    bos = vocabulary.named("bos")
    if template is None or bos is None or not of_vocabulary(vocabulary):
        return False
    return "bos_token" not in template and vocabulary.tokens[bos] not in template


def of_folder(said: Mapping[str, Any], bos: str | None, tokenizer: Access | None) -> bool | None:
    """Of a Hugging Face folder: what `tokenizer_config.json` says, else how `tokenizer.json` processes a text."""
    if isinstance(told := said.get("add_bos_token"), bool):
        return told
    if bos is None or tokenizer is None:
        return False if bos is None else None
    head = tokenizer.read_at(0, min(tokenizer.size, _HEAD)).decode("utf-8", "replace")
    start = head.find('"post_processor"')
    if start < 0:
        return None
    first = _FIRST.search(head, start, end if (end := head.find('"decoder"', start)) > 0 else len(head))
    try:
        return first is not None and json.loads(first[1]) == bos
    except ValueError:
        return None
