"""An engine that runs otherwise than planned does not get the address."""

from __future__ import annotations

import json

import pytest

from modelkit.contract.effective import SCHEMA
from modelkit.failure import Failure
from tests.unit.runtime.support import Home, bundle, within

PLANNED = {"context_length": 512, "max_concurrency": 4}


def says(**values: object) -> str:
    return json.dumps({"schema": SCHEMA, **values})


def failure_of(home: Home, *vices: str) -> Failure:
    with home.ensure() as connected, pytest.raises(Failure) as failed:
        connected.apply(bundle(*vices, expected=PLANNED))
    assert within(30, lambda: not home.leftovers())
    return failed.value


def test_as_planned(home: Home) -> None:
    with home.up(bundle("--effective", says(context_length=512, max_concurrency=4), expected=PLANNED)) as connected:
        assert connected.status()["generations"][0]["phase"] == "ready"


def test_half_the_context(home: Home) -> None:
    failure = failure_of(home, "--effective", says(context_length=256, max_concurrency=8))
    assert failure.code == "engine-not-as-planned"
    assert "tokens of context: planned 512, found 256" in failure.message
    assert any("conversations at once: planned 4, found 8" in line for line in failure.detail)


@pytest.mark.parametrize("vices", [(), ("--effective", "[]"), ("--effective", "{}")])
def test_one_that_does_not_say_is_not_believed(home: Home, vices: tuple[str, ...]) -> None:
    failure = failure_of(home, *vices)
    assert failure.code == "engine-not-as-planned" and "does not say" in failure.message
