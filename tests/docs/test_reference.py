"""Reference pages are what the tables say, and documented examples work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modelkit.cli.parser import build
from modelkit.cli.reference import commands, page

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_the_command_line_page_is_current(request: pytest.FixtureRequest) -> None:
    path = ROOT / "docs" / "reference" / "cli.md"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(), "utf-8")
    assert path.read_text("utf-8") == page()


def documented() -> list[str]:
    """Each `modelkit …` line of a shell block in the documentation."""
    found = []
    for file in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", file.read_text("utf-8"), re.DOTALL):
            lines = (re.sub(r'^eval "\$\((.*)\)"$', r"\1", line.strip()) for line in block.splitlines())
            found += [re.split("  #| > ", line)[0] for line in lines if line.startswith("modelkit ")]
    return sorted(set(found))


@pytest.mark.parametrize("line", documented())
def test_documented_commands_are_accepted_by_the_parser(line: str) -> None:
    build().parse_args(shlex.split(line)[1:])


def test_every_command_has_an_example() -> None:
    for name, command in commands(build()).items():
        assert f"modelkit {name}" in (command.epilog or "")


def test_links_lead_somewhere() -> None:
    broken = []
    for file in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", file.read_text("utf-8")):
            if "://" not in target and not (file.parent / target).exists():
                broken.append(f"{file.relative_to(ROOT)}: {target}")
    assert broken == []
