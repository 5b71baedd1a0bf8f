"""Reads importance matrices: how much each column of a tensor matters, as llama.cpp's `llama-imatrix` measured it.

Two formats exist: GGUF with a tensor of sums and one of counts for each tensor of the model, and the one before it,
`.dat`: a count, then for each tensor a name, a number of calls and floats. Facts from llama.cpp's
`common/imatrix-loader.cpp` and `tools/quantize/quantize.cpp`.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from modelkit.failure import Failure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LARGEST = 1 << 30  # bytes: one of a model with hundreds of experts has half of that
_LONGEST_NAME = 1 << 10
_MOST_ENTRIES = 1 << 16
_SUMS, _COUNTS = ".in_sum2", ".counts"


def read_imatrix(path: Path) -> dict[str, NDArray[np.float32]]:
    """The mean square of what each column was multiplied with, by the tensor's name.

    Raises Failure `imatrix-invalid` and others, and nothing else, whatever the file holds.
    """
    import numpy as np

    try:
        if (size := path.stat().st_size) > _LARGEST:
            _refuse(path, f"it has {size:,} bytes; the most is {_LARGEST:,}")
        with path.open("rb") as file:
            magic = file.read(4)
        entries = _from_gguf(path) if magic == b"GGUF" else _from_dat(path, path.read_bytes())
    except FileNotFoundError:
        raise Failure("imatrix-missing", f"there is no file {path}") from None
    except OSError as error:
        raise Failure("imatrix-unreadable", f"{path} can't be read: {error.strerror or error}") from None
    for name, values in entries.items():
        if not np.isfinite(values).all():
            _refuse(path, f"the values for `{name}` are not all finite")
    return entries


def _from_gguf(path: Path) -> dict[str, NDArray[np.float32]]:
    import numpy as np

    from modelkit.models.formats.gguf_reader import read_header

    header = read_header(path, model=False)
    entries = {}
    with path.open("rb") as file:
        def floats(name: str) -> NDArray[np.float32]:
            if (tensor := header.tensors.get(name)) is None or tensor.type.name != "F32":
                _refuse(path, f"the tensor `{name}` is missing or not F32")
            file.seek(tensor.offset)
            return np.frombuffer(file.read(tensor.size), "<f4").astype(np.float32)

        for name in sorted(one.removesuffix(_SUMS) for one in header.tensors if one.endswith(_SUMS)):
            sums, counts = floats(name + _SUMS), floats(name + _COUNTS)
            if len(sums) % len(counts):
                _refuse(path, f"{len(counts)} counts do not fit the {len(sums):,} sums of `{name}`")
            sums, counts = sums.reshape(len(counts), -1), np.rint(counts).reshape(-1, 1)
            # An expert that no token reached has no measure: all of its columns matter alike.
            entries[name] = np.where(counts > 0, sums / np.maximum(counts, 1), np.float32(1)).ravel().astype(np.float32)
    if not entries:
        _refuse(path, f"it is GGUF without a tensor `…{_SUMS}`")
    return entries


def _from_dat(path: Path, data: bytes) -> dict[str, NDArray[np.float32]]:
    import numpy as np

    at = 0
    entries: dict[str, NDArray[np.float32]] = {}

    def number(what: str, most: int, least: int = 0) -> int:
        nonlocal at
        if at + 4 > len(data):
            _refuse(path, f"it ends before {what}, after {len(data):,} bytes")
        (value,) = struct.unpack_from("<i", data, at)
        at += 4
        if not least <= value <= most:
            _refuse(path, f"{what} is {value:,}" + ("" if entries else "; is it an importance matrix at all?"))
        return int(value)

    for index in range(number("the number of tensors", _MOST_ENTRIES, 1)):
        length = number(f"the length of name {index + 1}", min(_LONGEST_NAME, len(data) - at), 1)
        name = data[at:at + length].decode("utf-8", "replace")
        at += length
        calls = number(f"the number of calls of `{name}`", (1 << 31) - 1)
        count = number(f"the number of values of `{name}`", max(len(data) - at - 4, 0) // 4, 1)
        values = np.frombuffer(data, "<f4", count, at).astype(np.float32)
        at += 4 * count
        entries[name] = values / np.float32(calls) if calls else values
    return entries


def _refuse(path: Path, what: str) -> NoReturn:
    raise Failure("imatrix-invalid", f"{path.name} is not a usable importance matrix: {what}",
                  "make it with `llama-imatrix`, or download it again", data={"path": str(path)})
