"""Which files of a repository are the model: by quantization, by name, or as the repository is laid out.

Knows lists of names, not networks. What a quantization is called follows llama.cpp's names of file types and what
quantizers add to them (`UD-`, `_L`, `_XL`); split files are named as llama.cpp's gguf-split names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from modelkit.failure import Failure
from modelkit.models.artifact import Form, Role, presume_inside
from modelkit.models.nearest import nearest

DEFAULT_QUANTIZATION = "Q4_K_M"  # llama.cpp's and Ollama's choice where nothing is said

_QUANTIZATION = re.compile(r"(?<![A-Za-z0-9])(?:UD-)?(?:I?Q[0-9](?:_(?:[0-9]|K|X*[SML]|NL)(?![A-Za-z0-9]))*|"
                           r"TQ[0-9]_[0-9]|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32)(?![A-Za-z0-9])", re.IGNORECASE)
_SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<suffix>\.gguf|\.safetensors)",
                    re.IGNORECASE)
_NOT_A_MODEL = re.compile(r"mmproj|imatrix|ggml-vocab", re.IGNORECASE)
_ROLES: dict[str, Role] = {
    **dict.fromkeys((
        "config.json", "generation_config.json", "params.json", "quantize_config.json", "hf_quant_config.json",
        "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt",
        "merges.txt", "special_tokens_map.json", "added_tokens.json", "preprocessor_config.json",
        "processor_config.json", "video_preprocessor_config.json", "modules.json", "sentence_bert_config.json",
        "config_sentence_transformers.json", "1_Pooling/config.json"), "config"),
    "chat_template.jinja": "template", "chat_template.json": "template",
    **dict.fromkeys(("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "USE_POLICY.md"), "license"),
}
_INDEX = "model.safetensors.index.json"
_OLD_INDEX = "consolidated.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_LARGEST_LICENSE = 256 << 10
_MOST_LISTED = 40


@dataclass(frozen=True, slots=True, order=True)
class Listed:
    """A file that a repository says it has. `sha256` is None where only its content says it."""

    path: str
    size: int
    sha256: str | None = None
    git: str | None = None  # its name in git: sha1 over its size and content


@dataclass(frozen=True)
class Picked:
    """The files of one model, each with its role; `pick` names exactly these again, empty for the repository's own."""

    form: Form
    files: tuple[tuple[Listed, Role], ...]
    pick: str = ""


@dataclass(frozen=True)
class Quantized:
    """One model as GGUF: a file, or the files that it is split into."""

    name: str  # its path, that of the first one if there are several
    files: tuple[Listed, ...]

    @property
    def quantization(self) -> str:
        """What its name, or else its folder's, says: `Q4_K_M`; empty when that is nothing."""
        path = PurePosixPath(_whole(self.name))
        found = _QUANTIZATION.findall(path.stem) or _QUANTIZATION.findall(path.parent.name)
        return found[-1].upper() if found else ""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def pick_files(listing: Iterable[Listed], pick: str, where: str, read: Callable[[Listed], dict[str, str]]) -> Picked:
    """The model in a listing. `read` gives the weight map of an index. Raises Failure that says what there is."""
    files = {file.path: file for file in listing}
    models = quantized(files.values())
    if pick:
        return _gguf(_named(models, pick, where), models)
    if (safetensors := _safetensors(files, where, read)) is not None:
        return safetensors
    if not models:
        raise _nothing(files, where)
    usual = [model for model in models if model.quantization == DEFAULT_QUANTIZATION]
    if len(usual) != 1 and len(models) != 1:
        raise Failure("quantization-ambiguous", f"{where} has {len(models)} models as GGUF, and "
                      f"{'none' if not usual else 'more than one'} of them is `{DEFAULT_QUANTIZATION}`: say which",
                      f"write `{where}:{_call(models[0], models)}`", _table(models))
    return _gguf(usual[0] if len(usual) == 1 else models[0], models)


def quantized(files: Iterable[Listed]) -> list[Quantized]:
    """The GGUF models in a listing, without projectors and importance matrices, by name."""
    groups: dict[str, list[Listed]] = {}
    for file in sorted(files):
        name = PurePosixPath(file.path).name
        if name.lower().endswith(".gguf") and not _NOT_A_MODEL.search(name):
            groups.setdefault(_whole(file.path), []).append(file)
    return [Quantized(group[0].path, tuple(group)) for group in groups.values()]


def _whole(path: str) -> str:
    """The name that a file has together with the others that it was split into."""
    match = _SPLIT.fullmatch(path)
    return path if match is None else f"{match['stem']}-of-{match['count']}{match['suffix']}"


