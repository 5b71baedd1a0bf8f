"""The commands of the pages on gates and history that need no engine are run, beside a stage that has a story."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from modelkit.cli.main import main
from modelkit.release.gates import KINDS
from tests.unit.release.told import Story

DOCS = Path(__file__).parents[2] / "docs"
GATES, HISTORY = ((DOCS / name).read_text("utf-8") for name in ("gates.md", "history.md"))


def commands(page: str) -> list[str]:
    return [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """The page's Modelfile, and a story with one promotion."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    (found,) = re.findall(r"```modelfile\n(.*?)```", GATES, re.DOTALL)
    Path("Modelfile").write_text(f"NAME bot\n{found}")
    told = Story(tmp_path)
    told.tell("promote", "1", gates=[])
    return told


@pytest.mark.parametrize("line", commands(HISTORY))
def test_a_command_of_the_page_on_history(line: str, stage: Story, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    head = stage.store.head()
    assert head is not None
    line = line.replace("show 1f9c", f"show {head[7:11]}").replace("~", str(tmp_path))
    if "sign" in line:
        key = tmp_path / ".ssh" / "id_ed25519"
        key.parent.mkdir()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        signers = tmp_path / "promotions" / "allowed_signers"
        signers.write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    if "--signed" in line:
        from modelkit.release.signature import sign

        sign(stage.store.files()[0], key)
    assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err


def test_the_gates_of_the_page(stage: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(commands(GATES)[0])[1:]) == 0
    said = capsys.readouterr().out
    shown = {line.split()[1] for line in said.splitlines()[1:]}
    assert shown == KINDS.keys()


def test_every_kind_has_a_row() -> None:
    rows = re.findall(r"^\| (\w+) \| .* \| .* \| .* \|$", GATES, re.MULTILINE)
    assert set(rows) - {"kind"} == KINDS.keys()
