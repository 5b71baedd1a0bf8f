"""docs/fit.md: its commands run, beside what they name."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modelkit.cli.main import main
from modelkit.language.check import compile_source
from modelkit.language.source import Source
from modelkit.planning.fit.verified import LINES, PROCESS
from tests.unit.cli.fit_machine import stand_in
from tests.unit.models.small_model import small_model

PAGE = (Path(__file__).parents[2] / "docs" / "fit.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's Modelfile and its model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MODELKIT_STAGE", raising=False)
    stand_in(monkeypatch)
    small_model(Path("model.gguf"), context_length=65536)
    (text,) = re.findall(r"```modelfile\n(.*?)```", PAGE, re.DOTALL)
    Path("Modelfile").write_text(text.replace("QUANTIZE auto >= Q4_K_M speed >= 10 tok/s\n", ""))
    return tmp_path


@pytest.mark.parametrize("line", [line for line in COMMANDS if "--verify" not in line])
def test_a_command_of_the_page(line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    if "--plot" in line and "." in line.rpartition(" ")[2]:
        assert Path(line.rpartition(" ")[2]).stat().st_size > 1000


def test_the_pages_modelfile_is_one() -> None:
    (text,) = re.findall(r"```modelfile\n(.*?)```", PAGE, re.DOTALL)
    for line in re.findall(r"^QUANTIZE auto.*?(?:  |$)", PAGE, re.MULTILINE):
        modelfile, found = compile_source(Source("Modelfile", re.sub(r"QUANTIZE .*", line.strip(), text)))
        assert modelfile is not None, found


def test_what_is_promised_is_what_is_held() -> None:
    assert f"within {100 * LINES:g} % of each line" in PAGE and f"within {100 * PROCESS:g} % for the dev engine" in PAGE
