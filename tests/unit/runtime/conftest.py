from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.runtime.support import Home


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A MODELKIT_HOME with a short path. Whatever is still running when the test ends is a failure of the test."""
    path = Path(tempfile.mkdtemp(prefix="mk-", dir="/tmp"))
    monkeypatch.setenv("MODELKIT_HOME", str(path))
    made = Home(path)
    try:
        yield made
    finally:
        left = made.clean()
        shutil.rmtree(path, ignore_errors=True)
    assert not left, f"processes were left running: {left}"
