"""A small vocabulary: every byte, some longer pieces, and three control tokens."""

from __future__ import annotations

_WORDS = ('":', '": "', '{"', '"}', '",', ' "', "name", "age", "true", "false", "null", "yes", "no", "hello", "12",
          " a", "é", "🙂", "<tool>")
_CONTROL = ("<|end|>", "<|start|>", "<|eot|>")


class Bytes:
    """Implements what drawing asks of a vocabulary. Its tokenizer takes the longest piece."""

    def __init__(self) -> None:
        self.pieces = (*(bytes([value]) for value in range(256)), *(text.encode() for text in (*_WORDS, *_CONTROL)))
        self.size = len(self.pieces)
        self.control = frozenset(range(self.size - len(_CONTROL), self.size))
        self.visible = tuple(b"" if one in self.control else piece for one, piece in enumerate(self.pieces))
        self.eos, self.bos, self.eot = self.id("<|end|>"), self.id("<|start|>"), self.id("<|eot|>")
        self.ends = frozenset((self.eos, self.eot))

    def id(self, text: str) -> int:
        return self.pieces.index(text.encode())

    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = True) -> list[int]:
        raw, ids = text.encode(), []
        known = sorted(range(self.size), key=lambda one: -len(self.pieces[one]))
        while raw:
            one = next(k for k in known if raw.startswith(self.pieces[k]) and (parse_special or k not in self.control))
            ids.append(one)
            raw = raw[len(self.pieces[one]):]
        return ids
