"""A stage's model: what is here of it, fetched and made where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelkit.cli import adapters
from modelkit.cli.adapters import Around, FoundAdapter
from modelkit.cli.lockfile import LockFile
from modelkit.failure import Failure
from modelkit.models.forms import Step, make, precision, reach, route
from modelkit.models.reference import Reference
from modelkit.models.store import Progress, Store, quiet
from modelkit.planning.forms import Wanted, wanted

if TYPE_CHECKING:
    from modelkit.language.modelfile import Modelfile
    from modelkit.models.artifact import Artifact
    from modelkit.models.convert.tool import Tool
    from modelkit.models.facts import ModelFacts
    from modelkit.models.weights import Weights


@dataclass(frozen=True)
class Found:
    """A stage's model as far as it is here.

    `asked` is what FROM says, `reference` what the lock makes of it. `base` is None while it is not here; then
    `facts` may still be known, from headers alone. `at` is the last form on `route` that is made, `left` what is not.
    """

    wanted: Wanted
    asked: Reference
    reference: Reference
    artifact: Artifact | None = None
    base: Weights | None = None
    facts: ModelFacts | None = None
    precision: str = ""  # the base's own
    route: tuple[Step, ...] = ()
    left: tuple[Step, ...] = ()
    at: Weights | None = None
    tools: Mapping[str, Tool] = field(default_factory=dict)
    adapters: tuple[FoundAdapter, ...] = ()
    draft: Weights | None = None  # a GGUF that guesses ahead, where the engine loads such
    projector: Weights | None = None  # a GGUF that lets the model see, where the engine loads such
    by_lock: bool = False  # was what answers `QUANTIZE auto` chosen before, and kept?
    refused: Failure | None = None  # why nothing answers it

    @property
    def weights(self) -> Weights | None:
        """What the engine loads, if it is here."""
        return self.at if not self.left else None

    @property
    def fetched(self) -> bool:
        """Is everything here that comes from elsewhere?"""
        return self.base is not None and all(one.own is not None for one in self.adapters)


def look(modelfile: Modelfile, stage: str, lock: LockFile, store: Store, on_progress: Progress = quiet) -> Found:
    """What is here of a stage's model. Fetches and makes nothing; a large file that nobody has looked at yet is read
    once for its digest."""
    from modelkit import models

    ask = wanted(modelfile, stage)
    asked = Reference.parse(ask.base, Path(modelfile.path).absolute().parent)
    reference = lock.pinned(asked, stage)
    base = models.locate(reference, store=store, on_progress=on_progress)
    found = Found(ask, asked, reference)
    if base is not None:
        found = _with(found, base, lock, stage, store)
    elif (locked := lock.artifact(asked)) is not None:
        found = far(found, locked.artifact(), locked.precision, None)
    lora = adapters.look(modelfile, Around(stage, ask, base, lock, store))
    adapters.presume_said(lora, found.artifact, asked)
    return replace(found, adapters=lora, draft=_draft(modelfile, stage, ask, store),
                   projector=_projector(modelfile, stage, ask, store))


def _draft(modelfile: Modelfile, stage: str, ask: Wanted, store: Store) -> Weights | None:
    """The file of DRAFT, if it is here and the engine loads GGUF."""
    from modelkit import models
    from modelkit.language.layers import effective

    said = effective(modelfile, stage).draft
    if said is None or ask.form != "gguf":
        return None
    here = models.locate(Reference.parse(said.value, Path(modelfile.path).absolute().parent), store=store)
    return here if here is not None and here.form == "gguf" else None


def _projector(modelfile: Modelfile, stage: str, ask: Wanted, store: Store) -> Weights | None:
    """The projector's file, if it is here and the engine loads GGUF. Raises Failure for a GGUF that is none."""
    from modelkit import models
    from modelkit.language.layers import effective
    from modelkit.models.formats.splits import read_split

    said = effective(modelfile, stage).projector
    if said is None or ask.form != "gguf":
        return None
    here = models.locate(Reference.parse(said.value, Path(modelfile.path).absolute().parent), store=store)
    if here is None or here.form != "gguf":
        return None
    if (architecture := read_split(Path(here.path)).first.architecture) != "clip":
        raise Failure("not-a-projector", f"{said.value} is no projector: it is a model of architecture {architecture}",
                      hint=f"{modelfile.where(said.span)} takes it for one by its name; a projector's is clip")
    return here


def fetch(found: Found, lock: LockFile, stage: str, store: Store, on_progress: Progress = quiet) -> Found:
    """The same with its base and adapters here. Raises Failure when one can't be had, or is not what the lock says."""
    from modelkit import models

    if found.base is None:
        base = models.acquire(found.reference, store=store, on_progress=on_progress)
        found = _with(found, base, lock, stage, store)
    return _with_adapters(found, lock, stage, store, on_progress)


def inspect(found: Found, lock: LockFile, stage: str, store: Store, on_progress: Progress = quiet, *,
            refresh: bool = False) -> Found:
    """The same with everything known that the lock wants, weights fetched only where nothing less says it.

    With `refresh`, a reference that moves is asked for what it means now.
    """
    known = _inspected(found, lock, stage, store, on_progress, refresh=refresh)
    return _with_adapters(known, lock, stage, store, on_progress, refresh=refresh)


