"""The anatomy of models on a Hub: headers alone are asked for, once for all who want to know."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.models.anatomy import Anatomy, anatomy_of_folder
from modelkit.models.anatomy.far import anatomy_far
from modelkit.models.anatomy.local import anatomy_of
from modelkit.models.formats.checkpoint import local_files
from modelkit.models.promised import promised
from modelkit.models.reference import Reference
from modelkit.models.store import Store
from modelkit.models.weights import Weights
from tests.unit.models.anatomies import families, safetensors_access
from tests.unit.models.gguf_files import gguf, pair
from tests.unit.models.hub import HubServer, ask_only, hub_server
from tests.unit.models.small_model import pairs, tensors

SHARDS = 12


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server() as server:
        ask_only(server, tmp_path, monkeypatch)
        yield server


def known(word: str, store: Store) -> tuple[Anatomy | None, bool]:
    """The anatomy of what is far away, and whether its facts are known."""
    reference = Reference.parse(word, Path.cwd())
    artifact, facts = promised(reference, store)
    return anatomy_far(artifact, reference, store), facts is not None


def parts() -> dict[str, bytes]:
    """A GGUF in three parts, the first without a tensor."""
    every, total = tensors(), len(tensors())
    split = [pair("split.count", "uint16", 3), pair("split.tensors.count", "int32", total)]
    return {f"m-{number + 1:05d}-of-00003.gguf": gguf(
        [*(pairs() if number == 0 else []), pair("split.no", "uint16", number), *split],
        () if number == 0 else every[number - 1::2]) for number in range(3)}


def shards() -> dict[str, bytes]:
    """A Hugging Face folder whose tensors are in many files."""
    said, files, places = families()["mixtral"], dict[str, bytes](), dict[str, str]()
    names = list(said["tensors"])
    for number in range(SHARDS):
        shard = f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors"
        access = safetensors_access({name: said["tensors"][name] for name in names[number::SHARDS]})
        files[shard] = access.read_at(0, access.size)
        places |= dict.fromkeys(names[number::SHARDS], shard)
    index = {"metadata": {}, "weight_map": places}
    return files | {"config.json": json.dumps(said["config"]).encode(), "tokenizer.json": b"{}",
                    "model.safetensors.index.json": json.dumps(index).encode()}


def weights_of(hub: HubServer) -> list[str]:
    return [name for name in hub.fetched() if name.endswith((".gguf", ".safetensors"))]


def test_parts_of_a_gguf_are_asked_for_their_headers_once(hub: HubServer, tmp_path: Path) -> None:
    files = parts()
    hub.add("a/b", files)
    found, facts = known("hf://a/b", Store(tmp_path / "store"))
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    path = tmp_path / next(iter(files))
    assert facts and found == anatomy_of(Weights(reference="m", form="gguf", path=str(path), size=0,
                                                 digest="sha256:" + "0" * 64))
    assert sorted(weights_of(hub)) == sorted(files)


def test_shards_are_asked_for_their_headers_once(hub: HubServer, tmp_path: Path) -> None:
    files = shards()
    hub.add("a/b", files)
    found, facts = known("hf://a/b", Store(tmp_path / "store"))
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    assert facts and found == anatomy_of_folder(local_files(folder))
    assert sorted(weights_of(hub)) == sorted(name for name in files if name.endswith(".safetensors"))


def test_what_one_file_lacks_is_said_once(hub: HubServer, tmp_path: Path) -> None:
    """Of files that are read at once the first failure counts, and no request is left behind."""
    files = shards()
    broken = sorted(name for name in files if name.endswith(".safetensors"))[3]
    hub.add("a/b", files)[0].altered[broken] = b"<html>" + files[broken][6:]
    with pytest.raises(Failure) as refused:
        known("hf://a/b", Store(tmp_path / "store"))
    assert refused.value.code == "safetensors-invalid" and broken in refused.value.message


def test_a_folder_here_needs_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    for name, data in shards().items():
        (tmp_path / name).write_bytes(data)
    found = anatomy_of(Weights(reference="m", form="safetensors", path=str(tmp_path), size=0,
                               digest="sha256:" + "0" * 64))
    assert found.experts == 4 and found.architecture == "mixtral"
