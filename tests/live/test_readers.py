"""The readers before a real model: its two forms are one, and its facts are the same from near and far."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit import models
from modelkit.models.facts import facts_from
from modelkit.models.formats.access import LocalFile
from modelkit.models.same import compare, presume_same
from modelkit.models.store import Store
from modelkit.models.supply import presume_safe_file, presume_safe_folder
from tests.live.engines import BASE

pytestmark = pytest.mark.live_llamacpp


def test_a_model_and_the_folder_made_of_it(tmp_path: Path) -> None:
    source = models.acquire(BASE, Path.cwd())
    made = models.huggingface_folder(source, Store(tmp_path))
    assert compare(source, made) == compare(made, source) == ()
    presume_same(source, made)
    presume_safe_file(Path(source.path))
    presume_safe_folder(Path(made.path))
    assert facts_from(LocalFile(source.path)) == models.facts(source)