def _with_adapters(found: Found, lock: LockFile, stage: str, store: Store, on_progress: Progress, *,
                   refresh: bool = False) -> Found:
    adapters.presume_said(found.adapters, found.artifact, found.asked)
    around = Around(stage, found.wanted, found.base, lock, store)
    return replace(found, adapters=adapters.fetch(found.adapters, around, on_progress, refresh=refresh))


def _inspected(found: Found, lock: LockFile, stage: str, store: Store, on_progress: Progress, *,
               refresh: bool) -> Found:
    from modelkit import models
    from modelkit.models.promised import promised

    asked = found.asked
    if asked.path is not None or (found.base is not None and not (refresh and asked.mutable)):
        return fetch(found, lock, stage, store, on_progress)
    locked = lock.artifact(asked)
    if locked is not None and locked.tokenizer is not None:
        return found
    artifact, facts = promised(found.reference, store, on_progress)
    known = replace(found, reference=Reference.parse(artifact.resolved, Path.cwd()))
    if (here := models.locate(known.reference, store=store)) is not None:
        return _with(known, here, lock, stage, store)
    if facts is None:
        return fetch(replace(known, base=None), lock, stage, store, on_progress)
    return far(known, artifact, facts.quantization, facts)


def finish(found: Found, store: Store, on_progress: Progress = quiet) -> Found:
    """The same with the form that the engine loads. Raises Failure when a tool is missing, or fails."""
    if found.left and found.base is not None:
        found = replace(found, at=make(found.base, found.route, found.tools, store, on_progress), left=())
    return replace(found, adapters=adapters.finish(found.adapters, found.base, store, on_progress))


def presume_paired(found: Sequence[tuple[str, Found]], store: Store) -> None:
    """A GGUF for one stage and safetensors for another must be one model. Raises Failure `not-the-same-model`.

    Stages of one form may have different models: a small one for dev is a choice that the reader sees.
    """
    from modelkit.models.promised import headers
    from modelkit.models.same import presume_same

    models: dict[str, dict[str, Found]] = {"gguf": {}, "safetensors": {}}
    for stage, one in found:
        if stage != "experiment" and one.artifact is not None and one.artifact.form in models:
            models[one.artifact.form][one.reference.text] = one
    for left in models["gguf"].values():
        for right in models["safetensors"].values():
            sides = [one.base or headers(one.artifact, one.reference, store) for one in (left, right) if one.artifact]
            if len(sides) == 2 and sides[0] is not None and sides[1] is not None:
                presume_same(sides[0], sides[1])


def _with(found: Found, base: Weights, lock: LockFile, stage: str, store: Store) -> Found:
    from modelkit import models
    from modelkit.models.local import artifact_at

    artifact = (artifact_at(found.reference.path, base, store) if found.reference.path is not None
                else store.find(found.reference.text))
    if artifact is not None:
        lock.presume_files(found.asked, artifact, stage)
    ask = found.wanted
    if ask.imatrix is not None and not ask.imatrix.is_file():
        raise Failure("imatrix-missing", f"there is no importance matrix {ask.imatrix}",
                      "name the file that `llama-imatrix` made for this model")
    own = precision(base)
    way = route(base.form, own, ask.form, ask.precision, str(ask.imatrix) if ask.imatrix else None)
    tools = tools_for(way)
    locked = lock.tools(stage, way, tools)
    at, left = reach(base, way, locked, store)
    if left and locked != tools:
        lock.presume_tools(stage, locked, tools)
        at, left, locked = *reach(base, way, tools, store), tools
    return replace(found, artifact=artifact, base=base, facts=models.facts(base), precision=own, route=way, at=at,
                   left=left, tools=locked)


def asking(found: Found, wanted: Wanted, lock: LockFile, stage: str, store: Store) -> Found:
    """The same model, and another way to it."""
    found = replace(found, wanted=wanted)
    if found.base is not None:
        return _with(found, found.base, lock, stage, store)
    return found if found.artifact is None else far(found, found.artifact, found.precision, found.facts)


def far(found: Found, artifact: Artifact, precision_: str, facts: ModelFacts | None) -> Found:
    """A model that is not here, known by its lock or its headers."""
    ask = found.wanted
    have: Literal["gguf", "safetensors"] = "gguf" if artifact.form == "gguf" else "safetensors"
    way = route(have, precision_, ask.form, ask.precision, str(ask.imatrix) if ask.imatrix else None)
    return replace(found, artifact=artifact, base=None, facts=facts, precision=precision_, route=way, left=way,
                   tools=tools_for(way))


def tools_for(way: tuple[Step, ...]) -> dict[str, Tool]:
    """The tools of this machine that these steps need."""
    from modelkit.runtime import environments

    found = {name: environments.find_tool(name) for name in {step.tool for step in way if step.tool}}
    return {name: tool for name, tool in found.items() if tool is not None}
