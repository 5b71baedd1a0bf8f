"""`python -m modelkit.llamacpp.probe`: what llama.cpp would allocate for a model, asked of llama.cpp itself.

A model is loaded with `no_alloc` (llama.h: "only load metadata and simulate memory allocations"), from a file of which
only the header need be there; then a context is made for each setting, and what llama.cpp logs of it is passed on. A
setting that ggml asserts on ends the process, so this is one of its own: whoever asked goes on behind that setting.

Standard input has one JSON object, `{"model": path, "gpu_layers": n, "settings": [{…}, …]}`, a setting having the
fields of `Setting`. Standard output has one line of JSON for each setting, in their order: `{"log": text}`, or
`{"problem": sentence}` for one that llama.cpp refuses. Exit status: 0, or 1 with the reason in the last line of
standard error where the model can't be loaded at all.
"""

from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NO_MMAP = 0
_DEBUG, _ERROR = 1, 4


@dataclass(frozen=True)
class Setting:
    """A context: what `llama_context_params` calls n_ctx, n_seq_max, n_ubatch and n_outputs_max."""

    tokens: int
    sequences: int
    physical: int
    outputs: int
    kv_type: str
    unified: bool = True
    flash_attention: bool | None = None
    full_windows: bool = True
    embeddings: bool = False


class Log:
    """What llama.cpp says, but for its thousands of remarks for its own makers, and what it says as an error."""

    def __init__(self, low: Any) -> None:
        self.text = self.errors = ""
        self._callback = low.llama_log_callback(self._hear)
        low.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _hear(self, level: int, text: bytes, _: int | None) -> None:
        if level == _DEBUG:
            return
        said = text.decode("utf-8", "replace")
        self.text += said
        if level == _ERROR:
            self.errors += said

    def clear(self) -> None:
        self.text = self.errors = ""

    def reason(self) -> str:
        """The first error, which names the cause."""
        return next(iter(self.errors.splitlines()), "it does not say why").partition(": ")[2].strip() or self.errors


def load(low: Any, path: Path, gpu_layers: int, log: Log) -> Any:
    """The model without its weights. Raises LlamaError."""
    from modelkit.llamacpp.computing import LlamaError, expect_gguf

    expect_gguf(path)
    params = low.llama_model_default_params()
    params.n_gpu_layers, params.load_mode, params.no_alloc = gpu_layers, _NO_MMAP, True
    model = low.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise LlamaError(f"llama.cpp cannot size {path.name}: {log.reason()}")
    return model


def size(low: Any, model: Any, setting: Setting, log: Log) -> dict[str, str]:
    """What llama.cpp says of one context."""
    from modelkit.llamacpp.context import FLASH, KINDS

    params = low.llama_context_default_params()
    params.n_ctx, params.n_seq_max, params.kv_unified = setting.tokens, setting.sequences, setting.unified
    params.n_batch = params.n_ubatch = setting.physical
    params.n_outputs_max = max(setting.outputs, setting.sequences)  # fewer are asserted on
    params.type_k = params.type_v = KINDS[setting.kv_type]
    params.flash_attn_type = FLASH[setting.flash_attention]
    params.swa_full, params.embeddings, params.no_perf = setting.full_windows, setting.embeddings, True
    log.clear()
    context = low.llama_init_from_model(model, params)
    if not context:
        return {"problem": log.reason()}
    low.llama_free(context)
    return {"log": log.text}


def main() -> int:
    asked = json.load(sys.stdin)
    from modelkit.llamacpp.computing import LlamaError

    try:
        return answer(asked)
    except LlamaError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def answer(asked: dict[str, Any]) -> int:
    from modelkit.llamacpp.library import low

    log = Log(low)
    model = load(low, Path(asked["model"]), asked["gpu_layers"], log)
    for one in asked["settings"]:
        sys.stdout.write(json.dumps(size(low, model, Setting(**one), log)) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
