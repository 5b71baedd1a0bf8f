"""The grammar file is found both in a wheel, beside the module, and in the checkout of an editable install."""

from __future__ import annotations

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


def test_the_wheel_is_told_to_take_the_file_there() -> None:
    import tomllib

    project = tomllib.loads((CHECKOUT.parents[1] / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["grammar/modelfile.lark"] == "modelkit/language/modelfile.lark"


def test_where_instructions_may_stand() -> None:
    allowed = grammar.allowed()
    assert {"NAME", "ARG", "STAGE", "TEST"} <= allowed["file"]
    assert not {"NAME", "ARG", "STAGE", "TEST", "USER"} & allowed["stage"]
    assert "TRY" in allowed["stage"] and "TRY" not in allowed["file"]
    assert allowed["test"] == {
        "USER", "ASSISTANT", "TOOL", "TOOLS", "REPEAT", "SYSTEM", "PARAMETER", "EXPECT", "CLOSE",
    }  # fmt: skip
