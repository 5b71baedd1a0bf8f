"""Modelfiles from and for other programs: what each of them says, and what does not fit.

    (one,) = read(Source("vllm", "serve.sh", text, folder))
    one.modelfile, one.losses
    exported = write("ollama", [Subject(modelfile, "dev")])
    exported.text, exported.losses

One module a format. None of them runs anything, asks a network, or repeats a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.exchange.sources import Imported, Source
    from modelkit.exchange.subjects import Exported, Subject


class Format(NamedTuple):
    """One program's file. `reads` and `writes` name modules of this room, "" where we cannot.

    `stage` is what is exported where the user names none; `many` says that one file holds several models.
    """

    name: str
    doc: str
    reads: str
    writes: str
    stage: str = "dev"
    many: bool = False


FORMATS: dict[str, Format] = {row.name: row for row in (
    Format("ollama", "a Modelfile of Ollama's", "ollama", "ollama_writing"),
    Format("vllm", "a `vllm serve` command line", "command_lines", "serving", "prod"),
    Format("llama-server", "a `llama-server` command line", "command_lines", "serving"),
    Format("compose", "`models:` of a Compose file", "compose", "compose_writing", many=True),
    Format("llama-swap", "a config of llama-swap", "llama_swap", "llama_swap_writing", many=True),
    Format("lmstudio", "a model.yaml of LM Studio", "lmstudio", "lmstudio_writing"),
)}


def read(source: Source) -> tuple[Imported, ...]:
    """Every model of a source, in its order. Raises Failure for a source that cannot be read as what it is said to be.

    A model of several that cannot be taken over has its `problem` instead of a Modelfile.
    """
    module = import_module(f"{__name__}.{FORMATS[source.format].reads}")
    return cast("tuple[Imported, ...]", module.read(source))


def write(format: str, subjects: Sequence[Subject]) -> Exported:
    """A file of that program for stages of Modelfiles. Raises Failure for what has no counterpart at all."""
    row = FORMATS[format]
    if len(subjects) > 1 and not row.many:
        raise Failure("several-models", f"{row.doc} holds one model, and there are {len(subjects)}",
                      hint="export one Modelfile at a time")
    module = import_module(f"{__name__}.{row.writes}")
    return cast("Exported", module.write(subjects))
