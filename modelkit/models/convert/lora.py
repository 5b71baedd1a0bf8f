"""LoRA adapters: PEFT's folder to llama.cpp's GGUF by its own converter, and back by us.

Facts from llama.cpp's convert_lora_to_gguf.py and src/llama-adapter.cpp: tensors are called `<tensor>.lora_a` (rank
rows) and `<tensor>.lora_b`; B's rows are interleaved where those of the base's tensor are; the strength is
`adapter.lora.alpha` divided by each pair's rank, and 1 where alpha is 0. PEFT divides by the rank too, by its root with
`use_rslora`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from modelkit.failure import Failure
from modelkit.models.convert import derived
from modelkit.models.convert.to_gguf import gguf_in, presume_readable, show
from modelkit.models.convert.tool import CHILDREN, Tool, run_child
from modelkit.models.store import Progress, Store, quiet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelkit.models.convert.families import Slot
    from modelkit.models.formats.gguf import Header, Tensor
    from modelkit.models.weights import Weights

_GGUF = "adapter.gguf"
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_SCRIPT = CHILDREN / "to_gguf_child.py"
_LARGEST_CONFIG = 1 << 20
_NEUTRAL: dict[str, tuple[Any, ...]] = {  # what llama.cpp's form has no place for
    "bias": ("none", None), "use_dora": (False, None), "fan_in_fan_out": (False, None), "lora_bias": (False, None),
    "modules_to_save": (None, []), "alpha_pattern": (None, {}), "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []), "layer_replication": (None, []),
}


def gguf_adapter(adapter: Weights, base: Weights, tool: Tool, *, store: Store | None = None,
                 on_progress: Progress = quiet, verify: bool = False) -> Weights:
    """The GGUF of a PEFT folder, made now if it is not here. Of `base`, in any form, only the configuration is read.

    Raises Failure: `adapter-unfit` for what llama.cpp's form cannot say, `tool-…`.
    """
    if adapter.form == "gguf":
        return adapter
    store, label = store or Store(), f"converting {Path(adapter.reference).name} to GGUF"
    config, asked = _config_of(base), _presume_plain(Path(adapter.path))
    how = _recipe(adapter, config, tool)

    def write(folder: Path) -> None:
        work = folder.parent
        source = show(Path(adapter.path), (_WEIGHTS,), work / "adapter")
        (source / _CONFIG).write_text(json.dumps(asked))
        (work / "base").mkdir()
        (work / "base" / "config.json").write_bytes(config)
        store.need_space(2 * (source / _WEIGHTS).stat().st_size, label)
        run_child(tool, _SCRIPT, {"source": str(source), "base": str(work / "base"), "target": str(folder / _GGUF),
                                  "label": label}, work=work, on_progress=on_progress)
        presume_readable(folder / _GGUF, "to-gguf-failed")

    made = derived.make(how, store, write, label=label, on_progress=on_progress, verify=verify)
    return gguf_in(made, _GGUF, adapter.reference)


def locate_gguf(adapter: Weights, base: Weights, tool: Tool, *, store: Store) -> Weights | None:
    """What `gguf_adapter` would give, if it is here."""
    if adapter.form == "gguf":
        return adapter
    made = derived.find(_recipe(adapter, _config_of(base), tool), store)
    return None if made is None else gguf_in(made, _GGUF, adapter.reference)


def presume_convertible(adapter: Weights) -> None:
    """Raise Failure `adapter-unfit` for what an adapter in PEFT's form says and GGUF cannot."""
    if adapter.form == "safetensors":
        _presume_plain(Path(adapter.path))


def _recipe(adapter: Weights, config: bytes, tool: Tool) -> dict[str, Any]:
    return {"tool": "convert_lora_to_gguf", "version": tool.version, "input": adapter.digest,
            "arguments": {"base": "sha256:" + hashlib.sha256(config).hexdigest()}}


def peft_folder(adapter: Weights, base: Weights, *, store: Store | None = None, on_progress: Progress = quiet,
                verify: bool = False) -> Weights:
    """The PEFT folder of a GGUF adapter, made now if it is not here. Of `base`, in any form, only the shape is read.

    Raises Failure: `adapter-unfit`, `architecture-not-yet`, `gguf-invalid`.
    """
    if adapter.form == "safetensors":
        return adapter
    store, way = store or Store(), _peft_way(adapter, base)
    label = f"converting {Path(adapter.reference).name} to PEFT's form"
    return way.made(derived.make(way.recipe, store, way.write, label=label, on_progress=on_progress, verify=verify))


def locate_peft(adapter: Weights, base: Weights, *, store: Store) -> Weights | None:
    """What `peft_folder` would give, if it is here. Raises Failure as it does."""
    if adapter.form == "safetensors":
        return adapter
    way = _peft_way(adapter, base)
    made = derived.find(way.recipe, store)
    return None if made is None else way.made(made)


