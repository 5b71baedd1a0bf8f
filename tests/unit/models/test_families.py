"""Each family's folder is the model that went into the GGUF: `make_families.py` made both, these tests compare."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from modelkit import models
from modelkit.models.store import Store
from tests.unit.models.make_families import MODELS, read

EXACT = sorted(name for name, tiny in MODELS.items() if tiny.kind == "bf16")


def folder_of(name: str, place: Path) -> Path:
    """The Hugging Face folder that modelkit makes of a family's GGUF."""
    path = place / f"{name}.gguf"
    path.write_bytes(read(name)[1])
    store = Store(place / "models")
    return Path(models.huggingface_folder(models.acquire(str(path), place, store=store), store).path)


def tensors_of(folder: Path) -> dict[str, tuple[list[int], bytes]]:
    """Shapes and bytes of a safetensors file."""
    data = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    said, body = json.loads(data[8:8 + length]), data[8 + length:]
    return {name: (one["shape"], body[slice(*one["data_offsets"])])
            for name, one in said.items() if name != "__metadata__"}



@pytest.mark.parametrize("name", EXACT)
def test_tensors_are_those_of_the_original(name: str, tmp_path: Path) -> None:
    found = tensors_of(folder_of(name, tmp_path))
    assert {key: [shape, hashlib.sha256(data).hexdigest()[:32]] for key, (shape, data) in found.items()} \
        == read(name)[0]["tensors"]
