"""What a model of Ollama's registry brings with it besides weights: its own parameters, system prompt and messages.

Ollama lets a Modelfile's FROM inherit them: parameters merge with the file's winning, a `stop` list, a system prompt
and messages are replaced as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.models.artifact import Artifact
    from modelkit.models.store import Store

_LARGEST = 1 << 20
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Inherited:
    """What the base says of itself; the Modelfile's own words win."""

    system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    messages: tuple[Mapping[str, str], ...] = ()
    template: str | None = None  # Go's, for a model without a Jinja template of its own


NOTHING = Inherited()


def inherited(artifact: Artifact, store: Store) -> Inherited:
    """What an artifact that is here brings with it. Raises Failure for a layer that is not as Ollama writes it."""
    system = _text(artifact, store, "system")
    parameters = _json(artifact, store, "params", dict)
    stop = parameters.pop("stop", [])
    messages = _json(artifact, store, "messages", list)
    if isinstance(stop, str):
        stop = [stop]
    whole = (isinstance(stop, list) and all(isinstance(one, str) for one in stop)
             and all(isinstance(value, bool | int | float) for value in parameters.values())
             and all(isinstance(one, dict) and one.get("role") in _ROLES and isinstance(one.get("content"), str)
                     for one in messages))
    if not whole:
        raise Failure("model-invalid", f"{artifact.resolved} has parameters or messages that are none",
                      "its maker has to repair it")
    return Inherited(system or None, parameters, tuple(dict.fromkeys(stop)),
                     tuple({"role": one["role"], "content": one["content"]} for one in messages),
                     _text(artifact, store, "template", "template") or None)


def _text(artifact: Artifact, store: Store, role: str, name: str | None = None) -> str:
    pieces = [piece for piece in artifact.files if piece.role == role and (name is None or piece.path == name)]
    if not pieces:
        return ""
    if len(pieces) > 1 or pieces[0].size > _LARGEST:
        raise Failure("model-invalid", f"{artifact.resolved} has more than one {role}, or one of more than 1 MiB",
                      "its maker has to repair it")
    try:
        return store.path(artifact, pieces[0]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure("model-unreadable", f"the {role} of {artifact.resolved} can't be read: {error}") from None


def _json(artifact: Artifact, store: Store, role: str, kind: type[Any]) -> Any:
    text = _text(artifact, store, role)
    try:
        said = json.loads(text) if text else kind()
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, kind):
        raise Failure("model-invalid", f"the {role} of {artifact.resolved} are not the JSON that Ollama writes",
                      "its maker has to repair it")
    return said
