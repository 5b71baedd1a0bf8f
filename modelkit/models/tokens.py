"""A prompt's tokens, by the tokenizer of a model that is on this machine. No weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.failure import Failure

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from modelkit.models.weights import Weights


@dataclass(frozen=True)
class Token:
    """`text` is what it stands for in the prompt; a character of several tokens is shown with each of them."""

    id: int
    text: str


def tokenized(prompt: str, weights: Weights) -> tuple[Token, ...]:
    """The tokens that engines read: special tokens by their names, nothing added to what the prompt says.

    Raises Failure for a tokenizer that can't be read.
    """
    encoding = tokenizer(weights).encode(prompt, add_special_tokens=False)
    return tuple(Token(number, prompt[start:end] or token) for number, token, (start, end)
                 in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True))


def tokenizer(weights: Weights) -> Tokenizer:
    from tokenizers import Tokenizer

    if weights.form == "safetensors":
        file = Path(weights.path) / "tokenizer.json"
        if not file.is_file():
            raise Failure("tokenizer-missing", f"{weights.path} has no tokenizer.json")
        try:
            return Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing narrower
            raise Failure("tokenizer-unreadable", f"{file} can't be read: {error}") from None
    from modelkit.models.convert.tokenizer import tokenizer_json
    from modelkit.models.convert.vocabulary import read_vocabulary
    from modelkit.models.formats.splits import read_split

    return Tokenizer.from_str(tokenizer_json(read_vocabulary(read_split(Path(weights.path)).first)))
