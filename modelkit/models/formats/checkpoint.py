"""The tensors of a Hugging Face folder: one safetensors file, or several with an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NoReturn

from modelkit.failure import Failure
from modelkit.models.artifact import presume_inside
from modelkit.models.formats.access import Access, LocalFile
from modelkit.models.formats.json_file import read_json
from modelkit.models.formats.safetensors_reader import SafetensorsHeader, TensorInfo, read_header_from
from modelkit.models.formats.together import together

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_LARGEST_INDEX = 32 << 20


@dataclass(frozen=True)
class Files:
    """A Hugging Face folder that is anywhere. `opened` gives a file by its path, None if there is none.

    `weights` are the paths of all its safetensors files.
    """

    name: str
    opened: Callable[[str], Access | None]
    weights: Sequence[str]


@dataclass(frozen=True)
class Checkpoint:
    """Every tensor of a model with the file that it lies in, by the file's path inside the folder."""

    files: dict[str, SafetensorsHeader]
    tensors: dict[str, tuple[str, TensorInfo]]

    @property
    def parameters(self) -> int:
        """Elements of all tensors."""
        return sum(tensor.elements for _, tensor in self.tensors.values())


def local_files(folder: Path) -> Files:
    """A folder on this machine."""
    return Files(str(folder), lambda name: LocalFile(folder / name) if (folder / name).is_file() else None,
                 sorted(file.name for file in folder.glob("*.safetensors")))


def read_checkpoint(folder: Path) -> Checkpoint:
    """The tensors of a folder, from headers alone. Raises Failure, and nothing else."""
    return checkpoint(local_files(folder))


def checkpoint(source: Files) -> Checkpoint:
    """The tensors of a folder that is anywhere, from headers alone.

    An index, where there is one, decides which files count, and has to be right; without one it is
    `model.safetensors`, else every safetensors file.
    """
    opened, names = source.opened, source.weights
    if (index := opened(INDEX)) is not None:
        return _indexed(index, opened)
    if not names:
        raise Failure("model-missing", f"{source.name} holds no safetensors files", "name the folder that has them",
                      data={"path": source.name, "check": "empty"})
    names = [SINGLE] if SINGLE in names else names
    files = dict(zip(names, together(lambda name: _header(opened, name), names), strict=True))
    tensors: dict[str, tuple[str, TensorInfo]] = {}
    for name, header in files.items():
        for tensor, info in header.tensors.items():
            if tensor in tensors:
                _refuse(name, "duplicate", f"the tensor `{tensor}` is in {tensors[tensor][0]} and in {name}")
            tensors[tensor] = (name, info)
    return Checkpoint(files, tensors)


def weight_map(index: Access) -> dict[str, str]:
    """Which file of the folder each tensor is in, as an index says it: every one a safetensors file inside."""
    path, said = index.name, read_json(index, _LARGEST_INDEX, once=True)
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


def _indexed(index: Access, opened: Callable[[str], Access | None]) -> Checkpoint:
    said = weight_map(index)
    names = sorted(set(said.values()))
    found = dict(zip(names, together(lambda name: _header_if_there(opened, name), names), strict=True))
    if missing := [name for name, header in found.items() if header is None]:
        _refuse(index.name, "shard-missing", f"it names {missing[0]}, which is not there"
                + (f", nor are {len(missing) - 1} more" if len(missing) > 1 else ""), "download the missing files")
    files = {name: header for name, header in found.items() if header is not None}
    _presume_listed(index.name, said, files)
    return Checkpoint(files, {tensor: (name, files[name].tensors[tensor]) for tensor, name in said.items()})


def _header(opened: Callable[[str], Access | None], name: str) -> SafetensorsHeader:
    if (access := opened(name)) is None:
        raise Failure("model-missing", f"there is no file {name}")
    return read_header_from(access)


def _header_if_there(opened: Callable[[str], Access | None], name: str) -> SafetensorsHeader | None:
    return None if (access := opened(name)) is None else read_header_from(access)


def _presume_listed(index: str, said: Mapping[str, str], files: Mapping[str, SafetensorsHeader]) -> None:
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


def _refuse(path: str, check: str, what: str, hint: str | None = None) -> NoReturn:
    raise Failure("checkpoint-invalid", f"{PurePath(path).name} can't be used: {what}",
                  hint or "download the model again; if that does not help, its maker has to repair it",
                  data={"path": path, "check": check})
