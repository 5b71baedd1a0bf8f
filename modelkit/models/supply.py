"""What modelkit refuses to have on a machine: code and pickles that come with models, and names that lead elsewhere.

A model is tensors, texts and numbers, and reading it runs nothing. Names decide only what is not fetched at all; what
is here is judged by what it holds.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn

from modelkit.failure import Failure
from modelkit.models.formats.access import LocalFile

if TYPE_CHECKING:
    from modelkit.models.artifact import Artifact
    from modelkit.models.store import Store

_CODE_NAMES = frozenset((".py", ".pyc", ".pyo", ".pyd", ".pyw", ".so", ".dylib", ".dll", ".exe", ".sh", ".bash", ".bat",
                         ".cmd", ".ps1", ".jar", ".class", ".com", ".msi", ".app"))
_PICKLE_NAMES = frozenset((".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".hdf5", ".keras", ".dill"))
_CODE_KEYS = ("auto_map", "custom_pipelines")  # transformers imports what these name
_LARGEST_CONFIG = 4 << 20
_MOST_FILES = 20_000
_INSTEAD = "use the model's safetensors or GGUF form; where there is none, convert it on a machine that may run it"


def presume_wanted(artifact: Artifact) -> None:
    """Refuse, before anything is fetched, what the list of files already shows to be unwanted. Raises Failure."""
    seen: dict[str, str] = {}
    for piece in artifact.files:
        suffix = PurePosixPath(piece.path).suffix.lower()
        if suffix in _CODE_NAMES:
            _refuse("code", piece.path, artifact.reference, "is code by its name", _OF_CODE)
        if suffix in _PICKLE_NAMES or (suffix == ".bin" and artifact.form != "gguf"):
            _refuse("pickle", piece.path, artifact.reference, "is a pickle by its name", _INSTEAD)
        folded = piece.path.casefold()
        if (other := seen.setdefault(folded, piece.path)) != piece.path:
            _refuse("path", piece.path, artifact.reference, f"and `{other}` are one file on some systems", _BROKEN)
    for folded, path in seen.items():
        if parent := next((seen[str(one)] for one in PurePosixPath(folded).parents if str(one) in seen), None):
            _refuse("path", path, artifact.reference, f"lies inside `{parent}`, which is a file", _BROKEN)


def presume_safe(artifact: Artifact, store: Store) -> None:
    """Refuse, by magic and content, an artifact that is here and that no engine should be given. Raises Failure."""
    root = None if artifact.place is None else _root(Path(artifact.place))
    for piece in artifact.files:
        path = store.path(artifact, piece)
        _presume_plain(piece.path, path, root, artifact.reference)
        _presume_harmless(piece.path, path, artifact.reference)
        if piece.role == "weights":
            _presume_weights(piece.path, path, artifact.reference)


def presume_safe_file(path: Path) -> None:
    """Refuse a model file of the user's own that no engine should be given. Raises Failure."""
    _presume_plain(path.name, path, None, str(path.parent))
    _presume_harmless(path.name, path, str(path.parent))


def presume_safe_folder(folder: Path) -> None:
    """Refuse a Hugging Face folder of the user's own if anything in it must not come with a model. Raises Failure.

    Folders whose name begins with a dot are passed over: no engine looks there.
    """
    root = _root(folder)
    for count, path in enumerate(_files(folder, root)):
        if count >= _MOST_FILES:
            raise Failure("supply-files", f"{folder} holds more than {_MOST_FILES:,} files",
                          "name a folder that holds the model and nothing else", data={"path": str(folder)})
        name = path.relative_to(folder).as_posix()
        _presume_plain(name, path, root, str(folder))
        _presume_harmless(name, path, str(folder))


