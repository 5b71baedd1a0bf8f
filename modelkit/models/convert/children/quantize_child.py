"""GGUF to GGUF through `llama_model_quantize`. Run by `driver.py` where llama-cpp-python is installed.

llama.cpp has no callback for progress and returns 0 or 1: how far it is, and why it stopped, stand in its log, which
is made for people. Only the tensor's name after `[  12/ 272]`, the size in all and the words after "failed to
quantize:" are taken from there.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_COUNTER = re.compile(r"\[ *\d+/ *\d+\] (\S+)")
_REASON = re.compile(r"failed to quantize: (.*)")
_SIZE = re.compile(r"quant size += +([0-9.]+) MiB")
_FALLBACK = re.compile(r"(\d+) of \d+ tensor\(s\) required fallback")
_BUFFER = 1 << 30  # bytes of rows in memory at once


class _Log:
    """llama.cpp's log, heard line by line."""

    def __init__(self, on_tensor: Callable[[str], None]) -> None:
        self.on_tensor = on_tensor
        self.line = ""
        self.reason = ""
        self.mebibytes = 0.0
        self.fallbacks = 0

    def hear(self, text: str) -> None:
        self.line += text
        if (counted := _COUNTER.match(text)) is not None:
            self.on_tensor(counted[1])
        *lines, self.line = self.line.split("\n")
        for line in lines:
            os.write(2, (line + "\n").encode())
            if reason := _REASON.search(line):
                self.reason = reason[1]
            if size := _SIZE.search(line):
                self.mebibytes = float(size[1])
            if fallback := _FALLBACK.search(line):
                self.fallbacks = int(fallback[1])


def main(request: Mapping[str, Any], say: Callable[..., None]) -> dict[str, Any]:
    """Asked with `source`, `target`, `type` (a number), `threads` (0: all), `requantize`, `dry_run`, `label`, `sizes`
    (bytes of each tensor in the source) and `imatrix` (None, or a file of floats and where each tensor's lie in it)."""
    try:
        library = importlib.import_module("llama_cpp.llama_cpp")
    except Exception as error:  # it raises RuntimeError and others for a library that does not load
        raise ImportError(f"llama_cpp: {error}") from error
    sizes, label = request["sizes"], request["label"]
    total, begun = sum(sizes.values()), [0]

    def on_tensor(name: str) -> None:
        if not request["dry_run"]:
            say(progress=[begun[0], total, label])
            begun[0] += sizes.get(name, 0)

    log = _Log(on_tensor)
    hear = library.llama_log_callback(lambda level, text, data: log.hear(text.decode("utf-8", "replace")))
    library.llama_log_set(hear, None)
    parameters = library.llama_model_quantize_default_params()
    parameters.nthread, parameters.ftype = request["threads"], request["type"]
    parameters.allow_requantize, parameters.dry_run = request["requantize"], request["dry_run"]
    if hasattr(parameters, "max_buf_size"):
        parameters.max_buf_size = _BUFFER
    kept = _with_imatrix(library, parameters, request["imatrix"]) if request["imatrix"] else None
    status = library.llama_model_quantize(os.fsencode(request["source"]), os.fsencode(request["target"]),
                                          ctypes.byref(parameters))
    del kept
    return {"status": status, "reason": log.reason, "bytes": round(log.mebibytes * (1 << 20)),
            "fallbacks": log.fallbacks}


def _with_imatrix(library: Any, parameters: Any, said: Mapping[str, Any]) -> Any:
    """Hand the importance matrix over; what is returned has to live as long as it is used."""
    data = Path(said["file"]).read_bytes()
    values = (ctypes.c_float * (len(data) // 4)).from_buffer_copy(data)
    rows = (library.llama_model_imatrix_data * (len(said["tensors"]) + 1))()  # the last one, empty, ends it
    for row, (name, begin, count) in zip(rows, said["tensors"], strict=False):
        row.name, row.size = name.encode(), count
        row.data = ctypes.cast(ctypes.byref(values, begin * 4), ctypes.POINTER(ctypes.c_float))
    parameters.imatrix = rows
    return values, rows
