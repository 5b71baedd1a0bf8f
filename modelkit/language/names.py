"""Names of models, stages and variables: which there may be, and the one that a file has by itself."""

from __future__ import annotations

import re
from pathlib import Path

from modelkit.language.kinds import Word

MODEL_NAME = Word("letters, digits and `. _ -`, with `/` or `:` between parts",
                  r"(?=.{1,200}$)[A-Za-z0-9][A-Za-z0-9._-]*(?:[/:][A-Za-z0-9][A-Za-z0-9._-]*)*")
STAGE_NAME = Word("letters, digits, `_` and `-`, and starts with a letter", r"[A-Za-z][A-Za-z0-9_-]{0,62}")
VARIABLE = Word("letters, digits and `_`, and starts with no digit", r"[A-Za-z_][A-Za-z0-9_]*")


def default_name(path: str) -> str:
    """The model name of a file that says none: `assistant` for `assistant.Modelfile`, its folder's for `Modelfile`.

    >>> default_name("models/assistant.Modelfile"), default_name("/srv/support bot/Modelfile.prod")
    ('assistant', 'support-bot')
    """
    file = Path(path)
    stem = re.fullmatch(r"(.+)\.modelfile", file.name, re.IGNORECASE)
    if stem is not None:
        return _as_name(stem[1])
    if re.match(r"modelfile(\.|$)", file.name, re.IGNORECASE):
        return _as_name(file.absolute().parent.name)
    return _as_name(file.stem)


def nearest_name(text: str, kind: Word) -> str | None:
    """The name of that kind that looks most like `text`; None if nothing is left of it."""
    hyphen = "-" if kind is not VARIABLE else "_"
    plain = re.sub(r"[^A-Za-z0-9_]+" if kind is VARIABLE else r"[^A-Za-z0-9._/:-]+", hyphen, text).strip("-._/:")
    return plain if re.fullmatch(kind.pattern, plain) else None


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:100] or "model"