def _files(folder: Path, root: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in folders:
            if (Path(place) / name).is_symlink():
                _presume_inside(f"{name}/", Path(place) / name, root, str(folder))
        yield from (Path(place) / name for name in sorted(names))


def _root(folder: Path) -> Path:
    """The folder that links must not leave: Hugging Face's cache links from `snapshots/COMMIT` to `blobs`."""
    folder = folder.resolve()
    cache = folder.parent.parent
    return cache if folder.parent.name == "snapshots" and (cache / "blobs").is_dir() else folder


def _presume_plain(name: str, path: Path, root: Path | None, where: str) -> None:
    """Raise Failure unless this is a file, and lies below `root`."""
    if root is not None:
        _presume_inside(name, path, root, where)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Failure("model-unreadable", f"{path} can't be read: {(error.strerror or str(error)).lower()}") from None
    if not stat.S_ISREG(mode):
        _refuse("special", name, where, "is not a file but a device, a pipe or a socket", "remove it")


def _presume_inside(name: str, path: Path, root: Path, where: str) -> None:
    try:
        inside = path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # a link that leads nowhere, or in circles
        inside = False
    if not inside:
        _refuse("link", name, where, "is a link that leads out of the model or nowhere",
                "put the file itself in its place")


def _presume_harmless(name: str, path: Path, where: str) -> None:
    from modelkit.models.formats.content import danger_in

    pure = PurePosixPath(name)
    if pure.suffix.lower() in _CODE_NAMES:
        _refuse("code", name, where, "is code", _OF_CODE)
    access = LocalFile(path)
    if (found := danger_in(access)) is not None:
        _refuse(found.danger, name, where, f"is {found.what}", {"pickle": _INSTEAD, "code": _OF_CODE,
                                                                "archive": _OF_ARCHIVES}[found.danger])
    if pure.suffix.lower() in (".gguf", ".safetensors"):
        _presume_weights(name, path, where)
    if pure.name.endswith(".safetensors.index.json"):
        _presume_index(name, access, where)
    elif pure.suffix == ".json" and ("config" in pure.name or "processor" in pure.name):
        _presume_no_code(name, access, where)


def _presume_weights(name: str, path: Path, where: str) -> None:
    """Raise Failure unless the file holds tensors, in the form that its name says if it says one."""
    from modelkit.models.formats import gguf_reader, safetensors_reader

    is_gguf = LocalFile(path).read_at(0, 4) == b"GGUF"
    said = {".gguf": "GGUF", ".safetensors": "safetensors"}.get(PurePosixPath(name).suffix.lower())
    try:
        if is_gguf:
            gguf_reader.read_header(path, model=False)
        else:
            safetensors_reader.read_header(path)
    except Failure as failure:
        if is_gguf or failure.data.get("offset", 9) > 8 or failure.data["check"] == "json":
            raise  # it is what it says, and broken
        if said == "GGUF":
            failure = _magic(path)
        _refuse("content", name, where, f"is not {said or 'GGUF or safetensors'}: "
                + failure.message.partition("file: ")[2], "download the file again, or don't use it")
    if said is not None and (said == "GGUF") != is_gguf:
        _refuse("content", name, where, f"is {'GGUF' if is_gguf else 'safetensors'}, not {said}",
                "give it its own suffix back, if you trust where it came from")


def _magic(path: Path) -> Failure:
    """Why a file does not begin as a GGUF does."""
    from modelkit.models.formats import gguf_reader

    try:
        gguf_reader.read_header(path, model=False)
    except Failure as failure:
        return failure
    raise AssertionError("it begins as a GGUF")


def _presume_index(name: str, access: LocalFile, where: str) -> None:
    from modelkit.models.formats.checkpoint import weight_map

    try:
        weight_map(access)
    except Failure as failure:
        if failure.data.get("check") != "path":
            raise
        _refuse("path", name, where, failure.message.partition("used: ")[2].replace("it names", "names"), _BROKEN)


def _presume_no_code(name: str, access: LocalFile, where: str) -> None:
    from modelkit.models.formats.json_file import read_json

    left: list[Any] = [read_json(access, _LARGEST_CONFIG)]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if key := next((key for key in _CODE_KEYS if value.get(key)), None):
                _refuse("code", name, where, f"asks for code to be imported (`{key}`)", _OF_CODE)
            left += value.values()
        elif isinstance(value, list):
            left += value


_OF_CODE = "use a model that the engine knows without code of its own"
_OF_ARCHIVES = "unpack it yourself, if you trust it, and name the model that was in it"
_BROKEN = "the place it came from is broken or hostile; don't use it"


def _refuse(rule: str, name: str, where: str, what: str, hint: str) -> NoReturn:
    shown = "".join(c if c.isprintable() else "?" for c in name[-120:])
    raise Failure(f"supply-{rule}", f"`{shown}` of {where} {what}", hint, data={"file": name, "where": where})
