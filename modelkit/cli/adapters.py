"""A stage's LoRA adapters: what is here of them, fetched and made where it is not, checked against their base."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelkit.cli.lockfile import LockFile
from modelkit.failure import Failure
from modelkit.models.adapter_files import fetch_adapter, locate_adapter
from modelkit.models.adapters import AdapterFacts, adapter_facts, presume_fits, refusals
from modelkit.models.reference import Reference
from modelkit.models.store import Progress, Store, quiet
from modelkit.planning.adapters import CONVERTER, WantedAdapter, wanted_adapters
from modelkit.planning.plan import ModelSource, ServedAdapter

if TYPE_CHECKING:
    from modelkit.language.modelfile import Modelfile
    from modelkit.models.artifact import Artifact
    from modelkit.models.convert.tool import Tool
    from modelkit.models.lock import LockedAdapter, LockedArtifact
    from modelkit.models.weights import Weights
    from modelkit.planning.forms import Wanted


@dataclass(frozen=True)
class Around:
    """What a stage's adapters are looked at in: the stage, what it asks for, its base as far as it is here."""

    stage: str
    ask: Wanted
    base: Weights | None
    lock: LockFile
    store: Store


@dataclass(frozen=True)
class FoundAdapter:
    """One ADAPTER as far as it is here.

    `asked` is what ADAPTER says, `reference` what the lock makes of it, `own` the adapter as its source has it, `at`
    the form that the engine loads. `tool` is what makes that form, where it takes one that is installed.
    """

    wanted: WantedAdapter
    asked: Reference
    reference: Reference
    form: Literal["gguf", "safetensors"]  # that the engine loads
    artifact: Artifact | None = None
    own: Weights | None = None
    facts: AdapterFacts | None = None
    tool: Tool | None = None
    at: Weights | None = None

    @property
    def name(self) -> str:
        return f"the adapter {self.wanted.reference} ({self.wanted.origin.where})"


def presume_said(found: tuple[FoundAdapter, ...], base: Artifact | None, asked: Reference) -> None:
    """Raise Failure where the base brings an adapter along, as Ollama's may, that no ADAPTER takes up."""
    brought = base is not None and base.form != "adapter" and any(piece.role == "adapter" for piece in base.files)
    if brought and not any(one.asked.text == asked.text for one in found):
        raise Failure("adapter-in-base", f"{asked.text} brings a LoRA adapter of its own, which FROM leaves behind",
                      f"write `ADAPTER {asked.text}` too, or name a model without one in FROM")


def look(modelfile: Modelfile, around: Around) -> tuple[FoundAdapter, ...]:
    """What is here of a stage's adapters. Fetches and makes nothing.

    Raises Failure for an adapter that is here and that the engine, or the base, has no use for.
    """
    found = []
    for wanted in wanted_adapters(modelfile, around.stage):
        asked = Reference.parse(wanted.reference, Path(modelfile.path).absolute().parent)
        one = FoundAdapter(wanted, asked, around.lock.pinned(asked, around.stage), around.ask.form)
        here = locate_adapter(one.reference, around.store)
        if here is not None:
            found.append(_with(one, *here, around))
        else:
            known = around.lock.artifact(asked)
            found.append(replace(one, artifact=known.artifact() if known else None))
    return tuple(found)


def fetch(found: tuple[FoundAdapter, ...], around: Around, on_progress: Progress = quiet, *, refresh: bool = False,
          ) -> tuple[FoundAdapter, ...]:
    """The same with every adapter here, as its source has it; with `refresh`, as its source has it now."""
    return tuple(_with(one, *fetch_adapter(one.reference, around.store, on_progress,
                                           refresh=refresh and one.asked.mutable), around) for one in found)


def finish(found: tuple[FoundAdapter, ...], base: Weights | None, store: Store, on_progress: Progress = quiet,
           ) -> tuple[FoundAdapter, ...]:
    """The same in the form that the engine loads. Raises Failure when the tool is missing, or fails."""
    return tuple(one if one.at is not None or base is None else replace(one, at=_made(one, base, store, on_progress))
                 for one in found)


def served(found: tuple[FoundAdapter, ...], where: str, stage: str) -> Iterator[ServedAdapter]:
    """As planning is told of them. Raises Failure for one that containers elsewhere cannot get."""
    for one in found:
        at = one.at
        yield ServedAdapter(
            name=one.wanted.name, reference=one.wanted.reference, origin=one.wanted.origin,
            form=one.own.form if one.own else "", path=at.path if at else None, digest=at.digest if at else "",
            size=at.size if at else 0, rank=one.facts.rank if one.facts else None, source=_source(one, where, stage))


