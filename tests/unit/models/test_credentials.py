"""Where log-ins to registries are kept, as Docker and Podman keep them."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.models.sources import credentials


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home/.docker").mkdir(parents=True)
    return tmp_path / "home"


def auth(user: str, secret: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}


HOST = "registry.example"
LOGINS = [
    ({"auths": {HOST: auth("me", "s")}}, ("me", "s", "")),
    ({"auths": {f"https://{HOST}/v1/": auth("me", "s:t")}}, ("me", "s:t", "")),
    ({"auths": {f"{HOST}/ns": auth("ns", "s"), HOST: auth("me", "s")}}, ("ns", "s", "")),
    ({"auths": {f"{HOST}/other": auth("ns", "s"), HOST: auth("me", "s")}}, ("me", "s", "")),
    ({"auths": {HOST: {"identitytoken": "t"}}}, ("", "", "t")),
    ({"auths": {HOST: {"username": "me", "password": "s"}}}, ("me", "s", "")),
    ({"auths": {HOST: {}}, "credsStore": "test"}, ("helped", "by registry.example", "")),
    ({"credHelpers": {HOST: "test"}, "auths": {HOST: auth("me", "s")}}, ("helped", "by registry.example", "")),
    ({"credHelpers": {HOST: "token"}}, ("", "", "secret")),
    ({"credHelpers": {HOST: "none"}}, None),
    ({"auths": {"other.example": auth("me", "s")}}, None),
    ({}, None),
]


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in {"test": 'read host; echo "{\\"Username\\": \\"helped\\", \\"Secret\\": \\"by $host\\"}"',
                       "token": 'echo \'{"Username": "<token>", "Secret": "secret"}\'',
                       "none": "echo credentials not found; exit 1"}.items():
        file = folder / f"docker-credential-{name}"
        file.write_text(f"#!/bin/sh\n[ \"$1\" = get ] || exit 9\n{body}\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("helpers")
@pytest.mark.parametrize(("said", "found"), LOGINS)
def test_logins(home: Path, said: dict[str, Any], found: tuple[str, str, str] | None) -> None:
    (home / ".docker/config.json").write_text(json.dumps(said))
    known = credentials.find(HOST, "ns/name")
    assert (known and (known.user, known.secret, known.identity_token)) == found
    assert known is None or "s" not in repr(known).replace("Credentials(user=", "").replace("ns", "")


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"auths": {HOST: {"auth": "?"}}}),
                                  json.dumps({"credHelpers": {HOST: "../evil"}}), '{"credsStore": "not-installed"}'])
def test_broken_logins(home: Path, text: str) -> None:
    (home / ".docker/config.json").write_text(text)
    with pytest.raises(Failure) as failed:
        credentials.find(HOST, "ns/name")
    assert failed.value.code == "credentials-unreadable" and "config.json" in failed.value.message


def test_other_places_of_logins(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(user: str) -> str:
        return json.dumps({"auths": {HOST: auth(user, "s")}})

    def found() -> str:
        known = credentials.find(HOST, "ns/name")
        assert known is not None
        return known.user

    (home / ".config/containers").mkdir(parents=True)
    (home / ".config/containers/auth.json").write_text(said("podman"))
    assert found() == "podman"
    (home / ".docker/config.json").write_text(said("docker"))
    assert found() == "docker"
    (tmp_path / "config.json").write_text(said("folder"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert found() == "folder"
    (tmp_path / "file").write_text(said("file"))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "file"))
    assert found() == "file"
