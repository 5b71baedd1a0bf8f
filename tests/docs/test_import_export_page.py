"""Every command of the page on import and export is run, in a folder that has what it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modelkit.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "import-export.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
FILES = {
    "config.yaml": "models: {big: {cmd: 'llama-server -m x.gguf'}, small: {cmd: vllm serve o/m}}\n",
    "compose.yaml": "models: {llm: {model: ai/smollm2}}\n",
    "model.yaml": "model: a/b\nbase: org/repo\n",
    "Modelfile": "FROM ./m.gguf\nPARAMETER temperature 0.5\n",
}


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 12


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELKIT_STAGE", raising=False)
    for name, text in FILES.items():
        Path(name).write_text(text, "utf-8")
    for name in re.findall(r"export .* -o (\S+)", line):
        Path(name).unlink(missing_ok=True)
    assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    if "--swap-space" in line:
        assert "lost: --swap-space 4: no version of vLLM that modelkit knows has this flag" in capsys.readouterr().err