@dataclass(frozen=True)
class _PeftWay:
    """How a GGUF adapter becomes a PEFT folder."""

    reference: str
    recipe: dict[str, Any]
    write: Callable[[Path], None]

    def made(self, made: derived.Derived) -> Weights:
        from modelkit.models.weights import Weights

        return Weights(reference=self.reference, form="safetensors", path=str(made.path), digest=made.digest,
                       size=made.size, recipe=made.manifest["recipe"])


def _peft_way(adapter: Weights, base: Weights) -> _PeftWay:
    from modelkit.models.digests import digest
    from modelkit.models.formats.gguf_reader import read_header

    header = read_header(adapter.path)
    architecture, known = slots_of(base)
    if header.architecture != architecture:
        _refuse(Path(adapter.path), f"it is for the architecture `{header.architecture}`, and {base.reference} is "
                f"`{architecture}`", "take the adapter that was trained for this base")
    pairs = _pairs(header, {slot.source: slot for slot in known})
    name = base.reference if "://" in base.reference else Path(base.reference).name  # the same on every machine
    layers = len({slot.target.split(".")[2] for slot in known if slot.target.startswith("model.layers.")})
    shape = {slot.target: [slot.shape, slot.heads] for slot, _, _ in pairs}
    how = {"tool": "modelkit peft", "version": 1, "input": adapter.digest,
           "arguments": {"base": digest(shape), "name": name}}
    return _PeftWay(adapter.reference, how, partial(_write_peft, header=header, pairs=pairs, name=name, layers=layers))


