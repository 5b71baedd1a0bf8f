"""`plan`, `up`, `down` and `status` about what would change, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelkit.cli import changing
from tests.unit.cli.conftest import Run, write
from tests.unit.cli.test_bundle import modelfile
from tests.unit.cli.test_deploy import calls  # noqa: F401  a fixture
from tests.unit.models.small_model import small_model
from tests.unit.runtime.conftest import home  # noqa: F401  a fixture
from tests.unit.runtime.support import Home, bundle

FILE = "NAME bot\nFROM ./model.gguf\nSYSTEM You are terse.\nPARAMETER num_ctx 64\n"


@pytest.fixture
def bot(run: Run) -> Run:
    small_model(Path("model.gguf"))
    write(FILE)
    assert run("lock")[0] == 0
    return run


def changes(run: Run, *words: str) -> dict[str, Any]:
    return dict(json.loads(run(*words, "--json")[1]))


def test_plan_ends_with_one_line_and_a_code_only_when_asked(bot: Run) -> None:
    code, out, _ = bot("plan")
    assert code == 0 and out.splitlines()[-2:] == ["  + engine:dev  nothing of this project runs", "Plan: 1 to create."]
    assert bot("plan", "--exit-code")[0] == 1


def test_plan_as_json_has_the_changes(bot: Run) -> None:
    said = changes(bot, "plan")
    assert said["changes"]["schema"] == "modelkit.changes/1"
    assert [one["op"] for one in said["changes"]["ops"]] == ["start_engine", "probe", "open_address"]
    assert said["changes"]["target"]["bundle"].startswith("sha256:")
    assert said["changes"]["summary"] == {"create": 1, "update": 0, "replace": 0, "delete": 0, "drifted": 0}
    assert said["changes"] == changes(bot, "up", "--dry-run")


def test_a_lock_that_would_be_written_is_a_change(bot: Run) -> None:
    write(FILE.replace("64", "32"))
    assert changes(bot, "up", "--dry-run")["ops"][0]["op"] == "write_lock"
    assert "~ lock" in bot("plan")[1]
    Path("Modelfile.lock").unlink()
    assert "+ lock  there is none" in bot("plan")[1]
    write(FILE + "STAGE dev {\nPOLICY locked\n}\n")
    bot("lock")
    write(FILE.replace("64", "32") + "STAGE dev {\nPOLICY locked\n}\n")
    assert "the lock would have to change (`POLICY locked`)" in changes(bot, "up", "--dry-run")["refused"]


def test_a_dry_run_starts_nothing(bot: Run) -> None:
    code, out, _ = bot("up", "--dry-run")
    assert code == 0 and "Plan: 1 to create." in out
    assert json.loads(bot("ps", "--json")[1]) == []
    assert bot("down", "--dry-run")[1] == "Nothing to do.\n"


def test_a_kept_plan_is_held_to_what_it_says(bot: Run) -> None:
    assert bot("plan", "--out", "kept.json")[0] == 0
    write("# a comment\n" + FILE.replace("64", "32"))
    code, out, err = bot("up", "--plan", "kept.json", "-d")
    assert code == 1 and out == "" and "error[plan-stale]: kept.json is stale: wanted: num_ctx was 64, and is 32" in err


def test_a_comment_does_not_make_a_plan_stale(bot: Run) -> None:
    from argparse import Namespace

    from modelkit.cli import project
    from modelkit.cli.stages import Stages
    from modelkit.cli.terminal import Terminal

    bot("plan", "--out", "kept.json")
    write("# a comment\n" + FILE.replace("FROM ./", "\nFROM   ./"))
    changing.presume_kept("kept.json", Stages(project.load(Path("Modelfile"), Terminal()), Namespace()), "dev")


@pytest.mark.parametrize(("text", "code"), [(None, "unreadable"), ("", "no-plan"), ("{}", "no-plan"), ("[]", "no-plan"),
                                            ('{"changes": {"verb": "up"}}', "no-plan"), ("[" * 9999, "no-plan")])
def test_what_is_no_plan_is_one_error(bot: Run, text: str | None, code: str) -> None:
    if text is not None:
        Path("kept.json").write_text(text)
    exit_code, _, err = bot("up", "--plan", "kept.json")
    assert exit_code == 2 and f"error[{code}]: kept.json" in err


@pytest.mark.parametrize("words", [("up", "--plan", "kept.json", "--dry-run"), ("plan", ".", ".", "--out", "x"),
                                   ("up", ".", "x.Modelfile", "--plan", "kept.json")])
def test_what_does_not_go_together_is_said(bot: Run, words: tuple[str, ...]) -> None:
    bot("plan", "--out", "kept.json")
    write(FILE, "x.Modelfile")
    code, _, err = bot(*words)
    assert code == 2 and "error[usage]" in err


def test_a_plan_of_another_stage_is_refused(bot: Run) -> None:
    bot("plan", "--out", "kept.json")
    code, _, err = bot("up", "-s", "experiment", "--plan", "kept.json")
    assert code == 2 and "error[plan-of-another]" in err and "`modelkit up -s dev --plan kept.json`" in err


def test_a_plan_that_cannot_be_kept_is_one_error(bot: Run) -> None:
    code, _, err = bot("plan", "--out", "nowhere/kept.json")
    assert code == 2 and "error[unwritable]: nowhere/kept.json" in err


def test_a_stage_of_another_platform_is_files(run: Run, calls: Path) -> None:  # noqa: F811
    modelfile()
    first = changes(run, "up", "-s", "prod", "--dry-run")
    assert [one["op"] for one in first["ops"]] == ["make", "write_files", "apply", "wait"]
    assert not first["complete"] and first["base"] is None
    assert run("build", "-s", "prod")[0] == 0
    first = changes(run, "up", "-s", "prod", "--dry-run")
    assert [one["op"] for one in first["ops"]] == ["write_files", "apply", "wait"] and first["complete"]
    assert {"name": "file:compose.yaml", "action": "create", "cause": "it is new"} in first["resources"]
    assert not calls.exists()

    assert run("up", "-s", "prod")[0] == 0
    assert "Nothing to do." in run("up", "-s", "prod", "--dry-run")[1]
    assert run("plan", "-s", "prod", "--exit-code")[0] == 0
    write(Path("Modelfile").read_text().replace("terse", "verbose"))
    again = changes(run, "up", "-s", "prod", "--dry-run")
    assert [one["name"] for one in again["resources"] if one["action"] == "update"] == [
        "file:compose.yaml", "file:etc/profile.json"]
    assert run("plan", "-s", "prod", "--exit-code")[0] == 1
    (gone,) = json.loads(run("down", "--dry-run", "--json")[1])
    assert [one["op"] for one in gone["ops"]] == ["take_away"]


def test_what_runs_is_the_base(home: Home) -> None:  # noqa: F811
    what = bundle()
    client = home.up(what)
    with client:
        (side,) = changing.running(Path(what.plan.modelfile), client)
        assert (side.state.bundle, side.state.generation, side.phase) == (what.digest, 1, "ready")
        assert "does not say what it has" in side.notes[0] or side.drift
        assert [one.state.generation for one in changing.every(client)] == [1]
        client.down(0)