def locked(found: tuple[FoundAdapter, ...], lock: LockFile) -> Iterator[tuple[LockedAdapter, LockedArtifact]]:
    """As the lock would have them now."""
    from modelkit.models.lock import LockedAdapter
    from modelkit.planning.locking import locked_artifact

    for one in found:
        assert one.artifact is not None, "the lock is about files that are known"
        artifact = locked_artifact(lock.name(one.asked), one.artifact, "", None)
        known = lock.artifact(one.asked)
        if known is not None and known.files == artifact.files and known.resolved == artifact.resolved:
            artifact = known
        made = one.at is not None and one.at.recipe is not None
        yield LockedAdapter(name=one.wanted.name, artifact=artifact.reference, tool=_maker(one),
                            output=one.at.digest if made and one.at else None,
                            size=one.at.size if made and one.at else None), artifact


def _with(one: FoundAdapter, artifact: Artifact, own: Weights, around: Around) -> FoundAdapter:
    around.lock.presume_files(one.asked, artifact, around.stage)
    facts = adapter_facts(own)
    if around.base is not None:
        presume_fits(facts, around.base, one.name)
    if one.form == "safetensors":
        _presume_loadable(one, facts, around.ask.engine)
    one = replace(one, artifact=artifact, own=own, facts=facts)
    return replace(one, at=own) if own.form == one.form else _convertible(one, own, around)


def _presume_loadable(one: FoundAdapter, facts: AdapterFacts, engine: str) -> None:
    if unfit := list(refusals(facts)):
        raise Failure("adapter-refused", f"{engine} cannot serve {one.name}: {unfit[0]}",
                      "merge it into its base and name the result in FROM, or convert it to a plain LoRA with PEFT",
                      detail=tuple(unfit[1:]))


def _convertible(one: FoundAdapter, own: Weights, around: Around) -> FoundAdapter:
    """An adapter in the other form: what makes the engine's of it, and that form if it is here."""
    from modelkit.models.convert import lora

    base, lock, store = around.base, around.lock, around.store
    if own.form == "gguf":
        return one if base is None else replace(one, at=lora.locate_peft(own, base, store=store))
    from modelkit.models.convert.tool import Tool
    from modelkit.runtime import environments

    lora.presume_convertible(own)
    here = environments.find_tool(CONVERTER)
    entry = lock.stage(around.stage)
    version = next((said.tool for said in entry.adapters if said.name == one.wanted.name), "") if entry else ""
    then = replace(here, version=version) if here else Tool(name=CONVERTER, version=version, python="")
    if version and base is not None and (made := lora.locate_gguf(own, base, then, store=store)) is not None:
        return replace(one, tool=then, at=made)
    if version and then != here:
        lock.presume_tools(around.stage, {CONVERTER: then}, {CONVERTER: here} if here else {})
    at = lora.locate_gguf(own, base, here, store=store) if here and base is not None else None
    return replace(one, tool=here, at=at)


def _made(one: FoundAdapter, base: Weights, store: Store, on_progress: Progress) -> Weights:
    from modelkit.models.convert import lora

    assert one.own is not None, "fetched before it is made"
    if one.form == "safetensors":
        return lora.peft_folder(one.own, base, store=store, on_progress=on_progress)
    if one.tool is None:
        raise Failure("tool-missing", f"the {CONVERTER} is not installed, and {one.name} wants to be converted to GGUF",
                      f"modelkit tool install {CONVERTER}", data={"tool": CONVERTER})
    return lora.gguf_adapter(one.own, base, one.tool, store=store, on_progress=on_progress)


def _maker(one: FoundAdapter) -> str:
    if one.own is None or one.own.form == one.form:
        return ""
    return one.tool.version if one.tool else "modelkit peft 1" if one.form == "safetensors" else ""


def _source(one: FoundAdapter, where: str, stage: str) -> ModelSource | None:
    """Where the containers of a stage get an adapter from; None for processes, and while it is not known."""
    if where == "process" or one.artifact is None:
        return None
    if where == "here":
        return None if one.at is None else ModelSource(kind="folder", name=one.at.path)
    from modelkit.planning.reach import remote_source

    if one.own is not None and one.own.form != one.form:
        raise Failure("weights-not-reachable", f"{one.name} is a GGUF, and stage `{stage}` runs on other machines, "
                      "which take it as it is", "`modelkit convert ADAPTER --base MODEL --to safetensors -o DIR`, then "
                      "`modelkit push DIR oci://…`, and write `ADAPTER oci://…`")
    try:
        return remote_source(one.artifact, stage)
    except Failure as failure:
        raise Failure(failure.code, f"other machines cannot fetch {one.name}, and stage `{stage}` runs on them",
                      f"run `modelkit push {one.wanted.reference} oci://…` and write `ADAPTER oci://…`") from None
