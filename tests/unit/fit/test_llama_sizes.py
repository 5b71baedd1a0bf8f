"""The formulas of llama.cpp's memory beside its own answers, which are recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelkit.models.anatomy import Anatomy, anatomy_of_header
from modelkit.models.formats.gguf_reader import read_header
from modelkit.planning.fit import llama_cpp
from modelkit.planning.fit.budget import Budget
from modelkit.planning.fit.hardware import Hardware
from tests.unit.fit.llama_grid import RECORDED, SETTINGS
from tests.unit.fit.shapes import SHAPES

SAID: dict[str, list[dict[str, Any]]] = json.loads(RECORDED.read_text())
CASES = [pytest.param(name, index, id=f"{name}-{index}") for name in SAID for index in range(len(SETTINGS))]

ROUNDING = 3 * 0.005 * 2**20
"""Bytes: the log has two decimals of MiB, of as many as three lines."""


@pytest.fixture(scope="module")
def anatomies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Anatomy]:
    folder: Path = tmp_path_factory.mktemp("shapes")
    return {name: anatomy_of_header([read_header(make(folder / f"{name}.gguf"))]) for name, make in SHAPES.items()}


def summed(budget: Budget, begin: str) -> int:
    return sum(line.size for line in budget.lines if line.name.startswith(begin))


def test_there_are_ninety_settings() -> None:
    assert len(CASES) == 90 and all(not one["problem"] for sizes in SAID.values() for one in sizes)


@pytest.mark.parametrize(("name", "index"), CASES)
def test_the_cache_is_exact(anatomies: dict[str, Anatomy], name: str, index: int) -> None:
    said, budget = SAID[name][index], llama_cpp.budget(anatomies[name], SETTINGS[index], Hardware("a machine"))
    assert summed(budget, "attention cache") == pytest.approx(said["kv"], abs=ROUNDING, rel=0)
    assert summed(budget, "state cache") == pytest.approx(said["recurrent"], abs=ROUNDING, rel=0)
    assert summed(budget, "output") == pytest.approx(said["output"], abs=ROUNDING, rel=0)


@pytest.mark.parametrize(("name", "index"), CASES)
def test_computing_is_near(anatomies: dict[str, Anatomy], name: str, index: int) -> None:
    said, budget = SAID[name][index], llama_cpp.budget(anatomies[name], SETTINGS[index], Hardware("a machine"))
    assert summed(budget, "compute") == pytest.approx(said["compute"]["ram"], rel=0.14)


def test_most_of_computing_is_nearer(anatomies: dict[str, Anatomy]) -> None:
    off = []
    for name, sizes in SAID.items():
        for setting, said in zip(SETTINGS, sizes, strict=True):
            budget = llama_cpp.budget(anatomies[name], setting, Hardware("a machine"))
            off.append(abs(summed(budget, "compute") / said["compute"]["ram"] - 1))
    off.sort()
    assert off[len(off) // 2] < 0.03 and off[len(off) * 9 // 10] < 0.09
