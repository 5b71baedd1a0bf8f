"""The tensors of a Hugging Face folder: one safetensors file, or several with an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from modelkit.failure import Failure
from modelkit.models.artifact import presume_inside
from modelkit.models.formats.access import LocalFile
from modelkit.models.formats.json_file import read_json
from modelkit.models.formats.safetensors_reader import SafetensorsHeader, TensorInfo, read_header

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_LARGEST_INDEX = 32 << 20


@dataclass(frozen=True)
class Checkpoint:
    """Every tensor of a model with the file that it lies in, by the file's path inside the folder."""

    folder: Path
    files: dict[str, SafetensorsHeader]
    tensors: dict[str, tuple[str, TensorInfo]]

    @property
    def parameters(self) -> int:
        """Elements of all tensors."""
        return sum(tensor.elements for _, tensor in self.tensors.values())


def read_checkpoint(folder: Path) -> Checkpoint:
    """The tensors of a folder, from headers alone.

    An index, where there is one, decides which files count, and has to be right; without one it is
    `model.safetensors`, else every safetensors file. Raises Failure, and nothing else.
    """
    if (folder / INDEX).is_file():
        return _indexed(folder)
    names = [SINGLE] if (folder / SINGLE).is_file() else sorted(file.name for file in folder.glob("*.safetensors"))
    if not names:
        raise Failure("model-missing", f"{folder} holds no safetensors files", "name the folder that has them",
                      data={"path": str(folder), "check": "empty"})
    files = {name: read_header(folder / name) for name in names}
    tensors: dict[str, tuple[str, TensorInfo]] = {}
    for name, header in files.items():
        for tensor, info in header.tensors.items():
            if tensor in tensors:
                _refuse(folder / name, "duplicate", f"the tensor `{tensor}` is in {tensors[tensor][0]} and in {name}")
            tensors[tensor] = (name, info)
    return Checkpoint(folder, files, tensors)


def weight_map(folder: Path, name: str = INDEX) -> dict[str, str]:
    """Which file of the folder each tensor is in, as an index says it: every one a safetensors file inside."""
    path = folder / name
    said = read_json(LocalFile(path), _LARGEST_INDEX)
    found = said.get("weight_map") if isinstance(said, dict) else None
    if not isinstance(found, dict) or not found or not all(isinstance(file, str) for file in found.values()):
        _refuse(path, "index", "its `weight_map` does not say which file each tensor is in")
    for file in sorted(set(found.values())):
        try:
            presume_inside(file)
        except Failure:
            _refuse(path, "path", f"it names `{_shown(file)}`, which is not inside the model")
        if not file.endswith(".safetensors"):
            _refuse(path, "path", f"it names `{_shown(file)}`, which is not a safetensors file")
    return found


def _indexed(folder: Path) -> Checkpoint:
    index = folder / INDEX
    said = weight_map(folder)
    names = sorted(set(said.values()))
    if missing := [name for name in names if not (folder / name).is_file()]:
        _refuse(index, "shard-missing", f"it names {missing[0]}, which is not there"
                + (f", nor are {len(missing) - 1} more" if len(missing) > 1 else ""), "download the missing files")
    files = {name: read_header(folder / name) for name in names}
    _presume_listed(index, said, files)
    return Checkpoint(folder, files, {tensor: (name, files[name].tensors[tensor]) for tensor, name in said.items()})


def _presume_listed(index: Path, said: Mapping[str, str], files: Mapping[str, SafetensorsHeader]) -> None:
    """Raise Failure unless index and files name the same tensors in the same places."""
    for tensor, name in said.items():
        if tensor not in files[name].tensors:
            _refuse(index, "tensor-missing", f"it says that the tensor `{_shown(tensor)}` is in {name}, which does "
                                             f"not have it")
    for name, header in files.items():
        if unlisted := next((tensor for tensor in header.tensors if said.get(tensor) != name), None):
            _refuse(index, "tensor-unlisted", f"it does not list the tensor `{unlisted}` of {name}")


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:80])


def _refuse(path: Path, check: str, what: str, hint: str | None = None) -> NoReturn:
    raise Failure("checkpoint-invalid", f"{path.name} can't be used: {what}",
                  hint or "download the model again; if that does not help, its maker has to repair it",
                  data={"path": str(path), "check": check})
