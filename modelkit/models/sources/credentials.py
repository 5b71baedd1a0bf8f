"""Who the user is at a registry, as Docker's and Podman's own log-ins have it: read, never written, never shown.

`$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json`, `~/.docker/config.json` and Podman's `auth.json`, each with log-ins
of its own (`auths`) or with the name of a program that has them (`credHelpers`, `credsStore`).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelkit.failure import Failure

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HELPER_S = 60.0  # a helper may ask the user
_LARGEST = 1 << 20
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class Credentials:
    """A user's name and secret, or a token that stands for the user."""

    user: str
    secret: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


def find(host: str, name: str) -> Credentials | None:
    """The log-in for a repository, None if there is none. Raises Failure when a file or a program is broken."""
    for file in _files():
        said = _read(file)
        if said is not None and (found := _from_config(said, file, host, name)) is not None:
            return found
    return None


def _files() -> Iterator[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named).expanduser()
    docker = os.environ.get("DOCKER_CONFIG")
    yield (Path(docker).expanduser() if docker else _home() / ".docker") / "config.json"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    yield _home() / ".config" / "containers" / "auth.json"


def _home() -> Path:
    return Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none


def _read(file: Path) -> dict[str, Any] | None:
    try:
        with file.open("rb") as opened:
            said = json.loads(opened.read(_LARGEST))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _broken(file, error.strerror or str(error)) from None
    except (ValueError, RecursionError):
        raise _broken(file, "it is not JSON") from None
    if not isinstance(said, dict):
        raise _broken(file, "it is not an object")
    return said


def _from_config(said: dict[str, Any], file: Path, host: str, name: str) -> Credentials | None:
    helpers, auths = said.get("credHelpers"), said.get("auths")
    keys = list(_keys(host, name))
    if isinstance(helpers, dict):
        for key in keys:
            if isinstance(program := helpers.get(key), str):
                return _ask(program, key, file)
    if isinstance(auths, dict):
        for key in keys:
            if isinstance(entry := auths.get(key), dict) and (found := _entry(entry, file)) is not None:
                return found
    if isinstance(program := said.get("credsStore"), str) and program:
        stored = (_ask(program, key, file) for key in keys if "/" not in key or "://" in key)
        return next((one for one in stored if one is not None), None)
    return None


def _keys(host: str, name: str) -> Iterator[str]:
    """The names under which a log-in may be kept, the most precise first (Podman's may name a repository)."""
    parts = name.split("/")
    yield from ("/".join((host, *parts[:count])) for count in range(len(parts), 0, -1))
    hosts = _DOCKER_HUB if host in _DOCKER_HUB else (host,)
    for one in hosts:
        yield from (one, f"https://{one}", f"https://{one}/", f"https://{one}/v1/", f"https://{one}/v2/",
                    f"http://{one}")


def _entry(entry: dict[str, Any], file: Path) -> Credentials | None:
    token = entry.get("identitytoken")
    token = token if isinstance(token, str) else ""
    user, secret, packed = entry.get("username"), entry.get("password"), entry.get("auth")
    if isinstance(packed, str) and packed:
        try:
            user, _, secret = base64.b64decode(packed, validate=True).decode().rstrip("\0").partition(":")
        except (binascii.Error, ValueError):
            raise _broken(file, "an `auth` in it is not base64") from None
    if token or (isinstance(user, str) and user and isinstance(secret, str)):
        return Credentials(str(user or ""), str(secret or ""), token)
    return None


def _ask(program: str, key: str, file: Path) -> Credentials | None:
    """What a credential helper knows (github.com/docker/docker-credential-helpers)."""
    if not _HELPER.fullmatch(program):
        raise _broken(file, "a credential helper in it has an impossible name")
    command = f"docker-credential-{program}"
    try:
        done = subprocess.run([command, "get"], input=key.encode(), capture_output=True, timeout=_HELPER_S, check=False)
    except FileNotFoundError:
        raise _broken(file, f"it names the program `{command}`, which is not on PATH") from None
    except subprocess.TimeoutExpired:
        raise Failure("credentials-unreadable", f"{command} does not answer",
                      "unlock the store it reads, or log in again") from None
    except OSError as error:
        raise _broken(file, f"`{command}` can't be run: {error.strerror or error}") from None
    try:
        said = json.loads(done.stdout) if done.returncode == 0 else {}
    except ValueError:
        said = {}
    user, secret = (said.get("Username"), said.get("Secret")) if isinstance(said, dict) else (None, None)
    if not isinstance(user, str) or not isinstance(secret, str) or not secret:
        return None  # helpers say "not found" in words of their own
    return Credentials("", "", secret) if user == "<token>" else Credentials(user, secret)


def _broken(file: Path, why: str) -> Failure:
    return Failure("credentials-unreadable", f"{file} can't be used: {why}", "repair it, or log in again")
