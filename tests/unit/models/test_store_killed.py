"""Two processes share a store, pull, make and clear, and are killed fifty times: it is whole all the same."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.models import acquire, huggingface_folder, upkeep
from modelkit.models.local import artifact_at
from modelkit.models.reference import Reference
from modelkit.models.sources import oci
from modelkit.models.store import Store, quiet
from tests.unit.models.docker_registry import DockerRegistry, running
from tests.unit.models.small_model import small_model

KILLS = 50

FORK = multiprocessing.get_context("fork")

CLEARED = ("not-in-store", "model-missing", "model-changed", "model-unreadable")
"""What a process is told when the other one cleared meanwhile what it was working with: said, not damage."""


def work(root: Path, seed: int, references: list[str], said: Path) -> None:
    store, source = Store(root), random.Random(seed)
    while True:
        word = source.choice(references)
        try:
            match source.randrange(6):
                case 0:
                    upkeep.remove(upkeep.find(word, store), store)
                case 1:
                    upkeep.collect(store, everything_made=True)
                case 2:
                    huggingface_folder(acquire(word, Path("/"), store=store), store)
                case _:
                    acquire(word, Path("/"), store=store)
            done = "done"
        except Failure as failure:
            done = "cleared" if failure.code in CLEARED else f"FAILED {failure.code} {failure.message}"
        except Exception:
            done = f"FAILED {traceback.format_exc()}"
        with said.open("a") as file:
            file.write(f"{done}\n")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    with running(tmp_path / "registry") as one:
        yield one


def start(root: Path, seed: int, references: list[str], said: Path) -> Any:
    process = FORK.Process(target=work, args=(root, seed, references, said))
    process.start()
    return process


@pytest.mark.timeout(240)
def test_killed_fifty_times_it_verifies_clean(registry: DockerRegistry, tmp_path: Path) -> None:
    references = []
    for number in range(3):
        model = small_model(tmp_path / f"{number}.gguf")
        with model.open("r+b") as file:  # no two alike
            file.seek(-1, os.SEEK_END)
            file.write(bytes([number]))
        target = Reference.parse(f"oci://{registry.host}/models/m{number}:1", Path("/"))
        own = Store(tmp_path / "own")
        oci.push(artifact_at(model, acquire(str(model), store=own), own), target, own, quiet)
        references.append(target.text)
    store, source = Store(tmp_path / "models"), random.Random(1)
    said = tmp_path / "said"
    workers = [start(store.root, seed, references, said) for seed in range(2)]
    try:
        for kill in range(KILLS):
            time.sleep(source.uniform(0.0, 0.3))
            victim = kill % 2
            assert workers[victim].is_alive(), said.read_text()
            workers[victim].kill()
            workers[victim].join()
            workers[victim] = start(store.root, 100 + kill, references, said)
        while said.read_text().count("done") <= KILLS:  # on a busy machine most had no time to
            assert all(worker.is_alive() for worker in workers), said.read_text()
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    lines = said.read_text().splitlines()
    assert not [line for line in lines if line not in ("done", "cleared")]
    assert lines.count("done") > KILLS  # they did work
    assert upkeep.verify(store) == []
    for reference in references:
        weights = acquire(reference, store=store)
        assert huggingface_folder(weights, store, verify=True).form == "safetensors"
    assert upkeep.verify(store) == []
    assert all(holding.whole for holding in upkeep.holdings(store))
    upkeep.collect(store)
    assert not list((store.root / "work").iterdir())
