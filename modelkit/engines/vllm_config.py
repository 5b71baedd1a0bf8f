"""`vllm.yaml`: words as the file that vLLM's `--config` reads.

How vLLM 0.29 to 0.33 reads it (`utils/argparse_utils.py`) leaves few spellings that are safe, and these are the ones
that are written: a bare flag is `key: true` and never `false` (which `vllm serve` drops), its negation is the key
`no-…`; a list only where the flag takes several words; JSON as one string; no null (it becomes the word "None"); one
`middleware` at most (the second item of a list would be read as the model). The file is named after a blank:
`--config=FILE` is not read at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from modelkit.engines.word import Word

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def config_text(words: Iterable[Word]) -> str:
    """The words' file, a line each. Raises ValueError for words that it has no safe spelling for."""
    lines: dict[str, str] = {}
    for word in words:
        if not word.flag.startswith("--") or word.flag[2:] in lines:
            raise ValueError(f"`{word.flag}` cannot stand in vLLM's configuration, or stands there twice")
        lines[word.flag[2:]] = _value(word.value)
    return "".join(f"{key}: {value}\n" for key, value in lines.items())


def _value(value: str | tuple[str, ...] | None) -> str:
    if value is None:
        return "true"
    return f"[{', '.join(map(_quoted, value))}]" if isinstance(value, tuple) else _scalar(value)


def _scalar(text: str) -> str:
    return text if _NUMBER.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    """A YAML string that is read back as it is, whatever is in it."""
    if '"' in text and not _UNPRINTABLE.search(text):
        return "'" + text.replace("'", "''") + "'"
    return _UNPRINTABLE.sub(lambda found: f"\\U{ord(found[0]):08x}", json.dumps(text, ensure_ascii=False))
