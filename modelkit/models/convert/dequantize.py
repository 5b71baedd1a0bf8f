"""A GGUF's tensors as a Hugging Face model has them: other names, bfloat16, what conversion did to them undone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.models.convert.families import Dimensions, Slot, family_of, not_yet
from modelkit.models.formats.gguf import Header, Tensor, refuse
from modelkit.models.formats.safetensors_writer import SafetensorsWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CHUNK = 1 << 22  # elements at a time: 16 MiB as float32


@dataclass(frozen=True)
class Part:
    """One tensor to write: where it comes from and what it becomes."""

    name: str
    source: Tensor
    shape: tuple[int, ...]  # Hugging Face's order: rows first
    heads: int = 0  # not 0: rows are interleaved inside that many heads
    shift: float = 0.0  # what conversion to GGUF added to each value
    begin: int = 0  # the first row of the source


def parts(header: Header, shape: Dimensions, vocabulary: int) -> list[Part]:
    """What to write, in order; every tensor of the file is used, every one that is needed is there."""
    family = family_of(header)
    slots = list(family.slots(shape, vocabulary))
    stored = {slot.source: slot.source_shape for slot in slots}
    for name, tensor in header.tensors.items():
        if name in family.unused:
            continue
        if (expected := stored.get(name)) is None:
            raise not_yet(header, f"the tensor `{name}`")
        fits = _squeezed(tensor.shape[::-1]) == _squeezed(expected)
        if not fits or (tensor.type.block > 1 and len(tensor.shape) == 1):
            refuse(header.path, "tensor-shape", tensor.offset,
                   f"tensor `{name}` is {tensor.shape} of {tensor.type.name}, not {tuple(reversed(expected))}")
    _complete(header, slots)
    return [Part(slot.target, header.tensors[slot.source], slot.shape, slot.heads, slot.shift, slot.begin)
            for slot in slots if slot.source in header.tensors]


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A matrix of one row may be stored as a vector."""
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


def _complete(header: Header, slots: list[Slot]) -> None:
    """Is every tensor there that is needed?"""
    biases = [slot for slot in slots if slot.target.endswith(".bias")]
    for block in ("self_attn", "mlp"):  # Hugging Face's configuration has one switch for a block's biases
        there = {slot.source in header.tensors for slot in biases if slot.optional and f".{block}." in slot.target}
        if len(there) > 1:
            raise not_yet(header, f"biases on a part of `{block}` only")
    if without := [slot.source for slot in biases if not slot.optional and slot.source not in header.tensors]:
        raise not_yet(header, f"no bias `{min(without)}`")
    missing = [slot.target for slot in slots if not slot.optional and slot.source not in header.tensors]
    if missing:
        refuse(header.path, "tensor-missing", header.data_offset, f"the tensor for `{min(missing)}` is missing")


def size(chosen: list[Part]) -> int:
    """Bytes of all tensors as bfloat16."""
    return sum(2 * math.prod(part.shape) for part in chosen)


def write(header: Header, chosen: list[Part], path: Path, on_bytes: Callable[[int], None]) -> tuple[str, int]:
    """Write `path` and return its sha256 and size. `on_bytes` hears how many bytes are there so far."""
    with SafetensorsWriter(path, {part.name: ("BF16", part.shape) for part in chosen}) as out:
        for part in chosen:
            for rows in _chunks(header, part):
                out.write(bfloat16(rows).tobytes())
                on_bytes(out.written)
    return out.sha256, out.size


def bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest bfloat16s, ties to even, as their bits; a NaN stays one."""
    import numpy as np

    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where((bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000), quiet, rounded).astype("<u2")


def _chunks(header: Header, part: Part) -> Iterator[NDArray[np.float32]]:
    """A tensor's values some rows at a time, whole heads where their rows have to change places."""
    import numpy as np

    width = part.shape[-1] if len(part.shape) > 1 or not part.heads else 1
    rows = math.prod(part.shape) // width
    head = rows // part.heads if part.heads else 1
    step = max(_CHUNK // width // head, 1) * head
    row_bytes = part.source.size // (part.source.elements // width)
    for begin in range(0, rows, step):
        count = min(step, rows - begin)
        raw = header.access.read_at(part.source.offset + (part.begin + begin) * row_bytes, count * row_bytes)
        if len(raw) != count * row_bytes:
            refuse(header.path, "changed", part.source.offset, "the file became shorter while it was read")
        values = _dequantized(np.frombuffer(raw, np.uint8).reshape(count, row_bytes), part.source.type.name, header)
        # llama.cpp pairs neighbours in its rotary embedding where Hugging Face pairs halves: conversion to GGUF
        # interleaved the two halves of each head's rows, and this takes them apart again.
        if part.heads:
            values = values.reshape(-1, head // 2, 2, width).swapaxes(1, 2).reshape(count, width)
        yield values - np.float32(part.shift) if part.shift else values


def _dequantized(raw: NDArray[np.uint8], kind: str, header: Header) -> NDArray[np.float32]:
    import numpy as np
    from gguf import GGMLQuantizationType, quants

    if kind in ("F32", "F16"):
        return raw.view({"F32": "<f4", "F16": "<f2"}[kind]).astype(np.float32)
    try:
        values: NDArray[np.float32] = quants.dequantize(raw, GGMLQuantizationType[kind])
    except (KeyError, NotImplementedError):
        raise not_yet(header, f"tensors of type {kind}") from None
    return values
