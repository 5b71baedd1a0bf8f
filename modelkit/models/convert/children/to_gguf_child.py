"""Hugging Face's form to GGUF by llama.cpp's own converter. Run by `driver.py` where torch and transformers are.

`files` of the request is the folder with llama.cpp's `conversion` package, its scripts and its `gguf-py`. The converter
loads some tokenizers with `trust_remote_code=True`; here that is always false, and code that comes with a model is a
failure.
"""

from __future__ import annotations

import importlib
import logging
import runpy
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_GLANCE = 0.2  # seconds between looks at the file that grows


def main(request: Mapping[str, Any], say: Callable[..., None]) -> dict[str, Any]:
    """Asked with `files`, `source` and `target`, `label`, and for a model `type` (f32, f16, bf16 or auto) and `total`
    (bytes that the target will have, about), for an adapter `base` (the folder of the model that it is for)."""
    files, target, label = Path(request["files"]), Path(request["target"]), request["label"]
    sys.path[:0] = [str(files), str(files / "gguf-py")]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    say(progress=[0, request.get("total"), label])
    _without_remote_code(say)
    with _growth(target, request.get("total"), label, say):
        if "base" in request:
            sys.argv = ["convert_lora_to_gguf.py", "--outtype", "f32", "--outfile", str(target),
                        "--base", request["base"], request["source"]]
            runpy.run_path(str(files / sys.argv[0]), run_name="__main__")
        else:
            _model(Path(request["source"]), target, request["type"], say)
    return {}


def _model(source: Path, target: Path, kind: str, say: Callable[..., None]) -> None:
    conversion, gguf, torch = (importlib.import_module(name) for name in ("conversion", "gguf", "torch"))
    types = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16,
             "bf16": gguf.LlamaFileType.MOSTLY_BF16, "auto": gguf.LlamaFileType.GUESSED}
    with torch.inference_mode():
        hyperparameters = conversion.ModelBase.load_hparams(source, False)
        architecture = conversion.get_model_architecture(hyperparameters, conversion.ModelType.TEXT)
        try:
            model = conversion.get_model_class(architecture)
        except NotImplementedError:
            say(failure={"code": "architecture-not-yet",
                         "message": f"llama.cpp's converter does not know the architecture `{architecture}`",
                         "hint": "a newer converter may; or name a GGUF of this model in the stage's FROM"})
            raise SystemExit(1) from None
        model(source, types[kind], target, hparams=hyperparameters).write()


def _without_remote_code(say: Callable[..., None]) -> None:
    modules: Any = importlib.import_module("transformers.dynamic_module_utils")
    transformers = importlib.import_module("transformers")

    def refuse(*_: Any, **__: Any) -> None:
        say(failure={"code": "remote-code", "message": "the model wants code of its own to be run, which is never done",
                     "hint": "take a model that transformers knows by itself"})
        raise SystemExit(1)

    modules.get_class_from_dynamic_module = refuse
    for name in ("AutoConfig", "AutoTokenizer"):
        auto = getattr(transformers, name)
        auto.from_pretrained = _distrusting(auto.from_pretrained)


def _distrusting(load: Callable[..., Any]) -> Callable[..., Any]:
    def loading(*given: Any, **named: Any) -> Any:
        return load(*given, **named | {"trust_remote_code": False})

    return loading


@contextmanager
def _growth(target: Path, total: int | None, label: str, say: Callable[..., None]) -> Iterator[None]:
    """Say how large the file is while it grows."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_GLANCE):
            if target.exists():
                done = target.stat().st_size
                say(progress=[done, None if total is None else max(done, total), label])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
