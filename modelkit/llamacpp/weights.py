"""A model's weights from its file, as the configuration wants them loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.llamacpp.computing import LlamaError
from modelkit.llamacpp.config import Config

if TYPE_CHECKING:
    from modelkit.llamacpp.library import Model


def load_weights(path: str, config: Config, on_progress: Callable[[float], None] | None = None) -> Model:
    """Blocks while it loads; `on_progress` hears 0 to 1. Raises LlamaError for a file that is no model."""
    try:
        from modelkit.llamacpp.library import Model
    except ImportError as error:
        raise LlamaError(f"llama-cpp-python does not work in this Python: {error}") from None
    return Model(Path(path), gpu_layers=config.gpu_layers, main_gpu=config.main_gpu, use_mmap=config.use_mmap,
                 on_progress=on_progress)