def _named(models: Sequence[Quantized], pick: str, where: str) -> Quantized:
    wanted = pick.casefold()
    rules: tuple[Callable[[Quantized], bool], ...] = (
        lambda model: any(file.path == pick for file in model.files),
        lambda model: any(wanted in _spellings(file.path) for file in model.files),
        lambda model: model.quantization.casefold() == wanted,
        lambda model: model.quantization.casefold() == f"ud-{wanted}",
        lambda model: wanted in (part.casefold() for part in PurePosixPath(model.name).parent.parts),
    )
    for rule in rules:
        if len(found := [model for model in models if rule(model)]) == 1:
            return found[0]
        if found:
            raise Failure("quantization-ambiguous", f"{where} has {len(found)} models that `{pick}` may mean: name the "
                          "file", f"write `{where}:{found[0].name}`", _table(found))
    if not models:
        raise Failure("quantization-missing", f"{where} has no GGUF files, so there is no `{pick}`",
                      f"write `{where}` for what it has")
    names = {_call(model, models): model for model in models}
    like = nearest(pick.upper(), list(names)) or nearest(pick, list(names))
    raise Failure("quantization-missing", f"{where} has no `{pick}`",
                  f"did you mean `{where}:{like}`?" if like else f"write `{where}:{next(iter(names))}`, or another one",
                  _table(models), data={"nearest": like})


def _spellings(path: str) -> tuple[str, ...]:
    path = path.casefold()
    name = PurePosixPath(path).name
    return path, name, name.removesuffix(".gguf")


def _call(model: Quantized, models: Sequence[Quantized]) -> str:
    """The shortest pick that means this one only."""
    name = model.quantization
    same = [other for other in models if other.quantization in (name, f"UD-{name}")]
    return name if name and len(same) == 1 else model.name


def _table(models: Sequence[Quantized]) -> tuple[str, ...]:
    width = max((len(model.quantization) for model in models), default=0)
    lines = tuple(f"{model.quantization:{width}}  {model.size / 1e9:8.2f} GB  {model.name}" for model in models)
    more = len(lines) - _MOST_LISTED
    return lines if more <= 0 else (*lines[:_MOST_LISTED], f"and {more} more")


def _gguf(model: Quantized, models: Sequence[Quantized]) -> Picked:
    _presume_complete(model.files)
    return Picked("gguf", tuple((file, "weights") for file in model.files), _call(model, models))


def _presume_complete(files: Sequence[Listed]) -> None:
    """Raise Failure unless all parts of a split file are there."""
    match = _SPLIT.fullmatch(files[0].path)
    numbers = [int(found["number"]) for file in files if (found := _SPLIT.fullmatch(file.path))]
    if match is not None and numbers != list(range(1, int(match["count"]) + 1)):
        raise Failure("model-incomplete", f"of {files[0].path} there are {len(numbers)} of {int(match['count'])} parts",
                      "the repository lacks the others")


def _safetensors(files: dict[str, Listed], where: str, read: Callable[[Listed], dict[str, str]]) -> Picked | None:
    """The Hugging Face folder at the root of a repository, None when it has none."""
    tensors = {path: file for path, file in files.items() if path.endswith(".safetensors") and "/" not in path}
    if not tensors:
        return None
    if "adapter_config.json" in files and set(tensors) == {"adapter_model.safetensors"}:
        return Picked("adapter", ((tensors["adapter_model.safetensors"], "adapter"),
                                  (files["adapter_config.json"], "config")))
    index = next((name for name in (_INDEX, _OLD_INDEX) if name in files), None)
    weights = _shards(files, index, where, read) if index is not None else _without_index(tensors)
    roles: dict[str, Role] = {path: role for path, role in _ROLES.items() if path in files and not (
        role == "license" and files[path].size > _LARGEST_LICENSE)}
    if "tokenizer.json" in roles and "config.json" in roles:
        roles.pop("tekken.json", None)
        roles.pop("params.json", None)
    if index is not None:
        roles[index] = "config"
    return Picked("safetensors", (*((file, "weights") for file in weights),
                                  *((files[path], role) for path, role in sorted(roles.items()))))


def _shards(files: dict[str, Listed], index: str, where: str, read: Callable[[Listed], dict[str, str]]) -> list[Listed]:
    named = sorted(set(read(files[index]).values()))
    for path in named:
        presume_inside(path)
    missing = [path for path in named if path not in files]
    if missing or not named or not all(path.endswith(".safetensors") for path in named):
        raise Failure("model-incomplete", f"{where}: {index} names files that are not there or are no safetensors",
                      "the repository is broken", tuple(missing[:8]))
    return [files[path] for path in named]


def _without_index(tensors: dict[str, Listed]) -> list[Listed]:
    if (one := tensors.get("model.safetensors") or tensors.get("consolidated.safetensors")) is not None:
        return [one]
    models = [file for path, file in sorted(tensors.items()) if path.startswith("model")]
    chosen = models or [file for path, file in sorted(tensors.items()) if not path.startswith("adapter_")]
    _presume_complete(chosen)
    return chosen


def _nothing(files: dict[str, Listed], where: str) -> Failure:
    pickles = [path for path in files if path.lower().endswith(_PICKLES)]
    if pickles:
        return Failure("pickle-only", f"{where} has its weights as pickles only ({pickles[0]}), which can run code of "
                       "whoever made them", "look for a copy of it as safetensors or GGUF", exit_code=2)
    shown = ", ".join(sorted(files)[:8]) or "nothing"
    return Failure("model-missing", f"{where} has neither safetensors at its root nor GGUF files; it has {shown}",
                   "check the name")
