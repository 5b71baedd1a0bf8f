"""The grammar file is found both in a wheel, beside the module, and in the checkout of an editable install."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

import pytest

from modelkit.language import grammar

CHECKOUT = Path(__file__).parents[3] / "grammar" / grammar.FILE


def test_an_editable_install_reads_the_checkout() -> None:
    assert grammar.grammar_text() == CHECKOUT.read_text("utf-8")


def test_a_wheel_reads_the_file_beside_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / grammar.FILE).write_text("file: FROM VALUE\n")
    monkeypatch.setattr(resources, "files", lambda package: {"modelkit.language": tmp_path}[package])
    assert grammar.grammar_text() == "file: FROM VALUE\n"


def test_a_real_wheel_parses_with_the_grammar_it_carries(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=CHECKOUT.parents[1], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = """
import modelkit.language.grammar as grammar
assert "site" in grammar.__file__, grammar.__file__
assert not grammar.Path(grammar.__file__).parents[2].joinpath("grammar").exists()
print(sorted(grammar.allowed()["test"])[0])
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "site", check=True, capture_output=True, text=True
    )
    assert run.stdout == "ASSISTANT\n"


def test_where_instructions_may_stand() -> None:
    allowed = grammar.allowed()
    assert {"NAME", "ARG", "STAGE", "TEST"} <= allowed["file"]
    assert not {"NAME", "ARG", "STAGE", "TEST", "USER"} & allowed["stage"]
    assert "TRY" in allowed["stage"] and "TRY" not in allowed["file"]
    assert allowed["test"] == {
        "USER", "ASSISTANT", "TOOL", "TOOLS", "REPEAT", "SYSTEM", "PARAMETER", "EXPECT", "CLOSE",
    }  # fmt: skip
