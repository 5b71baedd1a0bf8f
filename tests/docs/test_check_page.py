"""docs/check.md: its files say what it says, and its commands run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modelkit.cli.main import main
from modelkit.language.rules import FAMILIES

PAGE = (Path(__file__).parents[2] / "docs/check.md").read_text("utf-8")
FILES = re.findall(r"```modelfile\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                        capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Modelfile").write_text(FILES[0], "utf-8")
    code = main(shlex.split(command)[1:])
    said = "".join(capfd.readouterr())
    assert code == (0 if "--unsafe-fixes" in command else 1), said
    assert "bad-value" in said or "--diff" in command or "--unsafe-fixes" in command
    changed = Path("Modelfile").read_text("utf-8") != FILES[0]
    assert changed is ("--fix" in command)


def test_what_the_second_file_leaves_out_is_all_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Modelfile").write_text(FILES[1], "utf-8")
    assert main(["check", "--ignore", "engine"]) == 0
    assert "left out by comments" in capsys.readouterr().err


def test_every_family_is_named() -> None:
    for family in FAMILIES:
        assert f"`{family}`" in PAGE
