"""The commands of the page on promotion are commands of this release, and its figures are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modelkit.cli.parser import build
from modelkit.release.intervals import wilson
from modelkit.release.promotion.judgement import Limits
from modelkit.release.verdict import EXIT_CODES

PAGE = (Path(__file__).parents[2] / "docs" / "promotion.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 6


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page(line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "modelkit"
    assert build().parse_args(words).command == words[0]


def test_figures() -> None:
    assert wilson(1, 20).low < 0.01 < wilson(2, 20).low
    assert f"({Limits().ratio})" in PAGE
    assert build().parse_args(["promote", "dev", "prod"]).keep_warm == 600
    for verdict in ("fail", "error", "inconclusive"):
        assert f"| {EXIT_CODES[verdict]} |" in PAGE  # type: ignore[index]
