"""What `llama_model_quantize` would make of each tensor, without a weight. Run by `driver.py` beside llama-cpp-python.

The types stand in llama.cpp's log alone, one line a tensor:
`[   2/ 272] blk.0.attn_k.weight - [  576,  192, 1, 1], type = f16, size = 0.21 MiB -> 0.07 MiB (q5_0)`.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

_TENSOR = re.compile(r"\[ *\d+/ *\d+\] (\S+) +- \[.*?\], type = +(\w+), .*?(?:\((\w+)\))?$")
_REASON = re.compile(r"failed to quantize: (.*)")
_NOTHING = b"-"  # an importance matrix of no tensor: there is one, and that is all that a mixture asks


def main(request: Mapping[str, Any], say: Callable[..., None]) -> dict[str, Any]:
    """Asked with `source` (a GGUF whose weights may be holes), `types` (numbers of file types by our word) and
    `imatrix` (would there be one?). Answers with the types of all tensors, or the reason why not, by word."""
    try:
        library = importlib.import_module("llama_cpp.llama_cpp")
    except Exception as error:  # it raises RuntimeError and others for a library that does not load
        raise ImportError(f"llama_cpp: {error}") from error
    text: list[str] = []
    hear = library.llama_log_callback(lambda level, said, data: text.append(said.decode("utf-8", "replace")))
    library.llama_log_set(hear, None)
    parameters = library.llama_model_quantize_default_params()
    parameters.nthread, parameters.allow_requantize, parameters.dry_run = 1, True, True
    kept = _some_imatrix(library, parameters) if request["imatrix"] else None
    made: dict[str, Any] = {}
    for word, number in request["types"].items():
        text.clear()
        parameters.ftype = number
        status = library.llama_model_quantize(os.fsencode(request["source"]), b"", ctypes.byref(parameters))
        made[word] = _understood("".join(text), status)
    del kept
    return {"made": made}


def _understood(log: str, status: int) -> dict[str, Any]:
    reason = _REASON.search(log)
    if status != 0:
        return {"reason": reason[1] if reason else "it says no reason"}
    found = filter(None, map(_TENSOR.match, log.splitlines()))
    return {"types": {line[1]: (line[3] or line[2]).upper() for line in found}}


def _some_imatrix(library: Any, parameters: Any) -> Any:
    """What is returned has to live as long as it is used."""
    value = (ctypes.c_float * 1)(1.0)
    rows = (library.llama_model_imatrix_data * 2)()  # the last one, empty, ends it
    rows[0].name, rows[0].size = _NOTHING, 1
    rows[0].data = ctypes.cast(value, ctypes.POINTER(ctypes.c_float))
    parameters.imatrix = rows
    return value, rows
