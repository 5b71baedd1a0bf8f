"""What a base of Ollama's registry brings with it is read, or refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.models.artifact import Artifact, Piece, Role
from modelkit.models.inherited import NOTHING, Inherited, inherited
from modelkit.models.store import Store


def artifact(store: Store, *layers: tuple[Role, bytes]) -> Artifact:
    pieces = []
    for number, (role, data) in enumerate(layers):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with store.workspace(str(number)) as work:
            (work / "file").write_bytes(data)
            store.add(work / "file", digest)
        pieces.append(Piece(f"{role}-{number}", digest, len(data), role))
    return Artifact("ollama://a:latest", "ollama://a:latest", "gguf", tuple(pieces))


@pytest.mark.parametrize(("layers", "said"), [
    ((), NOTHING),
    ((("system", b"You are terse."),), Inherited("You are terse.")),
    ((("params", b'{"temperature": 0.5, "stop": ["a", "b", "a"]}'),), Inherited(parameters={"temperature": 0.5},
                                                                                      stop=("a", "b"))),
    ((("params", b'{"stop": "a"}'),), Inherited(None, {}, ("a",))),
    ((("messages", b'[{"role": "user", "content": "hi", "images": []}]'),),
     Inherited(None, {}, (), ({"role": "user", "content": "hi"},))),
])
def test_layers_are_read(layers: tuple[tuple[Role, bytes], ...], said: Inherited, tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert inherited(artifact(store, *layers), store) == said


@pytest.mark.parametrize("layers", [
    (("params", b"[]"),), (("params", b"{"),), (("params", b"[" * 100_000),), (("params", b'{"stop": [1]}'),),
    (("params", b'{"temperature": "hot"}'),), (("messages", b'[{"role": "root", "content": "x"}]'),),
    (("messages", b'["x"]'),), (("system", b"\xff"),), (("system", b"a"), ("system", b"b")),
])
def test_what_is_none_is_refused(layers: tuple[tuple[Role, bytes], ...], tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(Failure) as failed:
        inherited(artifact(store, *layers), store)
    assert failed.value.code in ("model-invalid", "model-unreadable")
