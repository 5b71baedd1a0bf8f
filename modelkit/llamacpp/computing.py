"""What the scheduler asks of whoever computes: `context` answers with llama.cpp, a test with something smaller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LlamaError(Exception):
    """What llama.cpp cannot do, in one sentence."""


def expect_gguf(path: Path) -> None:
    """Raises LlamaError for what is no GGUF file; llama.cpp's own words for these are many and late."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise LlamaError(f"cannot read {path}: {error.strerror or error}") from None
    if magic != b"GGUF":
        raise LlamaError(f"{path} is not a GGUF file")


DONE, NO_ROOM, ABORTED = 0, 1, 2
"""What `decode` answers: computed; no free cells, and nothing has changed; stopped by `abort`."""


class Memory(Protocol):
    """The attention cache, by sequence and position. `end` is where the sequence's next token goes."""

    def clear(self) -> None: ...
    def remove(self, sequence: int, start: int = 0, end: int = -1) -> bool: ...
    def copy(self, source: int, target: int, end: int) -> None: ...
    def end(self, sequence: int) -> int: ...


class Batch(Protocol):
    """The tokens of one step."""

    size: int

    def clear(self) -> None: ...
    def add(self, tokens: Sequence[int], position: int, sequence: int, outputs: int) -> int: ...


class Context(Protocol):
    """A model ready to compute. `tokens`: the cells of its cache; `sequences`: how many it tells apart."""

    tokens: int
    sequences: int
    batch_tokens: int

    @property
    def memory(self) -> Memory: ...
    def batch(self) -> Any: ...  # a Batch of this context's own kind
    def decode(self, batch: Any) -> int: ...
    def logits(self, index: int) -> NDArray[np.float32]: ...
    def use(self, adapter: Any) -> None: ...
    def resume(self) -> None: ...
