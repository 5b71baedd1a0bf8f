"""docs/testing.md: its files are tests that pass, and its commands run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelkit.cli.main import main
from modelkit.contract.effective import SCHEMA
from modelkit.release.testing.checks import KINDS
from tests.unit.release.testing.scripted import Server, serving

PAGE = (Path(__file__).parents[2] / "docs/testing.md").read_text("utf-8")
TESTS, = re.findall(r"```modelfile\n(.*?)```", PAGE, re.DOTALL)
GOLDEN, = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line.partition("#")[0].strip() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
            for line in block.splitlines()]
CAPITAL = GOLDEN.partition("  - name: refund")[0]  # the other case calls a tool, which a scripted text cannot


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A model that knows what the page asks, and the page's files in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    Path("Modelfile").write_text(f"FROM ./m.gguf\n{TESTS}", "utf-8")
    Path("tools.json").write_text(json.dumps([{"type": "function", "function": {"name": "refund"}}]), "utf-8")
    Path("a.golden.yaml").write_text(CAPITAL, "utf-8")
    says = {"What is the capital of France?": "It is Paris.", "My name is Ada.": "Hello.", "What is my name?": "Ada."}
    script: Any = lambda body: says[body["messages"][-1]["content"]]  # noqa: E731
    with serving(script, {"schema": SCHEMA, "model": "m"}) as server:
        yield server


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("server")
def test_a_command_runs(command: str, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command.replace("http://host:8000/v1", server.url).replace("-s dev", ""))[1:]
    Path("a.golden.yaml").unlink() if "-k" in words else None
    code = main([*words, *(() if "--url" in words else ("--url", server.url))])
    said = capsys.readouterr()
    assert code == 0, said.out + said.err


def test_the_golden_file_is_one(server: Server) -> None:
    from modelkit.release.testing.golden import read_golden

    Path("whole.golden.yaml").write_text(GOLDEN, "utf-8")
    cases = read_golden(Path("whole.golden.yaml")).cases
    assert [(case.name, case.repeat, case.must_pass) for case in cases] == [("capital", 1, 1), ("refund", 5, 4)]


def test_every_check_is_named() -> None:
    table = PAGE[PAGE.index("| check |"): PAGE.index("`not` turns")]
    assert set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.split("\n") if row))) == KINDS
