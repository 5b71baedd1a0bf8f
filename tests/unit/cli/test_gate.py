"""`gate` through the command line, over a real supervisor and stub engines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelkit.cli import gating
from modelkit.release.gates import GateContext
from tests.unit.cli.test_promotion import Life, Run, life, run  # noqa: F401  (fixtures)
from tests.unit.runtime.conftest import home  # noqa: F401  (a fixture)


@pytest.fixture
def sockets(life: Life, monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:  # noqa: F811
    """Which stages' engines the gates could ask, each time."""
    asked: list[set[str]] = []

    def context(*words: Any, sockets: dict[str, str], **more: Any) -> GateContext:
        asked.append(set(sockets))
        return life.context(*words, **more)

    monkeypatch.setattr(gating, "context_of", context)
    return asked


def running(life: Life) -> list[str]:  # noqa: F811
    with life.home.connect() as client:
        return [one["stage"] for one in client.status()["generations"] if one["phase"] not in ("stopped", "stopping")]


def test_it_judges_and_promotes_nothing(life: Life, run: Run, sockets: list[set[str]]) -> None:  # noqa: F811
    code, out, err = run("gate", "dev", "prod")
    assert code == 0, err
    assert "parity    pass" in out
    assert out.splitlines()[-1] == "pass: nothing stands against it"
    assert sockets == [set()]
    assert (life.kinds(), running(life)) == ([], [])


def test_with_start_both_stages_are_asked_and_stopped_again(life: Life, run: Run,  # noqa: F811
                                                            sockets: list[set[str]]) -> None:
    code, _, err = run("gate", "dev", "prod", "--start")
    assert code == 0, err
    assert sockets == [{"dev", "prod"}]
    assert running(life) == []


def test_what_runs_is_asked_and_left(life: Life, run: Run, sockets: list[set[str]]) -> None:  # noqa: F811
    assert run("promote", "dev", "prod", "--yes", "--keep-warm", "0s")[0] == 0
    sockets.clear()
    assert run("gate", "dev", "prod")[0] == 0
    assert "prod" in sockets[0]
    assert "prod" in running(life)
    assert life.serves()[0] == "prod"


def test_a_difference_is_one_and_says_so_in_json(life: Life, run: Run, sockets: list[set[str]]) -> None:  # noqa: F811
    life.parity.append("a difference")
    code, out, _ = run("gate", "--json")
    said = json.loads(out)
    assert (code, said["verdict"], said["schema"]) == (1, "fail", "modelkit.gates/1")
    assert {one["id"]: one["verdict"] for one in said["gates"]}["parity"] == "fail"
    over = ("--override", "parity", "--reason", "the space is meant", "--until", "2099-01-01")
    code, out, _ = run("gate", *over)
    assert code == 0
    assert "fail, overridden" in out
    assert run("gate", "--only", "lint")[0] == 0
    assert run("gate", "--only", "speed")[0] == 2
