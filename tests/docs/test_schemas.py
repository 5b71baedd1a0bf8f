"""The published JSON Schemas are those of the types, and what commands print is held to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from modelkit.cli.documents import DOCUMENTS, schema
from modelkit.cli.parser import build
from modelkit.cli.reference import commands

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "schemas"
FILES = ("error", "changes", "modelkit.plan", "record", "evidence")
"""Documents that are no command's own."""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_published_schema_is_current(name: str, request: pytest.FixtureRequest) -> None:
    path, said = FOLDER / f"{name}.json", json.dumps(schema(name), indent=1) + "\n"
    if request.config.getoption("--update-golden"):
        FOLDER.mkdir(parents=True, exist_ok=True)
        path.write_text(said, "utf-8")
    assert path.read_text("utf-8") == said


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))


def test_there_are_no_others() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(DOCUMENTS)
    assert set(DOCUMENTS) - set(FILES) <= set(commands(build()))


@pytest.mark.parametrize(("name", "document"), [
    ("error", {"error": {"code": 1, "message": "x"}}), ("changes", {"schema": "modelkit.changes/2"}), ("ci", {}),
    ("diff", {"schema": "modelkit.diff/1"}), ("check", {"schema": "modelkit.check/1", "files": [], "diagnostics": [1]}),
    ("record", {"kind": "promote"}), ("plan", {"name": "x"}), ("status", []), ("down", {})])
def test_what_is_no_such_document_is_refused(name: str, document: Any) -> None:
    assert list(Draft202012Validator(schema(name)).iter_errors(document))
