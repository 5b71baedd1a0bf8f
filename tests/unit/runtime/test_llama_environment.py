"""The environment of llama.cpp: what is compiled and how, who quantizes with it, what is said without a compiler."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelkit.cli.stages import llama_found
from modelkit.engines import llama_providers
from modelkit.engines.requirements import TOOLS, requirement_set
from modelkit.failure import Failure
from modelkit.runtime import environments, venv_build
from modelkit.runtime.environments import find, find_tool, install, installed, installed_tools

# uv and an environment's Python in one: it writes down how it was called, and with which arguments for CMake.
_TOOL = r"""#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$1 $2 $3" in
    venv\ *) for last; do :; done; mkdir -p "$last/bin"; ln -s "$TOOL" "$last/bin/python"; touch "$last/pyvenv.cfg";;
    "pip install "*) echo "CMAKE_ARGS=$CMAKE_ARGS" >> "$CALLS"
        [ -n "$FAILS" ] && { echo "$FAILS"; exit 1; }
        cat "$(dirname "$(dirname "$(dirname "$4")")")/include.cmake" >> "$CALLS";;
    "-I -c "*) echo 0.3.36;;
    *) exit 64;;
esac
"""


@dataclass
class Machine:
    """The calls that the stand-in wrote down."""

    calls: Path

    @property
    def compiled(self) -> list[str]:
        return [line for line in self.calls.read_text().splitlines() if "pip install" in line]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """uv, no llama.cpp, no compiler of NVIDIA's, and an empty MODELKIT_HOME."""
    path = tmp_path / "bin" / "uv"
    path.parent.mkdir()
    path.write_text(_TOOL)
    path.chmod(0o755)
    for name, value in (("MODELKIT_HOME", tmp_path / "home"), ("TOOL", path), ("CALLS", tmp_path / "calls"),
                        ("PIP_CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(name, str(value))
    for name in ("CMAKE_ARGS", "LLAMA_SERVER", "FAILS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(venv_build, "find_uv", lambda: [str(path)])
    monkeypatch.setattr(venv_build, "base_python", lambda: str(path))
    monkeypatch.setattr(llama_providers, "version_here", lambda: None)
    monkeypatch.setattr(llama_providers.importlib.util, "find_spec", lambda name: None)
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("nvcc", "llama-server") else which(name))
    return Machine(tmp_path / "calls")


def test_it_is_compiled_with_images_and_without_what_nothing_uses(machine: Machine,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_BLAS=ON")
    made = install("llama.cpp", variant="cpu")
    (call,) = machine.compiled
    assert "--config-settings cmake.define.LLAVA_BUILD=ON" in call and "GGML_CUDA" not in call
    said = machine.calls.read_text()
    assert "CMAKE_ARGS=-DGGML_BLAS=ON -DCMAKE_PROJECT_llama.cpp_INCLUDE=" in said
    assert "set(LLAMA_BUILD_COMMON OFF)" in said
    assert made.command == str(Path(made.path) / "bin" / "python") and made.version == "0.3.36"


@pytest.mark.parametrize("first", ["quantizer", "llama.cpp"])
def test_engine_and_quantizer_are_compiled_once(machine: Machine, first: str) -> None:
    assert find_tool("quantizer") is None
    install(first, variant="cpu")
    install("quantizer")
    made = install("llama.cpp", variant="cpu")
    assert len(machine.compiled) == 1
    tool = find_tool("quantizer")
    assert tool is not None and (tool.version, tool.python) == ("llama-cpp-python 0.3.36", made.command)
    assert installed_tools() == [] and [one.engine for one in installed()] == ["llama.cpp"]
    (provider,) = llama_found()
    assert provider.engine.provider == "llama-cpp-python" and provider.engine.command == (made.command,)


def test_a_quantizer_of_an_earlier_release_goes_on(machine: Machine, tmp_path: Path) -> None:
    made = install("llama.cpp", variant="cpu")
    old = tmp_path / "home" / "data" / "tools" / "quantizer-0.3.36"
    old.parent.mkdir()
    Path(made.path).rename(old)
    receipt = old / environments.RECEIPT
    receipt.write_text(receipt.read_text().replace(made.path, str(old)).replace('"llama.cpp"', '"quantizer"'))
    tool = find_tool("quantizer")
    assert find("llama.cpp") is None and llama_found() == ()
    assert tool is not None and tool.python == str(old / "bin" / "python")


def test_without_a_compiler_it_says_which_to_install(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "CMake Error: CMAKE_CXX_COMPILER not set, after EnableLanguage")
    with pytest.raises(Failure) as raised:
        install("quantizer")
    assert raised.value.code == "engine-install-failed" and "apt-get install g++" in str(raised.value.hint)
    monkeypatch.setenv("FAILS", "cannot reach the index")
    with pytest.raises(Failure) as raised:
        install("llama.cpp", variant="cpu")
    assert "g++" not in str(raised.value.hint)


def test_for_nvidias_gpus_it_needs_their_compiler(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "detect_variant", lambda: "cuda")
    with pytest.raises(Failure) as raised:
        install("llama.cpp", variant="cuda")
    assert raised.value.code == "compiler-missing" and "nvcc" in raised.value.message
    assert install("llama.cpp").variant == "cpu", "unasked it takes what can be compiled"
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert install("llama.cpp").variant == "cuda"
    assert "cmake.define.GGML_CUDA=ON" in machine.compiled[-1]
    one = find("llama.cpp")
    assert one is not None and one.variant == "cuda"


def test_both_variants_have_one_set_of_pins() -> None:
    cpu, cuda = (requirement_set("llama.cpp", None, variant) for variant in ("cpu", "cuda"))
    assert cpu.text == cuda.text and cpu.digests == cuda.digests and cpu.name != cuda.name
    pins = {line.partition("==")[0] for line in cpu.text.splitlines()}
    assert {"llama-cpp-python", *llama_providers.NEEDS} <= pins
    assert set(cpu.digests) == {line for line in cpu.text.splitlines() if not line.startswith("#")}
    assert "quantizer" not in {one.engine for one in TOOLS}
