"""Writes safetensors files tensor by tensor, so that memory does not grow with the model."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_WIDTHS = {"BF16": 2, "F16": 2, "F32": 4}


class SafetensorsWriter:
    """A file whose tensors are known beforehand and come in the order they were named.

    Leaving without an exception checks that all bytes came, and has them on the disk; `sha256` is then the file's.
    """

    def __init__(self, path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        end = 0
        for name, (kind, shape) in tensors.items():
            begin, end = end, end + math.prod(shape) * _WIDTHS[kind]
            header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._head = len(text).to_bytes(8, "little") + text
        self._hash = hashlib.sha256()
        self._file = path.open("xb")
        self.size = len(self._head) + end
        self.written = 0

    def write(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self._file.write(data)
        self.written += len(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        self.write(self._head)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if error is None:
                assert self.written == self.size, "the tensors that came are not those that were named"
                self._file.flush()
        finally:
            self._file.close()
