"""The table of weaknesses: traceable rows, and which versions they speak of."""

from __future__ import annotations

import re

import pytest
from packaging.specifiers import SpecifierSet

from modelkit.engines.advisories import ADVISORIES, Advisory, advisories
from modelkit.engines.requirements import SETS


@pytest.mark.parametrize("one", ADVISORIES, ids=lambda one: one.id)
def test_a_row_can_be_traced(one: Advisory) -> None:
    for id in (one.id, *one.aliases):
        assert re.fullmatch(r"CVE-20\d\d-\d{4,6}|GHSA(-[23456789cfghjmpqrvwx]{4}){3}|PYSEC-20\d\d-\d+", id)
    assert one.source.startswith("https://") and (one.id in one.source or "/releases/tag/" in one.source)
    for part in one.affected.split("||"):
        assert str(SpecifierSet(part))
    assert not one.fixed or not one.affects(one.fixed)
    assert one.summary[0].islower() or one.summary.startswith(("RPC", "/"))
    assert not one.summary.endswith(".") and len(one.summary) < 100


def test_an_id_is_said_once_for_an_engine() -> None:
    ids = [(one.engine, id) for one in ADVISORIES for id in (one.id, *one.aliases)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("engine", "version", "ids"), [
    ("vllm", "0.32.0", []), ("vllm", "0.32.0+cpu", []), ("vllm", "0.31.0", ["CVE-2026-115911", "PYSEC-2026-4349"]),
    ("vllm", "0.13.9", ["CVE-2026-22778", "CVE-2026-22807", "CVE-2026-27893"]),
    ("llama.cpp", "0.3.36", []), ("llama-cpp-python", "0.3.36", []), ("llama-cpp-python", "0.2.71", ["CVE-2024-34359"]),
    ("llama.cpp", "2026.9.11063", ["CVE-2026-107183", "CVE-2026-118375"]),
    ("llama-server", "11392", ["CVE-2026-107183", "CVE-2026-118375"]), ("llama-server", "11393", ["CVE-2026-118375"]),
    ("ray", "2.51.0", ["CVE-2025-62593"]), ("ray", "2.60.0", []), ("envoy", "1.40.0", []),
    ("envoy", "1.38.2", ["CVE-2026-47221"]), ("envoy", "1.36.9", []), ("vllm", "main", []), ("nobody", "1", []),
])
def test_the_gravest_first(engine: str, version: str, ids: list[str]) -> None:
    found = [one.id for one in advisories(engine, version)]
    assert set(ids) <= set(found) and (ids or not found)
    rated = [one.severity for one in advisories(engine, version)]
    assert rated == sorted(rated, key=["critical", "high", "medium", "unrated"].index)


def test_the_newest_of_what_is_installed_has_no_grave_weakness_that_is_known() -> None:
    newest = {one.engine: one.version for one in reversed(SETS)}
    for engine, version in newest.items():
        assert not [one.id for one in advisories(engine, version) if one.severity in ("critical", "high")]
