"""GGUF to GGUF of fewer bits, through llama.cpp's `llama_model_quantize` in a child process."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS
from modelkit.models.convert import derived
from modelkit.models.convert.tool import CHILDREN, Tool, run_child
from modelkit.models.formats.gguf_types import FILE_TYPES
from modelkit.models.store import Progress, Store, quiet

if TYPE_CHECKING:
    from modelkit.models.formats.gguf import Header
    from modelkit.models.formats.splits import Split
    from modelkit.models.weights import Weights

WHOLE = ("F32", "F16", "BF16")
"""Types that are no quantization."""

_FILE = "model.gguf"
_SCRIPT = CHILDREN / "quantize_child.py"
_NUMBERS = {name: number for number, name in FILE_TYPES.items()}
_SLACK = 1 << 20  # bytes: paddings, and a header that grows by some keys


def presume_possible(from_type: str, to_type: str, has_imatrix: bool = False) -> None:
    """Raise Failure unless a GGUF of `from_type` can be made into one of `to_type` (names of PRECISIONS)."""
    if to_type not in _NUMBERS:
        known = ", ".join(name for name, row in PRECISIONS.items() if row.form == "gguf")
        raise Failure("quantize-type-unknown", f"llama.cpp cannot quantize to `{to_type}`", f"it can to {known}")
    if from_type == to_type:
        return
    source, target = PRECISIONS.get(from_type), PRECISIONS[to_type]
    if from_type not in WHOLE and (source is None or target.bits >= source.bits):
        bits = "" if source is None else f" (about {source.bits:g} bits a weight)"
        raise Failure("quantize-up", f"the base is {from_type} already{bits}: {to_type} ({target.bits:g} bits) would "
                      f"bring back nothing that was lost",
                      f"take `QUANTIZE none`, a type of fewer bits, or a base in {', '.join(WHOLE)}",
                      data={"from": from_type, "to": to_type})
    if target.needs_imatrix and not has_imatrix:
        below = PRECISIONS["Q4_K_M"].bits
        others = [name for name, row in PRECISIONS.items() if row.form == "gguf" and row.bits < below
                  and not row.needs_imatrix and not name.startswith(("TQ", "MX"))]
        raise Failure("needs-importance-matrix", f"{to_type} has so few bits that llama.cpp has to know which weights "
                      f"matter: it needs an importance matrix",
                      f"give the file that `llama-imatrix` made for this model, or take one of {', '.join(others)}",
                      data={"type": to_type, "without": others})


def type_of(header: Header) -> str:
    """The name of PRECISIONS for how a file's weights are kept: what it says, else what most of its weights are."""
    said = FILE_TYPES.get(header.get("general.file_type", int, -1))
    if said is not None:
        return said
    elements: Counter[str] = Counter()
    for tensor in header.tensors.values():
        elements[tensor.type.name] += tensor.elements
    most = elements.most_common(1)[0][0] if elements else "F32"
    return most if most in PRECISIONS else next((name for name in (f"{most}_M", f"{most}_S") if name in PRECISIONS),
                                                most)


def recipe(weights: Weights, type: str, tool: Tool, imatrix: Path | None = None) -> dict[str, Any]:
    """How the file is made: everything that its bytes depend on. Reads headers; raises Failure for a file that is none.

    The number of threads is no part of it: it changes no byte.
    """
    from modelkit.models.digests import file_digest
    from modelkit.models.formats.gguf_reader import read_header

    return {"tool": "llama_model_quantize", "version": tool.version, "input": weights.digest,
            "arguments": {"type": type, "allow_requantize": type_of(read_header(weights.path)) not in WHOLE,
                          "imatrix": None if imatrix is None else file_digest(_there(imatrix))}}


def locate(weights: Weights, type: str, tool: Tool, *, store: Store | None = None, imatrix: Path | None = None,
           verify: bool = False) -> Weights | None:
    """What `quantize` would return if it is here and whole, None otherwise. `verify` reads every byte of it."""
    from modelkit.models.formats.gguf_reader import read_header

    if weights.form == "gguf" and type_of(read_header(weights.path)) == type:
        return weights
    found = derived.find(recipe(weights, type, tool, imatrix), store or Store(), verify=verify)
    return None if found is None else _weights(weights, found)


