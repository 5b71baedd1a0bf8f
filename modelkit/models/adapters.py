"""Facts of a LoRA adapter, read from its own files: its rank, the matrices it changes, the base it was made for.

Two forms: PEFT's folder (`adapter_config.json` and `adapter_model.safetensors`), and llama.cpp's GGUF with
`general.type` `adapter`. In both a change is a pair: A has rank rows, B has the rows of the base's matrix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.models.weights import Weights

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_PAIR = re.compile(r"(?P<module>.+)\.lora_(?:(?P<matrix>[AB])\.(?:[^.]+\.)?weight"
                   r"|embedding_(?P<embedding>[AB])(?:\.[^.]+)?)")
_PREFIX = "base_model.model."
_EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "lm_head")


@dataclass(frozen=True)
class Change:
    """What an adapter does to one matrix of its base, which has `rows` and `columns`."""

    rank: int
    rows: int
    columns: int


@dataclass(frozen=True)
class AdapterFacts:
    """What an adapter's files say about it.

    `changes` goes by module (`model.layers.0.self_attn.q_proj`) in PEFT's form and by tensor (`blk.0.attn_q.weight`) in
    GGUF. `base` is the base as the adapter names it, "" where it does not. `tables` are whole embeddings that lie
    beside the pairs, by module, with their rows. `config` is PEFT's configuration.
    """

    form: Literal["gguf", "safetensors"]
    rank: int
    changes: Mapping[str, Change]
    base: str = ""
    architecture: str = ""  # of the base, in llama.cpp's words; "" in PEFT's form
    tables: Mapping[str, int] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def adapter_facts(adapter: Weights) -> AdapterFacts:
    """The facts of an adapter that is on this machine. Raises Failure `adapter-invalid` for what is none."""
    return _of_folder(Path(adapter.path)) if adapter.form == "safetensors" else _of_gguf(Path(adapter.path))


def _of_folder(folder: Path) -> AdapterFacts:
    from modelkit.models.formats.access import LocalFile
    from modelkit.models.formats.json_file import read_json
    from modelkit.models.formats.safetensors_reader import read_header

    said = read_json(LocalFile(folder / CONFIG), 1 << 20)
    if not isinstance(said, dict) or not isinstance(said.get("r"), int) or said["r"] <= 0:
        _invalid(folder, f"its {CONFIG} names no rank (`r`)")
    if said.get("peft_type", "LORA") != "LORA":
        _invalid(folder, f"it is of the kind {str(said['peft_type'])[:40]}, and only LORA can be served")
    halves: dict[str, dict[str, tuple[int, ...]]] = {}
    tables: dict[str, int] = {}
    for name, tensor in read_header(folder / WEIGHTS).tensors.items():
        if (pair := _PAIR.fullmatch(name)) is not None:
            half = pair["matrix"] or f"embedding {pair['embedding']}"
            halves.setdefault(pair["module"].removeprefix(_PREFIX), {})[half] = tensor.shape
        elif name.endswith(".weight") and any(f".{table}." in f".{name}" for table in _EMBEDDINGS):
            tables[name.removeprefix(_PREFIX).removesuffix(".weight").removesuffix(".base_layer")] = tensor.shape[0]
        elif not said.get("modules_to_save") and said.get("bias", "none") == "none" and not said.get("use_dora"):
            _invalid(folder, f"its tensor `{name[:100]}` is no part of a LoRA")
    changes = {module: _change(folder, module, found) for module, found in halves.items()}
    if not changes:
        _invalid(folder, "it holds no pair of LoRA matrices")
    patterns = said.get("rank_pattern")
    ranks = [one for one in patterns.values() if isinstance(one, int)] if isinstance(patterns, dict) else []
    return AdapterFacts("safetensors", max(said["r"], *ranks, *(one.rank for one in changes.values())), changes,
                        str(said.get("base_model_name_or_path") or ""), tables=tables, config=said)


def _change(folder: Path, module: str, halves: Mapping[str, tuple[int, ...]]) -> Change:
    """Of an embedding A has a column for each token: it is B of the transposed matrix."""
    if (a := halves.get("A")) and (b := halves.get("B")) and len(a) == len(b) == 2 and a[0] == b[1]:
        return Change(a[0], b[0], a[1])
    if ((a := halves.get("embedding A")) and (b := halves.get("embedding B")) and len(a) == len(b) == 2
            and a[0] == b[1]):
        return Change(a[0], a[1], b[0])
    if ".experts" in module and (a := halves.get("A")) and len(a) == 2:
        return Change(a[0], 0, 0)  # of all experts of a layer in one tensor: how it is cut is the engine's affair
    _invalid(folder, f"the two matrices for `{module[:100]}` do not belong together")


def _of_gguf(path: Path) -> AdapterFacts:
    from modelkit.models.formats.gguf_reader import read_header

    header = read_header(path)
    if header.get("general.type", str, "") != "adapter" or header.get("adapter.type", str, "") != "lora":
        _invalid(path, "it is a GGUF, and no LoRA adapter", "FROM takes models, ADAPTER takes adapters")
    changes = {}
    for name in dict.fromkeys(name.rpartition(".lora_")[0] for name in header.tensors):
        a, b = header.tensors.get(f"{name}.lora_a"), header.tensors.get(f"{name}.lora_b")
        if a is None or b is None or len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[0]:
            _invalid(path, f"the two matrices for `{name[:100]}` do not belong together")
        # Of an embedding the file has the pair of the transposed matrix, as llama.cpp reads rows out of it.
        sides = (a.shape[0], b.shape[1]) if name == "token_embd.weight" else (b.shape[1], a.shape[0])
        changes[name] = Change(a.shape[1], *sides)
    if not changes:
        _invalid(path, "it holds no pair of LoRA matrices")
    named = header.get("general.base_model.0.repo_url", str, "") or header.get("general.base_model.0.name", str, "")
    return AdapterFacts("gguf", max(one.rank for one in changes.values()), changes, named or "",
                        architecture=header.architecture)


_PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")


def refusals(facts: AdapterFacts) -> Iterator[str]:
    """What vLLM does not do with an adapter in PEFT's form, one phrase each.

    The rules of vLLM 0.32's `lora/peft_helper.py`; other engines that read this form leave the same things out, some
    of them in silence.
    """
    said = facts.config
    if said.get("use_dora"):
        yield "it uses DoRA (`use_dora`)"
    if said.get("bias", "none") not in ("none", None) or said.get("lora_bias"):
        yield "it changes biases (`bias`, `lora_bias`)"
    if whole := [str(one) for one in said.get("modules_to_save") or () if one not in ("classifier", "score")]:
        yield f"it replaces whole modules (`modules_to_save`: {', '.join(whole[:4])})"
    start = said.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower() not in _PLAIN_STARTS:
        yield f"it was started as {start[:40]} (`init_lora_weights`), which changes the base's own weights"
    for key, what in (("alora_invocation_tokens", "it acts only after certain tokens"),
                      ("layer_replication", "it repeats layers of the base"),
                      ("use_bdlora", "it is block-diagonal"), ("use_qalora", "it is grouped (QALoRA)")):
        if said.get(key):
            yield f"{what} (`{key}`)"


def presume_fits(facts: AdapterFacts, base: Weights, name: str) -> None:
    """Raise Failure `adapter-not-for-base` unless each change has its matrix in the base, of the same shape.

    `name` is what the adapter is called. Of bases whose shapes can't be known in the adapter's words nothing is said.
    """
    shapes = _shapes(base, facts)
    if shapes is None:
        return
    ends: dict[str, list[tuple[int, int]]] = {}
    for module, shape in shapes.items():
        ends.setdefault(_end(module), []).append(shape)
    for module, change in facts.changes.items():
        there = [shapes[module]] if module in shapes else ends.get(_end(module), [])
        if not there and _end(module) == "lm_head":  # the embedding is used again
            there = [shape for end, found in ends.items() if end in ("embed_tokens", "wte") for shape in found]
        if not there and ".experts" not in module:
            _misfit(facts, name, base, f"it changes `{module}`, which the base does not have")
        if change.rows and there and (change.rows, change.columns) not in there:
            _misfit(facts, name, base, f"it changes `{module}` as {change.rows} × {change.columns}, and the base's is "
                    f"{there[0][0]} × {there[0][1]}")
    for table, rows in facts.tables.items():
        there = ends.get(_end(table), [])
        if there and rows not in [shape[0] for shape in there]:
            _misfit(facts, name, base, f"it was trained with {rows} tokens, and the base has {there[0][0]}",
                    "merge it into its base, tokens included, and name the result in FROM")


def _end(module: str) -> str:
    """A module's name from its layer on: what stands before it differs between a model and parts of a larger one."""
    _, layers, rest = module.partition("layers.")
    return rest if layers else module if module.endswith(".weight") else module.rpartition(".")[2]


