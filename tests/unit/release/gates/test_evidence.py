"""Evidence counts for the same version and the same question, and until it is too old."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelkit.release.gates import GateContext, run_gates
from modelkit.release.gates.evidence import Shelf
from modelkit.release.record import Evidence, Gate
from tests.unit.release.gates.test_gates import Cases, context, measured
from tests.unit.release.told import subject


class Counting:
    """A measure that says how often it was asked."""

    def __init__(self, **counts: int) -> None:
        self.asked, self.counts = 0, counts

    def __call__(self) -> Cases:
        self.asked += 1
        return Cases(self.counts)


def measured_by(found: GateContext, tests: Counting, **more: Any) -> Gate:
    (gate,) = run_gates(measured(replace(found, **more), tests=tests), only=["tests"]).gates
    return gate


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    found, tests = context(tmp_path), Counting(**{"pass": 3})
    first, second = measured_by(found, tests), measured_by(found, tests)
    assert tests.asked == 1
    assert first == second
    assert first.evidence is not None
    data = (tmp_path / "promotions" / first.evidence.path).read_bytes()
    assert hashlib.sha256(data).hexdigest() == first.evidence.sha256
    assert json.loads(data)["result"] == {"pass": 3}


@pytest.mark.parametrize("more", [{"subject": subject("8")}, {"fresh": True}, {"max_age": -1.0}],
                         ids=["another version", "fresh", "too old"])
def test_it_is_where_something_else_is_asked(tmp_path: Path, more: dict[str, Any]) -> None:
    found, tests = context(tmp_path), Counting(**{"pass": 3})
    measured_by(found, tests)
    measured_by(found, tests, **more)
    assert tests.asked == 2


def test_it_is_where_the_cases_or_the_limit_changed(tmp_path: Path) -> None:
    found, tests = context(tmp_path), Counting(**{"pass": 3})
    measured_by(found, tests)
    measured_by(measured(found, asked={"tests": "sha256:other"}), tests)
    measured_by(context(tmp_path, "  EXPECT tests >= 50%"), tests)
    assert tests.asked == 3


@pytest.mark.parametrize(("counts", "asked"), [({"fail": 1}, 1), ({"error": 1}, 2), ({"skipped": 1}, 2)])
def test_only_what_decides_is_kept_for_later(tmp_path: Path, counts: dict[str, int], asked: int) -> None:
    found, tests = context(tmp_path), Counting(**counts)
    measured_by(found, tests)
    measured_by(found, tests)
    assert tests.asked == asked


def test_a_changed_file_does_not_count(tmp_path: Path) -> None:
    found, tests = context(tmp_path), Counting(**{"fail": 1})
    evidence = measured_by(found, tests).evidence
    assert evidence is not None
    path = tmp_path / "promotions" / evidence.path
    path.write_bytes(path.read_bytes().replace(b'"fail"', b'"pass"'))
    assert measured_by(found, tests).verdict == "fail"
    assert tests.asked == 2


def test_faults_are_named(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    digest = "0" * 64
    assert "missing" in str(shelf.fault(Evidence(path=f"evidence/{digest}.json", sha256=digest)))
    assert "digest" in str(shelf.fault(Evidence(path="evidence/../HEAD", sha256=digest)))
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / f"{digest}.json").write_text("{}")
    assert "changed" in str(shelf.fault(Evidence(path=f"evidence/{digest}.json", sha256=digest)))


def test_the_newest_counts_until_its_end(tmp_path: Path) -> None:
    found, tests = context(tmp_path), Counting(**{"pass": 1})
    measured_by(found, tests)
    (path,) = (tmp_path / "promotions" / "evidence").glob("*.json")
    said = json.loads(path.read_bytes())
    shelf, ended = Shelf(tmp_path / "promotions"), datetime.now(UTC)
    assert shelf.latest(said["subject"], said["asked"], max_age=60, now=ended + timedelta(seconds=30)) is not None
    assert shelf.latest(said["subject"], said["asked"], max_age=60, now=ended + timedelta(seconds=90)) is None
    assert shelf.latest(said["subject"], said["asked"], max_age=60, now=ended - timedelta(hours=1)) is None
