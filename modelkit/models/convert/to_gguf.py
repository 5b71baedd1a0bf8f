"""A Hugging Face folder to GGUF, by llama.cpp's own converter in a child process."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure
from modelkit.models.convert import derived
from modelkit.models.convert.tool import CHILDREN, Tool, run_child
from modelkit.models.store import Progress, Store, quiet

if TYPE_CHECKING:
    from modelkit.models.weights import Weights

TYPES = ("auto", "BF16", "F16", "F32")
"""What the converter writes; `auto` is the checkpoint's own 16 bits, F16 for one of F32."""

_FILE = "model.gguf"
_SCRIPT = CHILDREN / "to_gguf_child.py"
_READ = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*_Pooling/config.json")
_SLACK = 32 << 20  # bytes: the tokenizer moves into the file


def recipe(weights: Weights, tool: Tool, type: str = "auto") -> dict[str, Any]:
    """How the file is made: everything that its bytes depend on."""
    return {"tool": "convert_hf_to_gguf", "version": tool.version, "input": weights.digest,
            "arguments": {"type": type}}


def locate(weights: Weights, tool: Tool, *, type: str = "auto", store: Store | None = None,
           verify: bool = False) -> Weights | None:
    """What `gguf_file` would return if it is here and whole, None otherwise. `verify` reads every byte of it."""
    if weights.form == "gguf":
        return weights
    found = derived.find(recipe(weights, tool, type), store or Store(), verify=verify)
    return None if found is None else gguf_in(found, _FILE, weights.reference)


def gguf_file(weights: Weights, tool: Tool, *, type: str = "auto", store: Store | None = None,
              on_progress: Progress = quiet, verify: bool = False) -> Weights:
    """The GGUF made from a Hugging Face folder, made now if it is not here. Give it to `quantize` for fewer bits.

    Raises Failure: `architecture-not-yet`, `remote-code`, `to-gguf-failed`, `tool-…`.
    """
    if weights.form == "gguf":
        return weights
    if type not in TYPES:
        raise Failure("to-gguf-type-unknown", f"the converter does not write `{type}`",
                      f"it writes {', '.join(TYPES)}; quantize the result for others")
    store, label = store or Store(), f"converting {Path(weights.reference).name} to GGUF"
    write = partial(_write, weights, tool=tool, type=type, store=store, on_progress=on_progress, label=label)
    made = derived.make(recipe(weights, tool, type), store, write, label=label, on_progress=on_progress, verify=verify)
    return gguf_in(made, _FILE, weights.reference)


def gguf_in(made: derived.Derived, name: str, reference: str) -> Weights:
    """The GGUF `name` of a derived folder."""
    from modelkit.models.weights import Weights

    said = made.manifest["files"][name]
    return Weights(reference=reference, form="gguf", path=str(made.path / name), digest=f"sha256:{said['sha256']}",
                   size=said["size"], recipe=made.manifest["recipe"])


def show(folder: Path, patterns: tuple[str, ...], place: Path) -> Path:
    """The files of `folder` that the patterns name, as links in `place`: a tool sees no other, and knows no name of
    the folder that it could write down."""
    place.mkdir()
    for file in sorted({file for pattern in patterns for file in folder.glob(pattern)}):
        link = place / file.relative_to(folder)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(file.resolve())
    return place


def presume_readable(target: Path, code: str) -> None:
    """Raise Failure `code` unless the tool has left a GGUF that can be read."""
    from modelkit.models.formats.gguf_reader import read_header

    try:
        whole = bool(read_header(target).tensors)
    except Failure as failure:
        raise Failure(code, f"what the converter wrote is no model: {failure.message}",
                      "make the converter anew: `modelkit tool install converter --reinstall`") from None
    if not whole:
        raise Failure(code, "the converter wrote a file without tensors", "is the folder a model?")


def _write(weights: Weights, folder: Path, *, tool: Tool, type: str, store: Store, on_progress: Progress,
           label: str) -> None:
    source = Path(weights.path)
    total = sum(file.stat().st_size for file in source.glob("*.safetensors")) * (2 if type == "F32" else 1)
    if not total:
        raise Failure("model-missing", f"{source} has no safetensors", "name a Hugging Face folder that has")
    store.need_space(total + _SLACK, label)
    target = folder / _FILE
    request = {"source": str(show(source, _READ, folder.parent / "model")), "target": str(target),
               "type": type.lower(), "total": total, "label": label}
    run_child(tool, _SCRIPT, request, work=folder.parent, on_progress=on_progress)
    presume_readable(target, "to-gguf-failed")
