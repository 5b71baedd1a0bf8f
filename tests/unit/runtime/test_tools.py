"""Tools in environments of their own: their pins, their sources, and which one is found."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import tarfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from modelkit.engines.requirements import SETS, TOOLS, Payload, RequirementSet, requirement_set, tool_set
from modelkit.failure import Failure
from modelkit.runtime import environments
from modelkit.runtime.environments import find, find_tool, installed, installed_tools
from modelkit.runtime.venv_build import PAYLOAD, take_out

WANTED = Payload("some-engine", "1.0", "0" * 64, "vendor/x", ("tools", "LICENSE"))


@pytest.mark.parametrize("one", TOOLS, ids=lambda one: one.name)
def test_a_set_pins_everything_and_names_no_place(one: RequirementSet) -> None:
    pins = [Requirement(line) for line in one.text.splitlines() if line and not line.startswith("#")]
    assert all(str(pin.specifier).startswith("==") and "*" not in str(pin.specifier) for pin in pins)
    assert "://" not in one.text and one.kind == "tool" and one.probe
    assert one.version in one.says and one.name.startswith(f"{one.engine}-{one.version}")
    compile(one.probe, one.name, "exec")


def test_tools_are_no_engines() -> None:
    assert not {one.engine for one in TOOLS} & {one.engine for one in SETS}
    assert tool_set("vllm") is None
    with pytest.raises(Failure, match="`quantizer` is not an engine"):
        requirement_set("quantizer", None, "cpu")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # our own Python has no llama_cpp
    return tmp_path


def put(home: Path, name: str, **more: str) -> Path:
    """A tool's environment as an install leaves it."""
    one = tool_set(name)
    assert one is not None
    folder = home / "data" / "tools" / one.name
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    said = {"schema": environments.SCHEMA, "engine": name, "version": one.version, "variant": one.variant,
            "path": str(folder), "requirements": one.digest, "python": "3.11.0", "tool": "uv",
            "installed": "2026-01-01T00:00:00+00:00"} | more
    (folder / environments.RECEIPT).write_text(json.dumps(said))
    return folder


def test_a_tool_is_found_by_its_name_and_is_no_engine(home: Path) -> None:
    assert find_tool("converter") is None
    folder = put(home, "converter")
    (folder / PAYLOAD).mkdir()
    put(home, "compressor")
    converter, compressor = find_tool("converter"), find_tool("compressor")
    assert converter is not None and compressor is not None
    assert (converter.version, converter.python) == ("llama-cpp-python 0.3.36", str(folder / "bin" / "python"))
    assert (converter.files, compressor.files) == (str(folder / PAYLOAD), None)
    assert installed() == [] and find("converter") is None
    assert {one.engine for one in installed_tools()} == {"converter", "compressor"}


def test_a_tool_made_of_other_pins_does_not_count(home: Path) -> None:
    put(home, "compressor", requirements="sha256:" + "0" * 64)
    assert find_tool("compressor") is None


def test_our_own_llama_cpp_is_the_quantizer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.machinery.ModuleSpec("llama_cpp", None, origin="/somewhere/llama_cpp/__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    versions = iter(["0.3.40", "0.2.90"])
    monkeypatch.setattr(importlib.metadata, "version", lambda name: next(versions))
    own = find_tool("quantizer")
    assert own is not None and (own.version, own.python) == ("llama-cpp-python 0.3.40", sys.executable)
    assert find_tool("quantizer") is None  # too old


def archive(folder: Path, *names: str) -> None:
    with tarfile.open(folder / "some_engine-1.0.tar.gz", "w:gz") as sources:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            if name.endswith("link"):
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            sources.addfile(member, io.BytesIO(b"x"))


def test_only_what_is_wanted_is_taken_out(tmp_path: Path) -> None:
    archive(tmp_path, "a/vendor/x/tools/one.py", "a/vendor/x/tools/deep/two.py", "a/vendor/x/LICENSE", "a/LICENSE",
            "a/vendor/x/toolshed/no.py", "a/vendor/x/tools/link", "a/vendor/x/other.py")
    take_out(WANTED, tmp_path, tmp_path / "out")
    found = {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if not file.is_dir()}
    assert found == {"tools/one.py", "tools/deep/two.py", "LICENSE"}


@pytest.mark.parametrize("names", [("a/vendor/x/LICENSE",), ("a/vendor/x/LICENSE", "a/vendor/x/tools/../../../../evil"),
                                   ("tools/one.py", "LICENSE")], ids=["missing", "traversal", "elsewhere"])
def test_an_archive_that_is_not_as_it_should_be(tmp_path: Path, names: tuple[str, ...]) -> None:
    archive(tmp_path, *names)
    (tmp_path / "out").mkdir()
    with pytest.raises((LookupError, OSError, tarfile.TarError)):
        take_out(WANTED, tmp_path, tmp_path / "out")
    assert not (tmp_path / "evil").exists() and not (tmp_path.parent / "evil").exists()
