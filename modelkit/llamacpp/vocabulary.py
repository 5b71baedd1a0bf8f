"""The model's tokens: their bytes, which of them control the conversation, and text to tokens and back.

Reading it is safe from any thread, beside a computation too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelkit.llamacpp.library import Model


class Vocabulary:
    """One model's tokens.

    `pieces[id]` is the token's bytes with control tokens shown (`<|im_end|>`), `visible[id]` the same with nothing
    for control tokens. A piece may end within a character. `bos`, `eos` and `eot` are None where the model has none.
    """

    def __init__(self, model: Model) -> None:
        known = model.tokens()
        self._model = model
        self.pieces = known.pieces
        self.size = len(known.pieces)
        self.visible = tuple(b"" if one in known.hidden else piece for one, piece in enumerate(known.pieces))
        self.control = known.control
        self.ends = known.ends
        self.bos, self.eos, self.eot = (
            one if 0 <= one < self.size else None for one in (known.bos, known.eos, known.eot))
        self.adds_bos = known.adds_bos
        self.adds_eos = known.adds_eos

    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """Ids of a text. `add_special` puts BOS where the model wants it, `parse_special` reads control tokens."""
        return self._model.tokenize(text, add_special, parse_special)

    def detokenize(self, ids: Sequence[int], show_special: bool = False) -> str:
        """The text of ids. Raises LlamaError for an id that the vocabulary has not."""
        return self._model.detokenize(ids, show_special).decode("utf-8", "replace")

    def written(self, ids: Sequence[int]) -> list[str]:
        """How the vocabulary itself writes them (`Ġthe`); nothing for the negative ids of images."""
        return [self._model.written(one) if one >= 0 else "" for one in ids]

    def is_end(self, one: int) -> bool:
        """Whether this token ends a turn or a text (end of generation)."""
        return one in self.ends

    def is_control(self, one: int) -> bool:
        """Whether this token steers the conversation and has no text of its own."""
        return one in self.control
