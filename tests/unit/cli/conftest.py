"""The command line in an empty folder with an empty home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelkit.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder with an empty home; the exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    for name in ("MODELKIT_PORT", "MODELKIT_STAGE", "MODELKIT_API_KEY", "LLAMA_SERVER"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = main(words)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


def write(text: str, name: str = "Modelfile") -> None:
    Path(name).write_text(text, "utf-8")
