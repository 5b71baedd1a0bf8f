"""The ADAPTERs of a stage: which count, what they are called, and what is missing of them. Pure.

    ADAPTER x AS kind   a model `kind` beside the Modelfile's own: the base with x
    ADAPTER x           part of the Modelfile's own model: whoever asks for NAME gets the base with x

One request is answered with one adapter: `kind` is the base with its own adapter, without the other. Of several
ADAPTERs without AS the last counts, as in Ollama.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from modelkit.language.layers import effective
from modelkit.language.modelfile import Modelfile
from modelkit.planning.plan import Need, Origin, ServedAdapter

if TYPE_CHECKING:
    from modelkit.planning.facts import Facts

CONVERTER: Literal["converter"] = "converter"


@dataclass(frozen=True)
class WantedAdapter:
    """One ADAPTER that counts: `name` is the model name that chooses it, `reference` is as the Modelfile has it."""

    name: str
    reference: str
    origin: Origin
    named: bool  # by AS


def wanted_adapters(modelfile: Modelfile, stage: str) -> tuple[WantedAdapter, ...]:
    """The ADAPTERs of a stage that count, in the file's order. That no two have one name, the checker has seen to."""
    found: dict[str, WantedAdapter] = {}
    own = modelfile.name.value
    for said in effective(modelfile, stage).adapters:
        name = said.value.name or own
        where = modelfile.where(said.span)
        origin = Origin(kind="stage" if said.layer == "stage" else "modelfile", where=where)
        found.pop(name, None)  # the last without AS counts, at its own place
        found[name] = WantedAdapter(name, said.value.reference, origin, said.value.name is not None)
    return tuple(found.values())


def served_adapters(modelfile: Modelfile, stage: str, facts: Facts) -> tuple[ServedAdapter, ...]:
    """The stage's adapters as far as they are here."""
    known = {one.name: one for one in facts.adapters}
    return tuple(known.get(one.name) or ServedAdapter(name=one.name, reference=one.reference, origin=one.origin)
                 for one in wanted_adapters(modelfile, stage))


def adapter_needs(adapters: tuple[ServedAdapter, ...], facts: Facts, form: str) -> Iterator[Need]:
    """What `up` has to bring, make, or ask for before these adapters can be served."""
    for one in adapters:
        if one.path is not None or one.source is not None:
            continue
        if not one.form:
            yield Need(code="download", message=f"fetch the adapter {one.reference}", automatic=True)
            continue
        to = "GGUF" if form == "gguf" else "PEFT's form"
        yield Need(code="convert", message=f"convert the adapter {one.reference} to {to}, once", automatic=True)
        if form == "gguf" and CONVERTER not in facts.tools:
            yield Need(code="tool", automatic=False, message=f"the {CONVERTER} is not installed, and the adapter "
                       f"{one.reference} wants to be converted to GGUF: run `modelkit tool install {CONVERTER}`")


def spelled(adapters: tuple[WantedAdapter, ...]) -> list[str]:
    """As `explain` and the lock's digest of settings have them."""
    return [f"{one.reference} AS {one.name}" if one.named else one.reference for one in adapters]
