"""Who acts: a token, CI, git, the login, in this order."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from modelkit.release.identity import TOKEN, actor_and_git, authors


def token(**claims: str) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{middle}.c2ln"


@pytest.mark.parametrize(("environment", "wanted"), [
    ({"CI": "true", "GITHUB_ACTOR": "ada", "GITHUB_RUN_ID": "7", "GITHUB_REPOSITORY": "o/r"},
     ("ada", None, "env", "https://github.com/o/r/actions/runs/7")),
    ({"CI": "1", "GITLAB_USER_LOGIN": "bob", "GITLAB_USER_EMAIL": "b@example.org", "CI_JOB_URL": "https://ci/1"},
     ("bob", "b@example.org", "env", "https://ci/1")),
    ({"CI": "1", TOKEN: token(user_login="kim", user_email="kim@example.org"), "GITHUB_ACTOR": "ada"},
     ("kim", "kim@example.org", "oidc", None)),
    ({TOKEN: token(sub="repo:o/r:ref:main")}, ("repo:o/r:ref:main", None, "oidc", None)),
], ids=["github", "gitlab", "token", "subject"])
def test_in_ci(tmp_path: Path, environment: dict[str, str], wanted: tuple[str, ...]) -> None:
    actor, git = actor_and_git(tmp_path, environment)
    assert (actor.name, actor.email, actor.source, actor.ci_run) == wanted
    assert git is None


@pytest.mark.parametrize("bad", ["", "a.b", "a.!!!.c", "a.bnVsbA.c", "a.WzFd.c", "x" * 30_000])
def test_a_token_that_is_none_names_nobody(tmp_path: Path, bad: str) -> None:
    assert actor_and_git(tmp_path, {TOKEN: bad})[0].source != "oidc"


def test_git_and_who_wrote_a_file(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=Zoe", "-c", "user.email=Zoe@Example.org", *words],
                       check=True, capture_output=True)

    path = tmp_path / "Modelfile"
    path.write_text("FROM x\n")
    assert authors(path) == frozenset()
    git("init", "-q")
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    git("add", "Modelfile")
    git("commit", "-qm", "one")
    actor, state = actor_and_git(tmp_path, {"CI_RUN_URL": "https://ci/2"})
    assert (actor.identity, actor.source, actor.ci_run) == ("ada@example.org", "git", "https://ci/2")
    assert state is not None
    assert not state.dirty
    assert authors(path) == {"zoe", "zoe@example.org"}
