"""Writes GGUF files for tests, well-formed or not: every number can be made to lie."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

CODES = {"uint8": (0, "B"), "int8": (1, "b"), "uint16": (2, "H"), "int16": (3, "h"), "uint32": (4, "I"),
         "int32": (5, "i"), "float32": (6, "f"), "bool": (7, "?"), "uint64": (10, "Q"), "int64": (11, "q"),
         "float64": (12, "d")}
STRING, ARRAY = 8, 9


def text(value: str | bytes, length: int | None = None) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def pair(key: str | bytes, kind: str, value: Any) -> bytes:
    """One metadata pair; `kind` is a scalar type, `string`, or `[type]` for an array."""
    return text(key) + value_of(kind, value)


def value_of(kind: str, value: Any) -> bytes:
    if kind == "string":
        return struct.pack("<I", STRING) + text(value)
    if kind.startswith("["):
        inner = kind[1:-1]
        if inner == "string":
            return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(text, value))
        number, code = CODES[inner]
        return struct.pack(f"<IIQ{len(value)}{code}", ARRAY, number, len(value), *value)
    number, code = CODES[kind]
    return struct.pack(f"<I{code}", number, value)


@dataclass(frozen=True)
class TensorOf:
    """A tensor: `shape` fastest dimension first, `data` its bytes, `offset` a lie about its place if given."""

    name: str
    shape: Sequence[int]
    type: int
    data: bytes
    offset: int | None = None


def gguf(pairs: Iterable[bytes], tensors: Sequence[TensorOf] = (), *, alignment: int = 32, version: int = 3,
         magic: bytes = b"GGUF", key_count: int | None = None, tensor_count: int | None = None) -> bytes:
    """A whole file."""
    pairs = list(pairs)
    out = magic + struct.pack("<IQQ", version, len(tensors) if tensor_count is None else tensor_count,
                              len(pairs) if key_count is None else key_count) + b"".join(pairs)
    place, body = 0, b""
    for tensor in tensors:
        offset = place if tensor.offset is None else tensor.offset
        out += text(tensor.name) + struct.pack(f"<I{len(tensor.shape)}QIQ", len(tensor.shape), *tensor.shape,
                                               tensor.type, offset)
        body += tensor.data + bytes(-len(tensor.data) % alignment)
        place = len(body)
    return out + bytes(-len(out) % alignment) + body


ARCHITECTURE = pair("general.architecture", "string", "llama")


def vocabulary_pairs(tokens: Sequence[str], merges: Sequence[str], types: Sequence[int], pre: str,
                     **ids: int | bool) -> list[bytes]:
    """A byte-level BPE vocabulary; `ids` are `eos=2` and the like, or `add_bos=True`."""
    named = [pair(f"tokenizer.ggml.{name}_token_id", "uint32", number) for name, number in ids.items()
             if name != "add_bos"]
    flags = [pair("tokenizer.ggml.add_bos_token", "bool", ids["add_bos"])] if "add_bos" in ids else []
    return [pair("tokenizer.ggml.model", "string", "gpt2"), pair("tokenizer.ggml.pre", "string", pre),
            pair("tokenizer.ggml.tokens", "[string]", tokens), pair("tokenizer.ggml.merges", "[string]", merges),
            pair("tokenizer.ggml.token_type", "[int32]", types), *named, *flags]
