"""Headers are kept while their files stay as they are."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelkit.failure import Failure
from modelkit.models.formats import gguf_reader
from modelkit.models.formats.gguf_reader import read_header
from tests.unit.models.gguf_files import gguf, pair


def model(name: str) -> bytes:
    return gguf([pair("general.architecture", "string", "llama"), pair("general.name", "string", name)])


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute after everything that the test writes."""
    monkeypatch.setattr(gguf_reader, "time", SimpleNamespace(time=lambda: time.time() + 60))
    monkeypatch.setattr(gguf_reader, "_kept", {})


def test_a_header_is_read_once(tmp_path: Path, later: None, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(model("one"))
    first = read_header(file)
    assert read_header(str(file)) is first and read_header(file, model=False) is not first
    monkeypatch.chdir(tmp_path)
    assert read_header("model.gguf") is first


def test_a_file_that_changed_is_read_again(tmp_path: Path, later: None) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(model("one"))
    first = read_header(file)
    file.write_bytes(model("two"))
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))  # a clock that counts in steps
    assert read_header(file).get("general.name", str) == "two" and first.get("general.name", str) == "one"
    (tmp_path / "other").write_bytes(model("xyz"))
    (tmp_path / "other").replace(file)
    assert read_header(file).get("general.name", str) == "xyz"
    file.unlink()
    with pytest.raises(Failure):
        read_header(file)


def test_a_file_that_was_written_just_now_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_reader, "_kept", {})
    file = tmp_path / "model.gguf"
    file.write_bytes(model("one"))
    assert read_header(file) is not read_header(file)


def test_few_are_kept(tmp_path: Path, later: None) -> None:
    for number in range(20):
        (tmp_path / f"{number}.gguf").write_bytes(model(str(number)))
        read_header(tmp_path / f"{number}.gguf")
    assert len(gguf_reader._kept) == gguf_reader._MOST_KEPT
    assert read_header(tmp_path / "19.gguf") is read_header(tmp_path / "19.gguf")
