"""A GGUF file that has a model's header and none of its weights: as long as the model, and empty on the disk.

llama.cpp sizes a model from it without ever reading a weight (`modelkit.llamacpp.probe`). The vocabulary stays behind,
but for its size: it is most of a header, and takes no part in what is computed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelkit.models.formats.gguf import Array, Header, Tensor
from modelkit.models.formats.gguf_types import SCALARS, TENSOR_TYPES

_UINT32, _STRING = 4, 8
_NUMBERS = {layout.name: number for number, layout in TENSOR_TYPES.items()}
_LEFT_OUT = ("tokenizer.", "split.")
_MODEL = "tokenizer.ggml.model"


@dataclass(frozen=True)
class Hollow:
    """A file's beginning, up to where weights would be, and how long it is with them."""

    begin: bytes
    size: int

    def write(self, path: Path) -> None:
        """Raises OSError where no file of this length can be made."""
        with path.open("wb") as file:
            file.write(self.begin)
            file.truncate(self.size)


def hollow(headers: Sequence[Header]) -> Hollow:
    """`headers` are of all parts of one model, the first part's first. Raises Failure where one can't be read again."""
    first = headers[0]
    keys = [*_metadata(first), _text(_MODEL) + struct.pack("<I", _STRING) + _text("no_vocab")]
    if (size := vocabulary(first)) and f"{first.architecture}.vocab_size" not in first.metadata:
        keys.append(_text(f"{first.architecture}.vocab_size") + struct.pack("<II", _UINT32, size))
    tensors = [one for header in headers for one in header.tensors.values()]
    infos, end = _infos(tensors, first.alignment)
    begin = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys)) + b"".join(keys) + infos
    return Hollow(begin, _padded(len(begin), first.alignment) + end)


def vocabulary(header: Header) -> int:
    """Tokens of its tokenizer; 0 where it has none."""
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    return tokens.count if isinstance(tokens, Array) else 0


def _metadata(header: Header) -> Iterator[bytes]:
    """The keys that shape a computation, with their values, as they stand in the file."""
    at = 24  # magic, version, and the two counts
    for key, value in header.metadata.items():
        start = at + 8 + len(key.encode())
        (kind,) = struct.unpack("<I", header.access.read_at(start, 4))
        if isinstance(value, Array):
            end = value.end
        elif kind == _STRING:
            end = start + 12 + len(str(value).encode())
        else:
            end = start + 4 + struct.calcsize("<" + SCALARS[kind][1])
        if not key.startswith(_LEFT_OUT):
            yield header.access.read_at(at, end - at)
        at = end


def _infos(tensors: Iterable[Tensor], alignment: int) -> tuple[bytes, int]:
    """The tensor table, everything side by side, and where the last one ends."""
    table, offset = [], 0
    for one in tensors:
        table.append(_text(one.name) + struct.pack(f"<I{len(one.shape)}QIQ", len(one.shape), *one.shape,
                                                   _NUMBERS[one.type.name], offset))
        offset = _padded(offset + one.size, alignment)
    return b"".join(table), offset


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