def _presume_plain(folder: Path) -> dict[str, Any]:
    """The adapter's configuration as the converter may have it: the strength as it counts alpha."""
    try:
        with (folder / _CONFIG).open("rb") as file:
            said = json.loads(file.read(_LARGEST_CONFIG))
        rank, alpha = int(said["r"]), float(said["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError):
        _refuse(folder, f"its {_CONFIG} is missing or says no `r` and `lora_alpha`")
    if not (folder / _WEIGHTS).is_file():
        _refuse(folder, f"it has no {_WEIGHTS}", "save it with `safe_serialization=True`: pickles are never opened")
    if said.get("peft_type") != "LORA":
        _refuse(folder, f"its type is {said.get('peft_type')!r}, not LORA")
    for key, neutral in _NEUTRAL.items():
        if said.get(key) not in neutral:
            _refuse(folder, f"`{key}` is {json.dumps(said[key])[:60]}, which llama.cpp's form has no place for")
    if said.get("use_rslora"):
        if said.get("rank_pattern"):
            _refuse(folder, "`use_rslora` with a `rank_pattern` has another strength for each rank")
        said |= {"lora_alpha": alpha * math.sqrt(rank), "use_rslora": False}
    return dict(said)


def _config_of(base: Weights) -> bytes:
    """`config.json` of a base in any form."""
    if base.form == "safetensors":
        return (Path(base.path) / "config.json").read_bytes()
    from modelkit.models.convert.hf_config import config
    from modelkit.models.convert.vocabulary import read_vocabulary
    from modelkit.models.formats.gguf_reader import read_header

    header = read_header(base.path)
    return json.dumps(config(header, read_vocabulary(header)), sort_keys=True).encode()


def slots_of(base: Weights) -> tuple[str, tuple[Slot, ...]]:
    """The architecture of a base, and its tensors in Hugging Face's words and in llama.cpp's.

    Raises Failure `architecture-not-yet`.
    """
    from modelkit.models.convert.families import FAMILIES, Dimensions, dimensions_of, family_of
    from modelkit.models.formats.gguf_reader import read_header

    if base.form == "gguf":
        header = read_header(base.path)
        family, shape, architecture = family_of(header), dimensions_of(header), header.architecture
        embedding = header.tensors.get("token_embd.weight")
        vocabulary = embedding.shape[-1] if embedding is not None else 1
    else:
        said = json.loads(_config_of(base))
        try:
            (model,) = said["architectures"]
            family = next(one for one in FAMILIES.values() if one.model == model)
            heads, width, vocabulary = said["num_attention_heads"], said["hidden_size"], said["vocab_size"]
            shape = Dimensions(said["num_hidden_layers"], width, said["intermediate_size"], heads,
                               said.get("num_key_value_heads") or heads, said.get("head_dim") or width // heads)
        except (KeyError, TypeError, ValueError, StopIteration):
            raise Failure("architecture-not-yet", f"{base.reference} is of a kind that adapters can't be converted for "
                          f"yet", f"converted so far: {', '.join(sorted(FAMILIES))}") from None
        architecture = family.architecture
    return architecture, tuple(family.slots(shape, vocabulary))


def _pairs(header: Header, slots: dict[str, Slot]) -> list[tuple[Slot, Tensor, Tensor]]:
    """Each tensor that the adapter changes, with its A and its B, in the order of the base's."""
    if header.get("adapter.type", str, "") != "lora":
        _refuse(header.path, "it is not a LoRA adapter")
    if "adapter.alora.invocation_tokens" in header.metadata:
        _refuse(header.path, "it acts only after certain tokens (aLoRA)")
    names = {name.removesuffix(".lora_a").removesuffix(".lora_b") for name in header.tensors}
    for name in sorted(names):
        a, b, slot = header.tensors.get(f"{name}.lora_a"), header.tensors.get(f"{name}.lora_b"), slots.get(name)
        if slot is None or a is None or b is None or name == "token_embd.weight" or len(slot.source_shape) != 2:
            _refuse(header.path, f"what it does to `{name}` can't be said in PEFT's form yet")
        if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[0] or (b.shape[1], a.shape[0]) != slot.shape:
            _refuse(header.path, f"its pair for `{name}` is {a.shape} and {b.shape}, which does not fit {slot.shape}",
                    "take the adapter that was trained for this base")
    return [(slot, header.tensors[f"{name}.lora_a"], header.tensors[f"{name}.lora_b"])
            for name, slot in slots.items() if name in names]


def _write_peft(folder: Path, *, header: Header, pairs: list[tuple[Slot, Tensor, Tensor]], name: str,
                layers: int) -> None:
    from modelkit.models.formats.safetensors_writer import SafetensorsWriter

    said = _peft_config(header, pairs, name, layers)
    (folder / _CONFIG).write_text(json.dumps(said, indent=2) + "\n", "utf-8")
    tensors = {}
    for slot, a, b in pairs:
        module = "base_model.model." + slot.target.removesuffix(".weight")
        tensors[f"{module}.lora_A.weight"] = (a, 0)
        tensors[f"{module}.lora_B.weight"] = (b, slot.heads)
    kinds = {name: (_kind(tensor), tuple(reversed(tensor.shape))) for name, (tensor, _) in tensors.items()}
    with SafetensorsWriter(folder / _WEIGHTS, kinds) as out:
        for tensor, heads in tensors.values():
            out.write(_rows(header, tensor, heads).tobytes())


def _peft_config(header: Header, pairs: list[tuple[Slot, Tensor, Tensor]], name: str, layers: int) -> dict[str, Any]:
    ranks = {slot.target.removesuffix(".weight"): a.shape[1] for slot, a, _ in pairs}
    rank = Counter(ranks.values()).most_common(1)[0][0] if ranks else 1
    others = {module: one for module, one in ranks.items() if one != rank}
    alpha: float = header.get("adapter.lora.alpha", float, 0.0)
    modules = Counter(module.rpartition(".")[2] for module in ranks)
    everywhere = all(count == layers for count in modules.values())
    return {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": name, "bias": "none",
        "r": rank, "rank_pattern": others, "lora_alpha": (int(alpha) if alpha.is_integer() else alpha) or rank,
        "alpha_pattern": {} if alpha else others, "lora_dropout": 0.0, "fan_in_fan_out": False, "use_rslora": False,
        "use_dora": False, "modules_to_save": None, "inference_mode": True,
        "target_modules": sorted(modules) if everywhere else sorted(ranks),
    }


def _kind(tensor: Tensor) -> str:
    return tensor.type.name if tensor.type.name in ("F32", "F16", "BF16") else "F32"


def _rows(header: Header, tensor: Tensor, heads: int) -> NDArray[np.generic]:
    """A tensor's rows, those inside each head taken apart again where they are interleaved."""
    import numpy as np

    with header.path.open("rb") as file:
        file.seek(tensor.offset)
        raw = np.frombuffer(file.read(tensor.size), np.uint8)
    count, width = tensor.shape[1], tensor.shape[0]
    rows: NDArray[np.generic]
    if tensor.type.name == _kind(tensor):
        rows = raw.view({"F32": "<u4", "F16": "<u2", "BF16": "<u2"}[tensor.type.name]).reshape(count, width)
    else:
        from gguf import GGMLQuantizationType, quants

        try:
            rows = quants.dequantize(raw.reshape(count, -1), GGMLQuantizationType[tensor.type.name]).astype("<f4")
        except (KeyError, NotImplementedError):
            _refuse(header.path, f"its tensors are {tensor.type.name}")
    if not heads:
        return rows
    return rows.reshape(heads, count // heads // 2, 2, width).swapaxes(1, 2).reshape(count, width)


def _refuse(path: Path, what: str, hint: str | None = None) -> NoReturn:
    raise Failure("adapter-unfit", f"the adapter {path.name} can't be converted: {what}",
                  hint or "take one in the form that the engine loads", data={"path": str(path)})
