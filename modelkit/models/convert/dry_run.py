"""llama.cpp's quantizer asked what it would make of a model, in a child process and without a weight.

It gets the model's header alone, as a file of the right length that is empty: a remote model can be asked about, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.models.convert.tool import CHILDREN, Tool, run_child
from modelkit.models.formats.gguf_types import FILE_TYPES
from modelkit.places import place

if TYPE_CHECKING:
    from modelkit.models.formats.gguf import Header
    from modelkit.models.formats.gguf_hollow import Hollow

_SCRIPT = CHILDREN / "dry_run_child.py"
_SCHEMA = "modelkit.dry-run/1"
_NUMBERS = {name: number for number, name in FILE_TYPES.items()}


@dataclass(frozen=True)
class DryRun:
    """What one version of the quantizer would make: the type of every tensor by its name, or why it refuses."""

    precision: str
    version: str  # the tool's: `llama-cpp-python 0.3.36`
    types: Mapping[str, str]
    refused: str = ""

    def __str__(self) -> str:
        return f"dry run of llama.cpp's own quantizer ({self.version})"


def dry_runs(headers: Sequence[Header], precisions: Iterable[str], tool: Tool, *, imatrix: bool = False,
             ) -> dict[str, DryRun]:
    """One for each of `precisions`, words of QUANTIZE for GGUF, all by one child in about a second.

    `headers` are of all parts of one GGUF model. Words that llama.cpp has no file type for are left out. Raises
    Failure: `tool-…` where the quantizer breaks, which some headers make it do; `dry-run-impossible` without a disk
    that can hold a file of holes.
    """
    from modelkit.models.formats.gguf_hollow import hollow

    numbers = {word: _NUMBERS[word] for word in precisions if word in _NUMBERS}
    with tempfile.TemporaryDirectory(prefix="modelkit-dry-") as folder:
        source = Path(folder) / "model.gguf"
        try:
            hollow(headers).write(source)
        except OSError as error:
            raise Failure("dry-run-impossible", f"no file of the model's length can be made in {folder}: "
                          f"{(error.strerror or str(error)).lower()}", "set TMPDIR to a folder on a disk with sparse "
                          "files") from None
        said = run_child(tool, _SCRIPT, {"source": str(source), "types": numbers, "imatrix": imatrix},
                         work=Path(folder))
    return {word: DryRun(word, tool.version, one.get("types", {}), one.get("reason", ""))
            for word, one in said["made"].items()}


def kept_dry_runs(headers: Sequence[Header], precisions: Iterable[str], tool: Tool, *, imatrix: bool = False,
                  ) -> dict[str, DryRun]:
    """The same, of before where the same was asked before (below the cache, by header, words and tool). Raises nothing:
    what can't be asked is not there.
    """
    from modelkit.models.formats.gguf_hollow import hollow

    words = sorted(word for word in precisions if word in _NUMBERS)
    try:
        path = _place(hollow(headers), words, tool, imatrix)
        if (known := _read(path, tool)) is not None:
            return known
        found = dry_runs(headers, words, tool, imatrix=imatrix)
    except (Failure, OSError):
        return {}
    _keep(path, found)
    return found


def _place(model: Hollow, words: list[str], tool: Tool, imatrix: bool) -> Path:
    said = json.dumps([_SCHEMA, tool.version, imatrix, model.size, words]).encode()
    return place("cache") / "fit" / "quantizer" / f"{hashlib.sha256(model.begin + said).hexdigest()}.json"


def _read(path: Path, tool: Tool) -> dict[str, DryRun] | None:
    with suppress(OSError, ValueError, TypeError, AttributeError):
        return {word: DryRun(word, tool.version, dict(types), str(refused))
                for word, (types, refused) in json.loads(path.read_text("utf-8")).items()}
    return None


def _keep(path: Path, found: Mapping[str, DryRun]) -> None:
    with suppress(OSError):  # a cache that can't be written is a question more
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps({word: [dict(one.types), one.refused] for word, one in found.items()}), "utf-8")
        draft.replace(path)
