"""Who does something, and from which commit: by an OIDC token, by CI's variables, by git, by the login. All are claims;
a signature proves one (`release.signature`)."""

from __future__ import annotations

import base64
import binascii
import getpass
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

TOKEN = "MODELKIT_ID_TOKEN"  # an OIDC token, as GitLab's `id_tokens` hands one to a job

# Who started the run, and its page: GitHub Actions, GitLab CI, Buildkite, CircleCI, Jenkins; their documents' names.
_PEOPLE = ("GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILDKITE_BUILD_CREATOR", "CIRCLE_USERNAME",
           "BUILD_USER_ID")
_EMAILS = ("GITLAB_USER_EMAIL", "BUILDKITE_BUILD_CREATOR_EMAIL")
_RUNS = ("CI_RUN_URL", "CI_JOB_URL", "BUILDKITE_BUILD_URL", "CIRCLE_BUILD_URL", "BUILD_URL")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Actor(_Part):
    """Who did it: a claim, unless the record is signed."""

    name: str
    email: str | None = None
    source: Literal["git", "oidc", "env"]
    ci_run: str | None = None

    @property
    def identity(self) -> str:
        """What tells one person from another: the address, else the name, in lower case."""
        return (self.email or self.name).strip().lower()


class Git(_Part):
    commit: str | None
    dirty: bool


def actor_and_git(folder: Path, environment: Mapping[str, str] | None = None) -> tuple[Actor, Git | None]:
    """Who works in a folder, and its commit where git has one."""
    said = os.environ if environment is None else environment
    inside = _git(folder, "rev-parse", "--is-inside-work-tree") == "true"
    git = Git(commit=_git(folder, "rev-parse", "HEAD"),
              dirty=bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))) if inside else None
    return _of_token(said) or _of_ci(said) or _of_git(folder, said) or _of_login(said), git


def authors(path: Path) -> frozenset[str]:
    """Who wrote the last commit of a file, as identities; empty where git does not know it."""
    found = _git(path.resolve().parent, "log", "-1", "--format=%ae%n%an", "--", path.name)
    return frozenset(line.strip().lower() for line in (found or "").splitlines() if line.strip())


def _of_token(said: Mapping[str, str]) -> Actor | None:
    claims = _claims(said.get(TOKEN, ""))
    name = next((str(claims[key]) for key in ("user_login", "actor", "preferred_username", "name", "sub")
                 if claims.get(key)), None)
    email = claims.get("user_email") or claims.get("email")
    return Actor(name=name, email=str(email) if email else None, source="oidc", ci_run=_run(said)) if name else None


def _claims(token: str) -> dict[str, Any]:
    """What a token says of itself. It is not verified here: whoever reads the record sees a claim."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > 20_000:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _of_ci(said: Mapping[str, str]) -> Actor | None:
    if not said.get("CI"):
        return None
    name = next((said[key] for key in _PEOPLE if said.get(key)), None)
    email = next((said[key] for key in _EMAILS if said.get(key)), None)
    return Actor(name=name, email=email, source="env", ci_run=_run(said)) if name else None


def _of_git(folder: Path, said: Mapping[str, str]) -> Actor | None:
    name, email = _git(folder, "config", "user.name"), _git(folder, "config", "user.email")
    return Actor(name=name, email=email, source="git", ci_run=_run(said)) if name else None


def _of_login(said: Mapping[str, str]) -> Actor:
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        login = str(os.getuid())
    return Actor(name=login, source="env", ci_run=_run(said))


def _run(said: Mapping[str, str]) -> str | None:
    if said.get("GITHUB_RUN_ID") and said.get("GITHUB_REPOSITORY"):
        server = said.get("GITHUB_SERVER_URL", "https://github.com")
        return f"{server}/{said['GITHUB_REPOSITORY']}/actions/runs/{said['GITHUB_RUN_ID']}"
    return next((said[key] for key in _RUNS if said.get(key)), None)


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20,
                              check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
