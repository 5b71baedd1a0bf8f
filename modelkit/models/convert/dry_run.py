"""llama.cpp's quantizer asked what it would make of a model, in a child process and without a weight.

It gets the model's header alone, as a file of the right length that is empty: a remote model can be asked about, too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.models.convert.tool import CHILDREN, Tool, run_child
from modelkit.models.formats.gguf_types import FILE_TYPES

if TYPE_CHECKING:
    from modelkit.models.formats.gguf import Header

_SCRIPT = CHILDREN / "dry_run_child.py"
_NUMBERS = {name: number for number, name in FILE_TYPES.items()}


@dataclass(frozen=True)
class DryRun:
    """What one version of the quantizer would make: the type of every tensor by its name, or why it refuses."""

    precision: str
    version: str  # of the tool: llama-cpp-python's
    types: Mapping[str, str]
    refused: str = ""

    def __str__(self) -> str:
        return f"dry run of llama.cpp's quantizer (llama-cpp-python {self.version})"


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
