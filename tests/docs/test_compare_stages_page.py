"""Every command of the page on comparing stages is run, in a folder that has what it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modelkit.cli.main import main
from modelkit.release.parity import shipped_conversations
from tests.unit.models.small_model import small_model

PAGE = (Path(__file__).parents[2] / "docs" / "compare-stages.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 4


def test_the_page_counts_right() -> None:
    assert f"{len(shipped_conversations())} conversations come with modelkit" in PAGE


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MODELKIT_STAGE", raising=False)
    small_model(Path("model.gguf"))
    Path("Modelfile").write_text("NAME bot\nFROM ./model.gguf\nSYSTEM Be terse.\n")
    Path("chats.json").write_text('[{"messages": [{"role": "user", "content": "Hello"}]}]')
    assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
