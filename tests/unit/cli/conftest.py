"""The command line in an empty folder with an empty home."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from modelkit.cli.documents import DOCUMENTS, schema
from modelkit.cli.main import main
from modelkit.runtime.hardware import bandwidth

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder with an empty home; the exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    for name in ("MODELKIT_PORT", "MODELKIT_STAGE", "MODELKIT_API_KEY", "LLAMA_SERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(bandwidth, "read", lambda cores, free: bandwidth.Measured(30e9, 1.0))  # each home is a new one

    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = main(words)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        if "--json" in words and words[0] in DOCUMENTS and out:
            presume_documented(words[0], json.loads(out))
        return code, out, err

    return run


def write(text: str, name: str = "Modelfile") -> None:
    Path(name).write_text(text, "utf-8")


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema(name))


def presume_documented(command: str, document: Any) -> None:
    """What a command prints with `--json` is what its published schema says."""
    failed = isinstance(document, dict) and "error" in document
    faults = [error.message[:300] for error in validator("error" if failed else command).iter_errors(document)]
    assert faults == [], f"`{command} --json` is not as documented: {json.dumps(document)[:300]}"
