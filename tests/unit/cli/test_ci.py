"""`modelkit ci`, through the command line, in a git repository with a model of a few kilobytes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Run, write
from tests.unit.models.small_model import small_model

FILE = """NAME bot
FROM ./model.gguf
SYSTEM You are terse.
PARAMETER num_ctx 64

STAGE prod {
  ENGINE vllm >=0.32,<0.34
}
"""


def git(*words: str) -> None:
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], check=True, capture_output=True,
                   env=environment, timeout=60)


@pytest.fixture
def bot(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    small_model(Path("model.gguf"))
    write(FILE)
    assert run("lock")[0] == 0
    git("init", "-q")
    git("add", "Modelfile", "Modelfile.lock")
    git("commit", "-qm", "one")
    return run


def said(run: Run, *words: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run("ci", "--json", *words)
    return code, json.loads(out)


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    (one,) = document["files"]
    return {step["name"]: step["verdict"] for step in one["steps"]}


def test_a_good_file_passes_every_step(bot: Run) -> None:
    code, document = said(bot, "--base", "HEAD")
    assert (code, document["verdict"], document["schema"]) == (0, "pass", "modelkit.ci/1")
    assert list(verdicts(document)) == ["check", "layout", "lock", "plan", "flags", "parity"]
    assert set(verdicts(document).values()) == {"pass"}
    (one,) = document["files"]
    assert [(stage["stage"], stage["changes"]) for stage in one["stages"]] == [("dev", []), ("prod", [])]
    assert {change["path"] for change in one["difference"]} >= {"engine", "weights"}


@pytest.mark.parametrize(("text", "step", "words"), [
    (FILE.replace("num_ctx", "num_ctz"), "check", "num_ctz"),
    (FILE.replace("PARAMETER", "parameter"), "layout", "modelkit fmt"),
    (FILE.replace("64", "32"), "lock", "not up to date"),
    (FILE.replace("  ENGINE", "  POLICY safetensors_only\n  FROM ./model.gguf\n  ENGINE"), "plan", "safetensors"),
])
def test_a_fault_fails_its_step_and_no_other_before_it(bot: Run, text: str, step: str, words: str) -> None:
    write(text)
    code, document = said(bot, "--skip", "parity")
    (one,) = document["files"]
    found = next(each for each in one["steps"] if each["name"] == step)
    assert (code, document["verdict"], found["verdict"]) == (1, "fail", "fail")
    assert words in json.dumps(found)
    assert next(each["name"] for each in one["steps"] if each["verdict"] == "fail") == step


def test_stages_that_render_otherwise_fail_parity(bot: Run) -> None:
    write(FILE.replace("  ENGINE", "  TEMPLATE \"{% for m in messages %}{{ m.content }}!{% endfor %}\"\n  ENGINE"))
    bot("lock")
    code, document = said(bot)
    assert code == 1 and verdicts(document)["parity"] == "fail"


def test_changes_are_against_the_base(bot: Run) -> None:
    write(FILE.replace("64", "32").replace("terse", "kind"))
    bot("lock")
    git("commit", "-qam", "two")
    code, document = said(bot, "--base", "HEAD~1")
    assert code == 0 and document["base"] == "HEAD~1"
    for stage in document["files"][0]["stages"]:
        assert [(change["path"], change["effect"]) for change in stage["changes"]] == [
            ("num_ctx", "breaking"), ("system", "quality")]


def test_texts_and_stages_of_the_base_are_its_own(bot: Run) -> None:
    Path("system.txt").write_text("Be kind.\n")
    write(FILE.replace("SYSTEM You are terse.", "SYSTEMFILE system.txt"))
    git("add", "system.txt")
    git("commit", "-qam", "two")
    Path("system.txt").write_text("Be brief.\n")
    write(Path("Modelfile").read_text() + "\nSTAGE canary EXTENDS prod {\n  PARAMETER top_k 1\n}\n")
    _, document = said(bot, "--base", "HEAD", "--skip", "lock", "--skip", "parity")
    stages = {one["stage"]: one for one in document["files"][0]["stages"]}
    assert [(one["before"], one["after"]) for one in stages["dev"]["changes"]] == [("Be kind.", "Be brief.")]
    assert stages["canary"]["is_new"] and stages["canary"]["changes"] is None


def test_a_file_that_the_base_lacks_is_new(bot: Run) -> None:
    write(FILE, "other.Modelfile")
    _, document = said(bot, "other.Modelfile", "--base", "HEAD", "--skip", "parity")
    assert [one["is_new"] for one in document["files"][0]["stages"]] == [True, True]


@pytest.mark.parametrize("word", ["nothing", "--help", "HEAD:Modelfile", ""])
def test_a_base_that_git_does_not_know_is_one_error(bot: Run, word: str) -> None:
    code, _, err = bot("ci", f"--base={word}")
    assert code == 2 and f"error[no-base]: git knows no commit `{word}` here" in err


def test_a_stage_that_there_is_not_is_one_error(bot: Run) -> None:
    code, _, err = bot("ci", "--between", "dev", "nope")
    assert code == 2 and "error[unknown-stage]: no stage is called `nope`" in err


def test_without_a_lock_and_a_model_steps_are_skipped_and_said(run: Run) -> None:
    write("FROM hf.co/org/model\nPARAMETER num_ctx 64\n")
    code, document = said(run)
    assert code == 0 and {name for name, verdict in verdicts(document).items() if verdict == "skipped"} == {
        "lock", "parity"}
    write("FROM hf.co/org/model\n\nSTAGE prod {\n  POLICY locked\n}\n")
    assert verdicts(said(run)[1])["lock"] == "fail"


def test_the_comment_and_the_summary_are_the_same(bot: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("before\n")
    assert bot("ci", "--skip", "parity", "--comment-file", "comment.md")[0] == 0
    comment = Path("comment.md").read_text()
    assert comment.startswith("<!-- modelkit-ci -->\n### ✅") and Path("summary.md").read_text() == f"before\n{comment}"
    code, _, err = bot("ci", "--skip", "parity", "--comment-file", "nowhere/comment.md")
    assert code == 2 and "error[unwritable]" in err


def test_people_read_it_line_by_line(bot: Run) -> None:
    code, out, _ = bot("ci")
    assert code == 0 and out.splitlines()[0] == "Modelfile: pass"
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [["pass", "check"], ["pass", "layout"]]


def test_several_files_fold(bot: Run) -> None:
    write("FROM\n", "bad.Modelfile")
    code, document = said(bot, "Modelfile", "bad.Modelfile", "--skip", "parity")
    assert (code, document["verdict"], [one["verdict"] for one in document["files"]]) == (1, "fail", ["pass", "fail"])
