"""From the form that a base has to the form and precision that an engine loads: which steps, and what is made already.

    base GGUF,        llama.cpp:  as it is, or quantized
    base GGUF,        vLLM:       de-quantized, or de-quantized and compressed
    base safetensors, llama.cpp:  converted, or converted and quantized
    base safetensors, vLLM:       as it is, or compressed

vLLM loads no GGUF: where a stage on vLLM asks for a GGUF type it gets the numbers of that type, written out in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS
from modelkit.models.convert.tool import Name, Tool
from modelkit.models.store import Progress, Store, quiet

if TYPE_CHECKING:
    from modelkit.models.weights import Weights

Kind = Literal["dequantize", "convert", "quantize", "compress"]
TOOL_OF: Mapping[Kind, Name | None] = {"dequantize": None, "convert": "converter", "quantize": "quantizer",
                                      "compress": "compressor"}
_FLOATS = ("F32", "F16", "BF16")
_NOT_MADE = ("nvfp4",)  # by anybody yet: the lowering says that it is lost


@dataclass(frozen=True)
class Step:
    """One thing to make from the step before, or from the base. `precision` is a word of QUANTIZE, "" for its own."""

    kind: Kind
    precision: str = ""
    imatrix: str | None = None  # path of an importance matrix

    @property
    def tool(self) -> Name | None:
        return TOOL_OF[self.kind]

    def __str__(self) -> str:
        return {"dequantize": "de-quantize it into a bfloat16 safetensors folder",
                "convert": f"convert it to GGUF{f' ({self.precision})' if self.precision else ''}",
                "quantize": f"quantize it to {self.precision}",
                "compress": f"compress it to {self.precision}"}[self.kind]


def route(have: Literal["gguf", "safetensors"], precision: str, need: Literal["gguf", "safetensors"],
          wanted: str | None = None, imatrix: str | None = None) -> tuple[Step, ...]:
    """What to make from a base of form `have` and `precision` (a word of QUANTIZE or a dtype, "" when unknown).

    `wanted` is QUANTIZE's word; None and "none" ask for the base's own. Raises Failure for what can't be made.
    """
    wanted = None if wanted in (None, "none", "auto") else wanted
    kind = PRECISIONS[wanted].form if wanted else "any"
    if need == "gguf":
        return _gguf(have, precision, wanted if kind == "gguf" else None, imatrix)
    if kind == "gguf" and wanted not in ("BF16", precision):
        return (*_gguf(have, precision, wanted, imatrix), Step("dequantize"))
    opened = (Step("dequantize"),) if have == "gguf" else ()
    if kind == "safetensors" and wanted and wanted not in _NOT_MADE and not _same(wanted, precision):
        return (*opened, Step("compress", wanted))
    return opened


def _gguf(have: str, precision: str, wanted: str | None, imatrix: str | None) -> tuple[Step, ...]:
    from modelkit.models.convert.quantize import presume_possible

    if have == "safetensors":
        if wanted is None or wanted in _FLOATS:
            return (Step("convert", wanted or ""),)
        presume_possible("BF16", wanted, imatrix is not None)
        return (Step("convert"), Step("quantize", wanted, imatrix))
    if wanted is None or wanted == precision:
        return ()
    presume_possible(precision, wanted, imatrix is not None)
    return (Step("quantize", wanted, imatrix),)


def _same(wanted: str, precision: str) -> bool:
    return wanted.lower() == precision.lower()


def reach(base: Weights, steps: tuple[Step, ...], tools: Mapping[str, Tool], store: Store,
          ) -> tuple[Weights, tuple[Step, ...]]:
    """The last form on the way that is here already, and the steps that are left. Makes nothing."""
    at = base
    for done, step in enumerate(steps):
        found = locate(at, step, tools, store)
        if found is None:
            return at, steps[done:]
        at = found
    return at, ()


def trail(base: Weights | None, steps: tuple[Step, ...], tools: Mapping[str, Tool], store: Store,
          ) -> list[Weights | None]:
    """What each step made, as far as it is here."""
    found: list[Weights | None] = []
    for step in steps:
        base = None if base is None else locate(base, step, tools, store)
        found.append(base)
    return found


def maker(step: Step, tools: Mapping[str, Tool]) -> str:
    """Name and version of what takes a step, as locks and recipes say it; "" when it is not here."""
    if step.kind == "dequantize":
        from modelkit.models.convert.folder import MAKER

        return MAKER
    return tools[step.tool].version if step.tool and step.tool in tools else ""


def make(base: Weights, steps: tuple[Step, ...], tools: Mapping[str, Tool], store: Store,
         on_progress: Progress = quiet) -> Weights:
    """Take all the steps, each only where its result is not here. Raises Failure when a tool is missing."""
    at = base
    for step in steps:
        at = locate(at, step, tools, store) or _make(at, step, tools, store, on_progress)
    return at


def locate(at: Weights, step: Step, tools: Mapping[str, Tool], store: Store) -> Weights | None:
    """What a step makes from `at`, if it was made before."""
    if step.tool is not None and step.tool not in tools:
        return None
    match step.kind:
        case "dequantize":
            from modelkit.models.convert import folder

            return folder.locate_folder(at, store)
        case "convert":
            from modelkit.models.convert import to_gguf

            return to_gguf.locate(at, _tool(step, tools), type=step.precision or "auto", store=store)
        case "quantize":
            from modelkit.models.convert import quantize

            return quantize.locate(at, step.precision, _tool(step, tools), store=store,
                                   imatrix=_path(step.imatrix))
        case "compress":
            from modelkit.models.convert import compress

            return compress.locate(at, step.precision, _tool(step, tools), store=store)


def _make(at: Weights, step: Step, tools: Mapping[str, Tool], store: Store, on_progress: Progress) -> Weights:
    match step.kind:
        case "dequantize":
            from modelkit.models.convert import folder

            return folder.huggingface_folder(at, store, on_progress)
        case "convert":
            from modelkit.models.convert import to_gguf

            return to_gguf.gguf_file(at, _tool(step, tools), type=step.precision or "auto", store=store,
                                     on_progress=on_progress)
        case "quantize":
            from modelkit.models.convert import quantize

            return quantize.quantize(at, step.precision, _tool(step, tools), store=store, on_progress=on_progress,
                                     imatrix=_path(step.imatrix))
        case "compress":
            from modelkit.models.convert import compress

            return compress.compress(at, step.precision, _tool(step, tools), store=store, on_progress=on_progress)


def precision(weights: Weights) -> str:
    """The word of QUANTIZE for what weights are, else their dtype; "" when the files do not say."""
    if weights.form == "gguf":
        from modelkit.models.convert.quantize import type_of
        from modelkit.models.formats.gguf_reader import read_header

        return type_of(read_header(weights.path))
    from modelkit.models.facts import facts

    return facts(weights).quantization


def _tool(step: Step, tools: Mapping[str, Tool]) -> Tool:
    assert step.tool is not None
    if (tool := tools.get(step.tool)) is None:
        raise Failure("tool-missing", f"the {step.tool} is not installed, and a stage wants to {step}",
                      f"modelkit tool install {step.tool}", data={"tool": step.tool})
    return tool


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
