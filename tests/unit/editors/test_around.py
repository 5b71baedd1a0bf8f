"""pre-commit hooks and the GitHub Action: valid by the other side's own rules, and run as the other side runs them."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from pre_commit.clientlib import load_manifest

ROOT = Path(__file__).parents[3]
HOOKS = {hook["id"]: hook for hook in load_manifest(str(ROOT / ".pre-commit-hooks.yaml"))}
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
INSTALL, CHECK, STAGES, COMMENT = ACTION["runs"]["steps"]
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
GOOD = "FROM llama3.2:3b\n"
LOOSE = "FROM llama3.2:3b\nparameter stop a\nPARAMETER num_ctx   4096\n"
WRONG = "FROM llama3.2:3b\nPARAMETER temprature 0.2\n"

NAMES = {
    "Modelfile": True, "a/Modelfile": True, "support.Modelfile": True, "a/b.modelfile": True, "Modelfile.dev": True,
    "Modelfile.llama3": True, "Modelfile.mistral": True, "Modelfile-phi": True, "Modelfile.lock": False,
    "support.Modelfile.lock": False, "modelfile.py": False, "docs/modelfile.md": False, "Modelfile.md": False,
    "aModelfile": False, "Modelfiles": False, "Modelfile/readme": False,
}


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_the_same_for_hooks_and_editors(name: str) -> None:
    package = json.loads((ROOT / "editors/vscode/package.json").read_text("utf-8"))
    (language,) = package["contributes"]["languages"]
    last = name.rpartition("/")[2]
    in_code = last in language["filenames"] or last.endswith(tuple(language["extensions"])) or any(
        fnmatch.fnmatchcase(last, pattern) for pattern in language["filenamePatterns"])
    detect = (ROOT / "editors/vim/ftdetect/modelfile.vim").read_text("utf-8")
    patterns = [pattern for line in re.findall(r"BufRead (\S+)", detect) for pattern in line.split(",")]
    in_vim = any(fnmatch.fnmatchcase(last, pattern) for pattern in patterns) and not last.endswith((".lock", ".md"))
    assert [bool(re.search(hook["files"], name)) for hook in HOOKS.values()] == [NAMES[name]] * 2
    assert (in_code, in_vim) == (NAMES[name], NAMES[name])


def git(folder: Path, *words: str) -> None:
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, env=environment, timeout=60)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with Modelfiles of every kind, and what only looks like one."""
    folder = tmp_path / "repository"
    files = {"Modelfile": GOOD, "a b/é.Modelfile": LOOSE, "x.modelfile": GOOD, "Modelfile.lock": "x = 1\n",
             "docs/modelfile.md": "# no\n", "untracked/Modelfile": "nonsense\n"}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", "--", *(name for name in files if not name.startswith("untracked")))
    return folder


def test_pre_commit_runs_the_hooks(repository: Path, tmp_path: Path) -> None:
    """With the hooks as they are, but for the environment, which is this one."""
    hooks = [{key: hook[key] for key in ("id", "name", "entry", "files", "types")} | {"language": "system"}
             for hook in HOOKS.values()]
    config = repository / ".pre-commit-config.yaml"
    config.write_text(yaml.safe_dump({"repos": [{"repo": "local", "hooks": hooks}]}))
    git(repository, "add", config.name)

    def run() -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-m", "pre_commit", "run", "--all-files", "--verbose"], cwd=repository,
                              capture_output=True, text=True, timeout=120, check=False,
                              env=os.environ | {"PATH": PATH, "PRE_COMMIT_HOME": str(tmp_path / "home")})
        return done.returncode, done.stdout + done.stderr

    code, said = run()
    assert code == 1, said
    assert "3 files checked" in said and "1 file formatted, 2 files unchanged" in said
    laid_out = (repository / "a b/é.Modelfile").read_text()
    assert laid_out == "FROM llama3.2:3b\nPARAMETER stop a\nPARAMETER num_ctx 4096\n"
    git(repository, "add", "-u")
    assert run()[0] == 0


def test_the_action_is_one_by_githubs_schema() -> None:
    schema = get_builtin_schema("vendor.github-actions")
    jsonschema.Draft7Validator(schema).validate(ACTION)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(ACTION | {"runs": {"using": "composite"}})


def test_what_users_say_reaches_the_shell_as_variables_only() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"]
    said = " ".join(f"{step.get('if', '')} {' '.join(step['env'].values())}" for step in ACTION["runs"]["steps"])
    assert set(re.findall(r"inputs\.(\w+)", said)) == set(ACTION["inputs"])


def act(repository: Path, home: Path, step: dict[str, Any] = CHECK, **inputs: Any) -> tuple[int, str]:
    """A step of the action, in the shell that GitHub gives it; the second, if no other is named."""
    program = home / "modelkit" / "bin" / "modelkit"
    program.parent.mkdir(parents=True, exist_ok=True)
    if not program.exists():
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m modelkit "$@"\n')
        program.chmod(0o755)
    said = {name: row["default"] for name, row in ACTION["inputs"].items()} | inputs
    environment = {name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda found: said[found[1]], value)
                   for name, value in step["env"].items()}
    done = subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], cwd=repository,
                          capture_output=True, text=True, timeout=120, check=False,
                          env=os.environ | {"RUNNER_TEMP": str(home), "PATH": f"{home / 'bin'}{os.pathsep}{PATH}",
                                            "MODELKIT_HOME": str(home / "state")} | environment)
    return done.returncode, done.stdout + done.stderr


