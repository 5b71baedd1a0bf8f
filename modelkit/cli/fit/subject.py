"""What `modelkit fit` is about: a Modelfile, or a model alone by its reference."""

from __future__ import annotations

import re
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli import project
from modelkit.cli.stages import Stages
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.terminal import Terminal
    from modelkit.cli.weights import Found
    from modelkit.models.store import Progress

_WEIGHTS = (".gguf", ".safetensors")
_SCHEME = re.compile(r"(hf|huggingface):(?!//)", re.IGNORECASE)  # `hf:org/repo`, as many write it

_ALONE = "FROM model\nTEMPLATE {{ .Prompt }}\n"
"""A model that was not trained to chat has no template, and a sum of memory needs none."""


def stages_of(word: str | None, arguments: Namespace, terminal: Terminal) -> Stages:
    """The stages of the Modelfile that a word names, or those of a Modelfile that only says `FROM` the word."""
    if word is not None and is_model(word):
        return _alone(word, arguments)
    path = project.find(word)
    return Stages(project.load(path, terminal, project.given(arguments, path)), arguments)


def is_model(word: str) -> bool:
    """Is it a model, not a Modelfile? What exists decides, then how it is spelled."""
    path = Path(word)
    if path.is_dir():
        holds = {one.suffix for one in path.iterdir()}
        return not (path / "Modelfile").exists() and ".Modelfile" not in holds and bool(holds & {*_WEIGHTS})
    if path.is_file():
        return path.suffix.lower() in _WEIGHTS or _begins_as_gguf(path)
    named = path.name == "Modelfile" or path.suffix == ".Modelfile" or path.name.startswith("Modelfile.")
    return not named and not (word.startswith((".", "/", "~")) and not word.lower().endswith(_WEIGHTS))


def look(stages: Stages, stage: str, on_progress: Progress) -> Found:
    """What is known of a stage's model; of one that is not here, its files and what they mean now. Fetches no weights.

    Raises Failure when its source can't be asked.
    """
    from modelkit.cli.weights import far
    from modelkit.models.promised import promised
    from modelkit.models.reference import Reference

    found = stages.look(stage, on_progress)
    if found.base is not None or found.artifact is not None:
        return found
    if found.reference.path is not None:
        raise Failure("model-missing", f"there is no {found.reference.path}", hint="name a GGUF file, or a folder of "
                      "safetensors")
    artifact, facts = promised(found.reference, stages.store, on_progress)
    known = replace(found, reference=Reference.parse(artifact.resolved, Path.cwd()))
    return far(known, artifact, facts.quantization if facts else "", facts)


def _begins_as_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False  # whoever reads it to compile it says why it can't be read


def _alone(word: str, arguments: Namespace) -> Stages:
    """A reference may hold what a Modelfile's line may not, so it is put into a Modelfile that is read already."""
    from modelkit.language.check import compile_source
    from modelkit.language.modelfile import Said
    from modelkit.language.names import default_name
    from modelkit.language.source import Source
    from modelkit.models.reference import Reference

    if getattr(arguments, "arg", None):
        raise Failure("usage", "`--arg` goes with a Modelfile", hint=f"`{word}` is a model")
    if getattr(arguments, "locked", False) or getattr(arguments, "frozen", False):
        raise Failure("usage", "a model alone has no lock", hint="leave `--locked` and `--frozen` out")
    reference = _SCHEME.sub(r"\1://", word, count=1)
    parsed = Reference.parse(reference, Path.cwd())
    modelfile, _ = compile_source(Source(str(Path.cwd() / "(no Modelfile)"), _ALONE))
    assert modelfile is not None and modelfile.layer.base is not None, "that is a Modelfile"
    base = replace(modelfile.layer.base, value=reference)
    name = default_name(parsed.file_name or parsed.repo.rpartition("/")[2] or parsed.name.rpartition("/")[2])
    return Stages(replace(modelfile, name=Said(name, base.span), layer=replace(modelfile.layer, base=base)), arguments)
