"""A Hugging Face folder to one of fewer bits that vLLM loads, by llmcompressor in a child process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modelkit.failure import Failure
from modelkit.models.convert import derived
from modelkit.models.convert.to_gguf import show
from modelkit.models.convert.tool import CHILDREN, Tool, run_child
from modelkit.models.store import Progress, Store, quiet

if TYPE_CHECKING:
    from modelkit.models.weights import Weights


@dataclass(frozen=True)
class Scheme:
    """What a word of QUANTIZE is to compressed-tensors, and how its numbers are found.

    `rtn` rounds each weight by itself; `gptq` and `awq` look at what texts make of the layers' inputs.
    """

    preset: str
    algorithm: Literal["rtn", "gptq", "awq"]


SCHEMES: dict[str, Scheme] = {
    "int8": Scheme("W8A8", "rtn"), "fp8": Scheme("FP8_DYNAMIC", "rtn"), "w4a16": Scheme("W4A16", "rtn"),
    "gptq": Scheme("W4A16", "gptq"), "awq": Scheme("W4A16_ASYM", "awq"),
}

_SCRIPT = CHILDREN / "compress_child.py"
_READ = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
_NOT_READ = ("manifest.json",)
_MOST_TEXT = 4 << 20  # bytes of calibration text
_MOST_TEXTS = 512


def recipe(weights: Weights, precision: str, tool: Tool, calibration: Path | None = None) -> dict[str, Any]:
    """How the folder is made: everything that its bytes depend on. Raises Failure for a precision that can't be made.

    `calibration` is a file of texts, one a line; None means the texts that come with modelkit.
    """
    from modelkit.models.digests import digest

    scheme = _presume_known(precision)
    texts = None if scheme.algorithm == "rtn" else digest(_texts(calibration))
    return {"tool": "llmcompressor", "version": tool.version, "input": weights.digest,
            "arguments": {"scheme": scheme.preset, "algorithm": scheme.algorithm, "texts": texts}}


def locate(weights: Weights, precision: str, tool: Tool, *, store: Store | None = None,
           calibration: Path | None = None, verify: bool = False) -> Weights | None:
    """What `compress` would return if it is here and whole, None otherwise. `verify` reads every byte of it."""
    found = derived.find(recipe(weights, precision, tool, calibration), store or Store(), verify=verify)
    return None if found is None else _weights(weights, found)


def compress(weights: Weights, precision: str, tool: Tool, *, store: Store | None = None,
             on_progress: Progress = quiet, calibration: Path | None = None, threads: int | None = None,
             verify: bool = False) -> Weights:
    """A Hugging Face folder with the precision `precision`, a key of SCHEMES: made once and kept. The embedding, the
    output layer, the tokenizer and the template stay as they are.

    Raises Failure: `compress-…`, `calibration-…`, `tool-…`.
    """
    store, label = store or Store(), f"compressing to {precision}"
    how = recipe(weights, precision, tool, calibration)
    texts = [] if how["arguments"]["texts"] is None else _texts(calibration)
    write = partial(_write, weights, tool=tool, arguments=how["arguments"] | {"texts": texts, "label": label},
                    store=store, on_progress=on_progress, threads=threads)
    made = derived.make(how, store, write, label=label, on_progress=on_progress, verify=verify)
    return _weights(weights, made)


def _write(weights: Weights, folder: Path, *, tool: Tool, arguments: dict[str, Any], store: Store,
           on_progress: Progress, threads: int | None) -> None:
    source = Path(weights.path)
    _presume_whole(weights, source)
    store.need_space(sum(file.stat().st_size for file in source.glob("*.safetensors")), arguments["label"])
    shown = show(source, _READ, folder.parent / "model")
    for name in _NOT_READ:
        (shown / name).unlink(missing_ok=True)
    run_child(tool, _SCRIPT, {"source": str(shown), "target": str(folder)} | arguments, work=folder.parent,
              on_progress=on_progress, threads=threads)
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise Failure("compress-failed", "what the compressor wrote is no model",
                      "make it anew: `modelkit tool install compressor --reinstall`")


def _presume_known(precision: str) -> Scheme:
    if precision == "nvfp4":
        raise Failure("compress-needs-gpu", "nvfp4 is made and used on recent NVIDIA GPUs only",
                      f"take one of {', '.join(SCHEMES)}, or a base that is nvfp4 already")
    if (scheme := SCHEMES.get(precision)) is None:
        raise Failure("compress-type-unknown", f"`{precision}` is no precision of safetensors",
                      f"known are {', '.join(SCHEMES)}")
    return scheme


def _presume_whole(weights: Weights, source: Path) -> None:
    """Are these weights that nobody has compressed yet?"""
    if weights.form != "safetensors":
        raise Failure("compress-form", f"{weights.reference} is {weights.form}, and only safetensors are compressed",
                      "make a Hugging Face folder of it first")
    try:
        said = json.loads((source / "config.json").read_text("utf-8"))
        before = said.get("quantization_config")
    except (OSError, ValueError, AttributeError):
        raise Failure("model-missing", f"{source} has no readable config.json") from None
    if before:
        method = before.get("quant_method") if isinstance(before, dict) else before
        raise Failure("compress-up", f"{weights.reference} is compressed already ({method})",
                      "take `QUANTIZE none`, or a base that is not")


def _texts(calibration: Path | None) -> list[str]:
    """The texts to calibrate with, one a line."""
    if calibration is None:
        text = files(__package__).joinpath("calibration.txt").read_text("utf-8")
    else:
        try:
            with calibration.open("rb") as file:
                text = file.read(_MOST_TEXT + 1).decode()
        except OSError as error:
            raise Failure("calibration-missing", f"{calibration} can't be read: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise Failure("calibration-invalid", f"{calibration} is not text in UTF-8") from None
        if len(text) > _MOST_TEXT:
            raise Failure("calibration-invalid", f"{calibration} has more than {_MOST_TEXT >> 20} MiB",
                          "some hundred lines of typical text are enough")
    lines = [line.strip() for line in text.splitlines() if line.strip()][:_MOST_TEXTS]
    if not lines:
        raise Failure("calibration-invalid", f"{calibration} is empty", "write one text a line")
    return lines


def _weights(source: Weights, made: derived.Derived) -> Weights:
    from modelkit.models.weights import Weights

    return Weights(reference=source.reference, form="safetensors", path=str(made.path), digest=made.digest,
                   size=made.size, recipe=made.manifest["recipe"])
