"""`modelkit pull`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from modelkit.cli import project
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Progress, Terminal, amount
from modelkit.failure import Failure
from modelkit.models.reference import Reference


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Bring models here: those of a Modelfile's stages, or those that references name."""
    words = arguments.what or [None]
    pulled: list[dict[str, Any]] = []
    with terminal.progress() as progress:
        for word in words:
            if word is None or is_modelfile(word):
                pulled += _stages(word, arguments, terminal, progress)
            else:
                pulled.append(_reference(word, arguments, progress))
    terminal.document(pulled)
    for one in pulled:
        where = f"{one['stage']}: " if one["stage"] else ""
        terminal.data(f"{where}{one['resolved']}  {one['form']}, {amount(one['size'])}, {one['digest'][:19]}")
    return 0


def is_modelfile(word: str) -> bool:
    """Is this word a Modelfile or a folder of one, and not a model? What is not here can only be a reference."""
    path = Path(word)
    if "://" in word or not path.exists():
        return False
    return (path.is_file() and path.suffix not in (".gguf", ".safetensors")) or (
        path.is_dir() and ((path / "Modelfile").is_file() or any(path.glob("*.Modelfile"))))


def _stages(word: str | None, arguments: Namespace, terminal: Terminal, progress: Progress) -> list[dict[str, Any]]:
    if arguments.refresh:
        raise Failure("usage", "--refresh is for references; a Modelfile's are pinned by its lock",
                      "modelkit lock --upgrade")
    path = project.find(word)
    modelfile = project.load(path, terminal, project.given(arguments, path))
    stages, found = Stages(modelfile, arguments), []
    for stage in arguments.stages or stages.lock.stages():
        found.append((stage, stages.fetch(stage, stages.look(stage), progress)))
    stages.settle(found, terminal)
    return [said for stage, one in found for said in (
        _said(one.base, stage, one.asked.text),
        *(_said(lora.own, stage, lora.asked.text) | {"form": "adapter"} for lora in one.adapters))]


def _reference(word: str, arguments: Namespace, progress: Progress) -> dict[str, Any]:
    from modelkit import models

    store, wanted = models.Store(), Reference.parse(word, Path.cwd())
    if wanted.path is not None:
        raise Failure("nothing-to-pull", f"{wanted.path} is a path: there is nothing to fetch",
                      "name a reference such as `hf.co/org/repo`, or a Modelfile")
    artifact = models.pull(wanted, store=store, on_progress=progress, refresh=arguments.refresh)
    from modelkit.models.adapter_files import adapter_of

    if artifact.form == "adapter":
        return _said(adapter_of(artifact, store), None, wanted.text) | {"form": "adapter"}
    return _said(models.weights_of(artifact, store), None, wanted.text)


def _said(weights: Any, stage: str | None, reference: str) -> dict[str, Any]:
    return {"stage": stage, "reference": reference, "resolved": weights.reference, "form": weights.form,
            "digest": weights.digest, "size": weights.size, "path": weights.path}
