"""`--arg`, SYSTEMFILE and TEMPLATEFILE, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run, write

TEXT = "NAME bot\nARG TONE\nARG SIZE 3b\nFROM llama3.2:${SIZE}\nSYSTEM Be ${TONE}.\n"
COMMANDS = (("check",), ("export", "ollama"), ("lock", "--check"), ("plan",), ("render",), ("explain",), ("build",),
            ("diff", "dev", "prod"), ("fit",), ("up",), ("promote", "dev", "prod"), ("status",), ("env",), ("sbom",),
            ("test",), ("gate",), ("history",), ("approve", "prod"), ("hold", "prod", "--reason", "r"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_takes_values(run: Run, command: tuple[str, ...]) -> None:
    write(TEXT)
    code, _, err = run(*command, "--arg", "TON=terse")
    assert code == 2 and "error[unknown-arg]" in err and "did you mean `TONE`?" in err
    code, _, err = run(*command)
    assert code == 1 and "missing-argument" in err
    code, _, err = run(*command, "--arg", "TONE")
    assert code == 2 and "error[usage]" in err


def test_values_and_files_are_exported(run: Run) -> None:
    write(TEXT.replace("SYSTEM Be ${TONE}.", "SYSTEMFILE ${TONE}.txt"))
    Path("terse.txt").write_text("Be terse.\n")
    code, out, _ = run("export", "ollama", "--arg", "TONE=terse", "--arg", "SIZE=1b")
    assert code == 0 and "FROM llama3.2:1b" in out and 'Be terse.' in out and "SYSTEMFILE" not in out
    code, out, _ = run("check", "--arg", "TONE=loud", "--json")
    assert code == 1 and "unreadable-file" in json.dumps(json.loads(out))


def test_the_layout_needs_no_values(run: Run) -> None:
    write(TEXT)
    assert run("fmt", "--check")[0] == 0