def _shapes(base: Weights, facts: AdapterFacts) -> Mapping[str, tuple[int, int]] | None:
    """Rows and columns of each matrix of a base by the adapter's word for it; None where they can't be known."""
    if base.form == facts.form == "gguf":
        from modelkit.models.formats.splits import read_split

        model = read_split(Path(base.path))
        _presume_architecture(facts, base, model.first.architecture)
        return {name: (one.shape[1], one.shape[0]) for name, (_, one) in model.tensors.items() if len(one.shape) == 2}
    if base.form == facts.form:
        from modelkit.models.formats.checkpoint import read_checkpoint

        tensors = read_checkpoint(Path(base.path)).tensors
        if any(name.endswith((".qweight", ".weight_packed")) for name in tensors):
            return None  # its matrices are packed, by rules of their own
        return {name.removesuffix(".weight"): (one.shape[0], one.shape[1]) for name, (_, one) in tensors.items()
                if len(one.shape) == 2}
    from modelkit.models.convert.lora import slots_of

    try:
        architecture, slots = slots_of(base)
    except Failure as failure:
        if failure.code != "architecture-not-yet":
            raise
        return None
    _presume_architecture(facts, base, architecture)
    return {slot.source if facts.form == "gguf" else slot.target.removesuffix(".weight"): (slot.shape[0], slot.shape[1])
            for slot in slots if len(slot.shape) == 2}


def _presume_architecture(facts: AdapterFacts, base: Weights, architecture: str) -> None:
    if facts.architecture not in ("", architecture):
        _misfit(facts, "the adapter", base, f"it is for the architecture `{facts.architecture}`, and the base is "
                f"`{architecture}`")


def _misfit(facts: AdapterFacts, name: str, base: Weights, what: str, hint: str | None = None) -> NoReturn:
    made = f"it says that it was made for `{facts.base[:120]}`: name that in FROM, or " if facts.base else ""
    raise Failure("adapter-not-for-base", f"{name} is not for {base.reference}: {what}",
                  hint or f"{made}take an adapter that was trained for this base", data={"base": facts.base})


def _invalid(path: Path, what: str, hint: str | None = None) -> NoReturn:
    raise Failure("adapter-invalid", f"the adapter {path} can't be used: {what}",
                  hint or "save it with PEFT's `save_pretrained`, or take another one", data={"path": str(path)})
