"""Models of each family as `make_anatomies` keeps them: headers in both forms, and what llama.cpp made of them."""

from __future__ import annotations

import json
import lzma
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from modelkit.models.formats.access import Access
from modelkit.models.formats.checkpoint import Files
from modelkit.models.formats.gguf import Header
from modelkit.models.formats.gguf_reader import read_header_from
from modelkit.models.formats.gguf_types import TENSOR_TYPES
from modelkit.models.formats.safetensors_reader import BITS
from tests.unit.models.gguf_files import TensorOf, gguf, pair

NUMBERS = {layout.name: number for number, layout in TENSOR_TYPES.items()}
LAYOUTS = {layout.name: layout for layout in TENSOR_TYPES.values()}


@dataclass
class Sparse:
    """A file of which only the beginning is there; the rest are zeros."""

    name: str
    begin: bytes
    size: int
    reads: int = 0

    def read_at(self, offset: int, count: int) -> bytes:
        self.reads += 1
        part = self.begin[offset:offset + count]
        return part + bytes(max(min(offset + count, self.size) - offset, len(part)) - len(part))


@cache
def families() -> dict[str, dict[str, Any]]:
    said: dict[str, dict[str, Any]] = json.loads(lzma.decompress(
        (Path(__file__).parent / "anatomies.json.xz").read_bytes()))
    return said


def gguf_access(metadata: dict[str, tuple[str, Any]], tensors: list[tuple[str, str, list[int]]],
                name: str = "model.gguf") -> Sparse:
    """A GGUF file without its tensors' bytes. `tensors`: name, type, shape with its columns first."""
    place, made = 0, []
    for tensor, kind, shape in tensors:
        layout = LAYOUTS[kind]
        size = math.prod(shape) // layout.block * layout.bytes
        made.append(TensorOf(tensor, shape, NUMBERS[kind], b"", place))
        place += -(-size // 32) * 32
    begin = gguf((pair(key, kind, value) for key, (kind, value) in metadata.items()), made)
    return Sparse(name, begin, -(-len(begin) // 32) * 32 + place)


def header_of(metadata: dict[str, tuple[str, Any]], tensors: list[tuple[str, str, list[int]]]) -> Header:
    return read_header_from(gguf_access(metadata, tensors))


def safetensors_access(tensors: dict[str, tuple[str, list[int]]], name: str = "model.safetensors") -> Sparse:
    """A safetensors file without its tensors' bytes."""
    place, said = 0, {}
    for tensor, (dtype, shape) in tensors.items():
        size = math.prod(shape) * BITS[dtype] // 8
        said[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(said).encode()
    return Sparse(name, len(text).to_bytes(8, "little") + text, 8 + len(text) + place)


def folder_of(config: Any, tensors: dict[str, tuple[str, list[int]]]) -> Files:
    """A Hugging Face folder of such a file and a config.json."""
    text = json.dumps(config).encode()
    files: dict[str, Access] = {"config.json": Sparse("config.json", text, len(text)),
                                "model.safetensors": safetensors_access(tensors)}
    return Files("the model", files.get, ["model.safetensors"])