def quantize(weights: Weights, type: str, tool: Tool, *, store: Store | None = None, on_progress: Progress = quiet,
             imatrix: Path | None = None, threads: int | None = None, verify: bool = False) -> Weights:
    """`weights`, a GGUF, with the precision `type`: as they are if they have it, else made once and kept.

    The same inputs give the same bytes whatever `threads` is (None: as many as the machine has). Raises Failure:
    `quantize-up`, `needs-importance-matrix` and others of `presume_possible`, `quantize-failed`, `tool-…`.
    """
    from modelkit.models.convert.joined import whole_header
    from modelkit.models.formats.splits import read_split

    if weights.form != "gguf":
        raise Failure("quantize-form", f"{type} is a precision of GGUF files, and {weights.reference} is "
                      f"{weights.form}", "make a GGUF of it first")
    store, model = store or Store(), read_split(Path(weights.path))
    header = whole_header(model)
    source = type_of(header)
    presume_possible(source, type, imatrix is not None)
    if source == type:
        return weights
    if type == "MXFP4" and not header.get(f"{header.architecture}.expert_count", int, 0):
        raise Failure("quantize-type-unfit", "MXFP4 is for the experts of a mixture, and this model has none: "
                      "llama.cpp would make Q8_0 of it", "take Q8_0, Q4_K_M or IQ4_NL")
    how, label = recipe(weights, type, tool, imatrix), f"quantizing to {type}"
    made = derived.make(how, store, partial(_write, weights, model, tool=tool, how=how, imatrix=imatrix,
                                             store=store, on_progress=on_progress, label=label, threads=threads),
                        label=label, on_progress=on_progress, verify=verify)
    return _weights(weights, made)


def _write(weights: Weights, model: Split, folder: Path, *, tool: Tool, how: dict[str, Any], imatrix: Path | None,
           store: Store, on_progress: Progress, label: str, threads: int | None) -> None:
    from modelkit.models.convert.joined import is_digest, whole_header

    source, target, type = Path(weights.path).absolute(), folder / _FILE, how["arguments"]["type"]
    header = whole_header(model)
    if not is_digest(weights.digest, model, {str(path): store.digest(path, on_progress) for path in model.paths}):
        raise Failure("model-changed", f"{source} is no longer the file that was planned with", "run it again")
    request = {"source": str(source), "target": str(target), "type": _NUMBERS[type], "dry_run": False, "label": label,
               "threads": threads or _processors(), "requantize": how["arguments"]["allow_requantize"],
               "sizes": {name: tensor.size for name, tensor in header.tensors.items()},
               "imatrix": None if imatrix is None else _laid_out(imatrix, folder.parent)}

    def child(**more: Any) -> dict[str, Any]:
        said = run_child(tool, _SCRIPT, request | more, work=folder.parent, on_progress=on_progress)
        if said["status"] != 0:
            raise _refused(said["reason"], type, weights)
        return said

    store.need_space(child(dry_run=True)["bytes"] + model.first.data_offset + _SLACK, label)
    child()
    _presume_complete(target, header, type)


def _laid_out(imatrix: Path, work: Path) -> dict[str, Any]:
    """An importance matrix as the child takes it: one file of floats, and where each tensor's begin."""
    from modelkit.models.formats.imatrix import read_imatrix

    tensors, at = [], 0
    with (work / "imatrix.f32").open("xb") as file:
        for name, values in read_imatrix(imatrix).items():
            file.write(values.astype("<f4").tobytes())
            tensors.append((name, at, len(values)))
            at += len(values)
    return {"file": file.name, "tensors": tensors}


def _presume_complete(target: Path, source: Header, type: str) -> None:
    """Has the tool made what it was asked for? It is only C++ with a status of one bit."""
    from modelkit.models.formats.gguf_reader import read_header

    try:
        made = read_header(target)
        shapes = {name: tensor.shape for name, tensor in made.tensors.items()}
        whole = shapes == {name: tensor.shape for name, tensor in source.tensors.items()}
        right = whole and type_of(made) == type and made.architecture == source.architecture
    except Failure:
        right = False
    if not right:
        raise Failure("quantize-failed", f"what the quantizer wrote is not the model as {type}",
                      "make the quantizer anew: `modelkit tool install quantizer --reinstall`")


def _refused(reason: str, type: str, weights: Weights) -> Failure:
    """llama.cpp's reason, in a Failure."""
    name = Path(weights.reference).name
    if "mportance matrix" in reason or "imatrix" in reason:
        return Failure("imatrix-unfit", f"the importance matrix does not fit {name}: {reason}",
                       "give the one that was made for this very model")
    if "iostream" in reason or "basic_ios" in reason:
        return Failure("disk-full", f"writing {name} as {type} failed", "make room on the disk and run it again")
    return Failure("quantize-failed", f"llama.cpp cannot make {name} into {type}: {reason or 'it says no reason'}",
                   "if it names an architecture, a newer quantizer may know it")


def _processors() -> int:
    """As many as we may use, which are fewer than the machine has in a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _there(path: Path) -> Path:
    if not path.is_file():
        raise Failure("imatrix-missing", f"there is no file {path}", "make it with `llama-imatrix`")
    return path


def _weights(source: Weights, made: derived.Derived) -> Weights:
    from modelkit.models.weights import Weights

    said = made.manifest["files"][_FILE]
    return Weights(reference=source.reference, form="gguf", path=str(made.path / _FILE),
                   digest=f"sha256:{said['sha256']}", size=said["size"], recipe=made.manifest["recipe"])