def test_the_action_checks_every_modelfile_that_git_tracks(repository: Path, tmp_path: Path) -> None:
    (repository / "-x.modelfile").write_text(GOOD)
    git(repository, "add", "--", "-x.modelfile")
    code, said = act(repository, tmp_path)
    assert code == 1, said
    assert (tmp_path / "modelfiles").read_text().count("\0") == 4
    assert "4 files checked" in said and "+PARAMETER num_ctx 4096" in said and "nonsense" not in said
    assert act(repository, tmp_path, format="false")[0] == 0


def test_the_action_points_at_the_line(repository: Path, tmp_path: Path) -> None:
    (repository / "wrong.Modelfile").write_text(WRONG)
    sarif = tmp_path / "found.sarif"
    code, said = act(repository, tmp_path, files="wrong.Modelfile\nModelfile\n", format="false", sarif=str(sarif))
    assert code == 1, said
    assert "::error file=wrong.Modelfile,line=2," in said and "2 files checked" in said
    results = json.loads(sarif.read_text())["runs"][0]["results"]
    assert [result["ruleId"] for result in results if result["level"] == "error"] == ["unknown-parameter"]


def test_the_actions_arguments_are_words_of_their_own(repository: Path, tmp_path: Path) -> None:
    (repository / "Modelfile").write_text("FROM llama3.2:3b\nPARAMETER mirostat 1\n")
    more = "--fail-on\nwarning\n"
    assert act(repository, tmp_path, files="Modelfile", format="false")[0] == 0
    assert act(repository, tmp_path, files="Modelfile", format="false", arguments=more)[0] == 1
    code, _ = act(repository, tmp_path, files="Modelfile; touch pwned", arguments="$(touch pwned)", format="false")
    assert code == 2 and not (repository / "pwned").exists()


def test_a_repository_without_modelfiles_is_fine(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    git(folder, "init", "-q")
    assert act(folder, tmp_path) == (0, "there is no Modelfile here\n")
    assert (tmp_path / "modelfiles").read_text() == ""


def commit(folder: Path) -> str:
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "one")
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True,
                          timeout=60).stdout.strip()


def test_the_action_says_what_stages_would_run_otherwise(repository: Path, tmp_path: Path) -> None:
    base, comment = commit(repository), tmp_path / "modelkit-ci.md"
    (repository / "Modelfile").write_text(f"{GOOD}PARAMETER num_ctx 2048\n")
    (repository / "Modelfile.lock").unlink()
    (tmp_path / "modelfiles").write_text("Modelfile\0")  # as the step before leaves it
    files = {"base": base}
    code, said = act(repository, tmp_path, STAGES, **files)
    assert code == 0, said
    text = comment.read_text()
    assert text.startswith("<!-- modelkit-ci -->") and f"against `{base}`" in text and "`num_ctx`" in text

    (repository / "Modelfile").write_text(WRONG)
    assert act(repository, tmp_path, STAGES, **files)[0] == 1
    assert "temprature" in comment.read_text()


def test_a_base_that_is_not_here_is_said_and_layout_is_left_to_who_wants_it(repository: Path, tmp_path: Path) -> None:
    (repository / "Modelfile.lock").unlink()
    (repository / "Modelfile").write_text(LOOSE)
    (tmp_path / "modelfiles").write_text("Modelfile\0")
    code, said = act(repository, tmp_path, STAGES, base="1" * 40, format="false")
    assert code == 0 and f"::warning::there is no commit {'1' * 40} here" in said


def test_without_modelfiles_there_is_nothing_to_plan_or_say(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    git(folder, "init", "-q")
    assert [act(folder, tmp_path, step)[0] for step in (CHECK, STAGES, COMMENT)] == [0, 0, 0]
    assert not (tmp_path / "modelkit-ci.md").exists()


@pytest.mark.parametrize(("there", "asked"), [
    ("", "api --silent repos/x/issues/7/comments -F body=@"),
    ("5\n9", "api --silent -X PATCH repos/x/issues/comments/9 -F body=@")])
def test_there_is_one_comment(tmp_path: Path, there: str, asked: str) -> None:
    gh = tmp_path / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n'
                  f'case "$*" in *--jq*) printf "{there}";; esac\n')
    gh.chmod(0o755)
    (tmp_path / "modelkit-ci.md").write_text("text")
    step = COMMENT | {"env": {"COMMENTS": "repos/x/issues/7/comments", "COMMENT": "repos/x/issues/comments"}}
    code, said = act(tmp_path, tmp_path, step)
    assert code == 0, said
    assert (tmp_path / "calls").read_text().splitlines()[-1] == f"{asked}{tmp_path}/modelkit-ci.md"
