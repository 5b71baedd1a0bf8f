"""Numbers as a model's own files say them, believed only as far as a real model can go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from modelkit.models.formats.gguf import Array, Header, refuse

MOST_LAYERS = 512  # llama.cpp's own limit (LLAMA_MAX_LAYERS, llama-hparams.h, llama-cpp-python 0.3.36)
MOST_HEADS = 1 << 16
MOST_WIDTH = 1 << 24  # of a layer, of a head, of a state
MOST_EXPERTS = 1 << 16
MOST_TOKENS = 1 << 40  # of a window, of a context


class HeaderNumbers:
    """The numbers of a GGUF header that its architecture defines, by their names without it."""

    def __init__(self, header: Header) -> None:
        self.header = header

    def refuse(self, key: str, what: str) -> NoReturn:
        refuse(self.header.path, "hyperparameter", 0, f"`{self.header.architecture}.{key}` {what}")

    def has(self, key: str) -> bool:
        return f"{self.header.architecture}.{key}" in self.header.metadata

    def is_list(self, key: str) -> bool:
        return isinstance(self.header.metadata.get(f"{self.header.architecture}.{key}"), Array)

    def number(self, key: str, default: int = 0, *, most: int = MOST_WIDTH, least: int = 0) -> int:
        """A whole number; of a list, one a layer, the largest."""
        name = f"{self.header.architecture}.{key}"
        value = self.header.metadata.get(name)
        if isinstance(value, Array):
            return max(self._array(key, name, value, 0, most), default=default)
        return self._checked(key, self.header.get(name, int, default), least, most)

    def each(self, key: str, layers: int, default: int | Sequence[int] = 0, *, most: int = MOST_WIDTH) -> list[int]:
        """A number for each layer: one that is for all, or a list of them."""
        name = f"{self.header.architecture}.{key}"
        value = self.header.metadata.get(name)
        if value is None:
            return [default] * layers if isinstance(default, int) else list(default)
        if isinstance(value, Array):
            return self._array(key, name, value, layers, most)[:layers]
        number = int(value) if isinstance(value, bool) else self.header.get(name, int)
        return [self._checked(key, number, 0, most)] * layers

    def _array(self, key: str, name: str, array: Array, least: int, most: int) -> list[int]:
        if array.kind == "string" or not least <= array.count <= MOST_LAYERS * 2:
            self.refuse(key, f"is a list of {array.count:,} {array.kind}s; it should have a number for each layer")
        numbers = self.header.numbers(name)
        return [self._checked(key, number, 0, most) for number in numbers]

    def _checked(self, key: str, number: int | float, least: int, most: int) -> int:
        if not least <= number <= most or number != int(number):  # the first is false of NaN, too
            self.refuse(key, f"is {number:,}; {least:,} to {most:,} are possible")
        return int(number)


