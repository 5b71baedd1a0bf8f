"""What one side makes of a conversation."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rendering:
    """The prompt one side makes of a conversation; `text(ids)` spells some of its tokens.

    `pieces` are the tokens as their vocabulary writes them (`Ġthe`), and `prompt` is the text that was tokenized;
    None where the side does not say. `refused` is why there is no prompt at all.
    """

    ids: tuple[int, ...]
    text: Callable[[Sequence[int]], str] = field(default=lambda ids: " ".join(map(str, ids)), compare=False)
    pieces: tuple[str, ...] | None = None
    prompt: str | None = None
    refused: str | None = None

    @property
    def written(self) -> str:
        """The whole prompt as text, special tokens shown."""
        return self.prompt if self.prompt is not None else self.text(self.ids)

    def spelled(self, at: int) -> str:
        """One token as text."""
        return self.pieces[at] if self.pieces is not None else self.text([self.ids[at]])


SPECIAL = re.compile(r"<\|[^<>|\s]{1,64}\|>|<｜[^<>\s]{1,64}｜>|<(?:bos|eos|pad|unk|s|/s|mask)>|<[a-z]+_of_[a-z]+>"
                     r"|\[/?[A-Z][A-Z_]{2,30}\]|<extra_id_\d+>|<turn\|>|<\|turn>")
"""How vocabularies write tokens that steer a conversation (`<|im_end|>`, `</s>`, `[INST]`, `<end_of_turn>`)."""


def is_special(piece: str) -> bool:
    """Does this look like a token that steers the conversation? One that is spelled as nothing does, too."""
    return piece == "" or SPECIAL.fullmatch(piece.strip()) is not None
