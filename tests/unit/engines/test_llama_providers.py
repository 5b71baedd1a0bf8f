"""Who provides llama.cpp: what is found, whom a stage takes, and why."""

from __future__ import annotations

import ast
import importlib.machinery
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelkit.engines import llama_providers
from modelkit.engines.llama_providers import NEEDS, known, lacking, providers, taken, version_here, why
from modelkit.failure import Failure
from modelkit.llamacpp.config import KNOWN
from modelkit.planning.plan import Engine

ROOT = Path(__file__).parents[3]
ENVIRONMENT = SimpleNamespace(version="0.3.36", variant="cuda", command="/env/bin/python")
VERSIONS = {"llama-cpp-python": "0.3.36", "xllamacpp": "2026.10.11549"}


class Machine:
    """A machine that has nothing, and gets what a test gives it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.packages = folder, set[str]()
        self.versions = dict(VERSIONS)
        monkeypatch.delenv("LLAMA_SERVER", raising=False)
        monkeypatch.setenv("PATH", f"{folder}:/bin")
        monkeypatch.setattr("importlib.util.find_spec", self._spec)
        monkeypatch.setattr("importlib.metadata.version", lambda name: self.versions[name])

    def own(self, *without: str) -> Machine:
        self.packages |= {"llama_cpp", *NEEDS} - {*without}
        return self

    def wheel(self) -> Machine:
        self.packages.add("xllamacpp")
        return self

    def binary(self, name: str = "llama-server", says: str = "version: 6123 (abcdef0)") -> str:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
        path.chmod(0o755)
        return str(path)

    def _spec(self, name: str) -> object:
        origin = str(self.folder / name / "__init__.py")
        return importlib.machinery.ModuleSpec(name, None, origin=origin) if name in self.packages else None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_a_machine_with_nothing_has_nobody(machine: Machine) -> None:
    assert providers() == () and taken((), "llama.cpp") is None and taken((), "llama-server") is None


def test_our_own_engine_goes_first_and_the_protocol_has_its_own_word(machine: Machine) -> None:
    binary = machine.own().wheel().binary()
    found = providers([ENVIRONMENT])
    assert [(one.engine.provider, one.where) for one in found] == [
        ("llama-cpp-python", "in modelkit's own Python"), ("llama-cpp-python", "in its environment"),
        ("llama-server", "on PATH"), ("xllamacpp", "in modelkit's own Python")]
    assert [one.engine.command[0] for one in found] == [sys.executable, "/env/bin/python", binary, sys.executable]
    assert [one.engine.variant for one in found] == ["cpu", "cuda", "", ""]
    assert taken(found, "llama.cpp") == found[0] and taken(found, "llama-server") == found[2]
    said = why(found, found[0], "llama.cpp")
    assert "goes first" in said and "llama-server 6123 on PATH" in said and "xllamacpp 2026.10.11549" in said
    assert "asks for its protocol" in why(found, found[2], "llama-server")


def test_what_is_named_goes_before_all(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.own().binary()
    monkeypatch.setenv("LLAMA_SERVER", machine.binary("mine", "version: 0.5.0-dev (build 11434, commit 7e4c0a9)"))
    found = providers()
    assert [one.engine.version for one in found] == ["11434", "0.3.36"], "the one on PATH is not asked"
    assert taken(found, "llama.cpp") is found[0] and "LLAMA_SERVER" in why(found, found[0], "llama.cpp")


def test_a_named_binary_that_is_none_is_said(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_SERVER", machine.binary("other", "hello"))
    with pytest.raises(Failure) as failure:
        providers()
    assert "LLAMA_SERVER" in failure.value.message


def test_a_llama_cpp_without_what_our_engine_needs_is_not_taken_and_that_is_said(machine: Machine) -> None:
    machine.own("llguidance", "uvloop").wheel()
    found = providers()
    assert [one.engine.provider for one in found] == ["xllamacpp"] and lacking() == ("llguidance", "uvloop")
    assert "lacks llguidance, uvloop: pip install" in why(found, found[0], "llama.cpp")
    assert version_here() == "0.3.36", "it quantizes all the same"


def test_without_any_of_ours_the_way_to_it_is_said(machine: Machine) -> None:
    found = machine.wheel() and providers()
    assert found[0].engine == Engine(name="llama.cpp", provider="xllamacpp", version="2026.10.11549",
                                     command=(sys.executable,))
    assert "modelkit engine install llama.cpp" in why(found, found[0], "llama.cpp")
    assert "xllamacpp" not in sys.modules, "nobody imports it to find out"


@pytest.mark.parametrize(("version", "fits"), [("0.3.36", True), ("0.3.36+cuda", True), ("0.3.35", False),
                                               ("0.3.37", False), ("0.4.0", False)])
def test_another_release_has_other_structs(machine: Machine, version: str, fits: bool) -> None:
    machine.own().versions["llama-cpp-python"] = version
    assert known(version) is fits and bool(providers()) is fits
    assert bool(lacking()) is not fits


def test_a_version_that_is_asked_for_chooses_the_provider(machine: Machine) -> None:
    machine.own().wheel().binary()
    found = providers()
    for specifier, provider in ((">=0.3,<1", "llama-cpp-python"), (">=6000,<7000", "llama-server"),
                                ("==2026.*", "xllamacpp"), ("==7.*", "llama-cpp-python")):
        one = taken(found, "llama.cpp", specifier)
        assert one is not None and one.engine.provider == provider, specifier
    one = taken(found, "llama.cpp", "==2026.*")
    assert one is not None and "its version is asked for" in why(found, one, "llama.cpp")


@pytest.mark.parametrize(("library", "variant"), [("libggml-cpu.so", "cpu"), ("libggml-cuda.so", "cuda"),
                                                  ("libggml-metal.dylib", "metal")])
def test_what_it_was_built_for_is_read_from_its_libraries(machine: Machine, library: str, variant: str) -> None:
    (machine.folder / "llama_cpp" / "lib").mkdir(parents=True)
    (machine.folder / "llama_cpp" / "lib" / library).touch()
    (one,) = machine.own() and providers()
    assert one.engine.variant == variant


def test_the_engine_and_its_provider_know_the_same_versions() -> None:
    """`library` cannot be imported where llama_cpp is not."""
    tree = ast.parse((ROOT / "modelkit/llamacpp/library.py").read_text())
    said = [ast.literal_eval(one.value) for one in tree.body if isinstance(one, ast.Assign)
            and any(isinstance(name, ast.Name) and name.id == "KNOWN" for name in one.targets)]
    imported = [name.name for one in tree.body if isinstance(one, ast.ImportFrom)
                and one.module == "modelkit.llamacpp.config" for name in one.names]
    assert said == [KNOWN] or "KNOWN" in imported
    assert llama_providers.KNOWN is KNOWN
