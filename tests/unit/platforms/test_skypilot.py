"""SkyPilot's services, held against SkyPilot's own schemas.

`skypilot_schema.json` says where they are from; `case_insensitive_enum`, a word of SkyPilot's own, is `enum` in it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from modelkit import engines
from modelkit.failure import Failure
from modelkit.planning.accelerators import ACCELERATORS
from modelkit.platforms.manifests import DIRECTORY
from modelkit.platforms.skypilot import sky_name
from tests.unit.platforms.cases import CASES, rendered

SCHEMAS = json.loads((Path(__file__).parent / "skypilot_schema.json").read_text())


def mistakes(service: dict[str, Any]) -> list[str]:
    """What SkyPilot would refuse."""
    parts = {"task": service, "service": service.get("service", {}), "resources": service.get("resources", {})}
    return [error.message for name, part in parts.items()
            for error in Draft202012Validator(SCHEMAS[name]).iter_errors(part)]


def service_of(case: str) -> dict[str, Any]:
    found = next(f.content for f in rendered(case, "skypilot").files if f.path == "service.yaml")
    said = yaml.safe_load(found)
    assert isinstance(said, dict)
    return said


def accepted() -> list[str]:
    found = []
    for case in CASES:
        try:
            rendered(case, "skypilot")
        except Failure:
            continue
        found.append(case)
    return found


@pytest.mark.parametrize("case", accepted())
def test_skypilot_takes_the_service(case: str) -> None:
    said, found = service_of(case), rendered(case, "skypilot")
    assert mistakes(said) == []
    container = engines.container(found.plan)
    command = container.command or container.entry_point
    assert shlex.split(said["run"]) == ["exec", *command, *container.args]
    assert said["resources"]["image_id"] == f"docker:{found.plan.image}" and "@sha256:" in said["resources"]["image_id"]
    assert said.get("envs", {}) == container.env
    names = {file.path for file in found.files}
    assert {f"etc/{file.path}" for file in container.files} <= names


def test_the_accepted_cases_are_many() -> None:
    assert len(accepted()) >= 8


@pytest.mark.parametrize("break_", [
    lambda said: said.update({"command": "x"}), lambda said: said["service"].update({"port": 8000}),
    lambda said: said["service"]["readiness_probe"].pop("path"), lambda said: said["resources"].update({"gpu": "L4:1"}),
    lambda said: said["service"].update({"load_balancing_policy": "cache_aware"}),
    lambda said: said.update({"envs": {"A": 1}}), lambda said: said["service"].update({"replicas": "2"})])
def test_skypilot_would_say_what_is_wrong(break_: Any) -> None:
    said = service_of("replicas")
    break_(said)
    assert mistakes(said)


def test_a_key_is_a_secret_without_a_value() -> None:
    said, found = service_of("api-key"), rendered("api-key", "skypilot")
    assert list(said["secrets"].values()) == [None]
    assert found.client is not None and "--secret" in found.client.up[0]
    assert set(found.client.variables.values()) == {"env:SUPPORT_API_KEY"}


def test_gpus_by_the_names_of_the_catalogue() -> None:
    assert {sky_name(name) for name in ("A100-40GB", "RTX-4090", "RTX-6000-Ada", "L4")} == {
        "A100", "RTX4090", "RTX6000-Ada", "L4"}
    assert all(" " not in sky_name(name) for name in ACCELERATORS)


@pytest.mark.parametrize(("there", "verb"), [("", "up"), ("support-prod  1  READY  1/1  1.2.3.4:30001", "update")])
def test_a_service_that_is_there_is_updated(there: str, verb: str, tmp_path: Path) -> None:
    found = rendered("replicas", "skypilot")
    assert found.client is not None
    bundle, calls = tmp_path / "bun dle", tmp_path / "calls"
    bundle.mkdir()
    (tmp_path / "sky").write_text(f'#!/bin/sh\nif [ "$2" = status ]; then echo "{there}"; exit 0; fi\n'
                                  f'echo "$PWD: $*" >> "{calls}"\n')
    (tmp_path / "sky").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for words in found.client.up:
        subprocess.run([word.replace(DIRECTORY, str(bundle)) for word in words], env=environment, check=True)
    assert calls.read_text().startswith(f"{bundle}: serve {verb} --yes")
    if there:
        for words in found.client.ready:
            subprocess.run(list(words), env=environment, check=True)
