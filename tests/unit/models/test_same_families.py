"""Same model? For every family: the official converter's GGUF beside the configuration that transformers writes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modelkit import models
from modelkit.models.formats.access import Access, LocalFile
from modelkit.models.formats.checkpoint import Files, local_files
from modelkit.models.same import compare
from modelkit.models.store import Store
from tests.unit.models.make_configs import FILE
from tests.unit.models.make_families import MODELS, read

CONFIGS: dict[str, dict[str, Any]] = json.loads(FILE.read_text())
OTHER = {  # what a family is taken for at first sight, and what gives it away
    "llama": ("mistral", {"rope theta", "rope scaling"}), "mistral": ("llama", {"rope theta", "rope scaling"}),
    "qwen2": ("qwen3", {"architecture"}), "qwen3": ("qwen3moe", {"architecture", "experts"}),
    "gemma": ("gemma2", {"architecture", "attention softcap", "output softcap", "tensors"}),
    "gemma2": ("gemma3", {"architecture", "attention softcap", "layers"}),
    "mixtral": ("qwen3moe", {"architecture", "experts"})}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


def forms(name: str, folder: Path) -> tuple[Path, Files]:
    """The GGUF, and a folder with its tensors and tokenizer under transformers' own configuration."""
    path, config = folder / f"{name}.gguf", folder / f"{name}.json"
    if not path.exists():
        path.write_bytes(read(name)[1])
        config.write_text(json.dumps(CONFIGS[name]))
    store = Store(folder / "models")
    near = local_files(Path(models.huggingface_folder(models.acquire(str(path), folder, store=store), store).path))
    return path, Files(name, partial(_opened, near, config), near.weights)


def _opened(near: Files, config: Path, name: str) -> Access | None:
    return LocalFile(config) if name == "config.json" else near.opened(name)


def test_every_family_is_here() -> None:
    assert CONFIGS.keys() == MODELS.keys()


@pytest.mark.parametrize("name", MODELS)
def test_a_family_is_itself(name: str, folder: Path) -> None:
    path, files = forms(name, folder)
    assert compare(path, files) == ()


@pytest.mark.parametrize("name", OTHER)
def test_a_family_is_no_other(name: str, folder: Path) -> None:
    other, aspects = OTHER[name]
    found = {one.aspect for one in compare(forms(name, folder)[0], forms(other, folder)[1]) if one.severe}
    assert aspects <= found
