"""kill -9 at 30 points of a promotion, over a real supervisor and stub engines: the next command finds the old version
or the new one serving, or brings one back, and the records tell what serves."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from modelkit.cli.address import Address
from modelkit.cli.promoting import settled
from modelkit.cli.terminal import Terminal
from modelkit.platforms.bundle import Bundle
from modelkit.release import history
from modelkit.release.promotion.flow import Done, Promotion, Wanted
from modelkit.release.promotion.journal import Journal
from modelkit.release.record import Records
from tests.unit.release.promotion_stage import Judges, storyteller
from tests.unit.runtime.conftest import home  # noqa: F401  (a fixture)
from tests.unit.runtime.support import MODELFILE, Home, aside, bundle, kill, post, within

QUIET = Terminal(quiet=True)
DEV, OLD, NEW = bundle(), bundle("--say", "old", stage="prod"), bundle("--say", "new", stage="prod")
POINTS = random.Random(7)  # the same points each time


class Told:
    """One project's journal and records."""

    def __init__(self, folder: Path) -> None:
        self.journal, self.records = Journal(folder / "journal"), Records(folder / "Modelfile", "bot", "prod")

    def promote(self, up: Home, target: Bundle, source: Bundle = DEV) -> Done:
        with up.ensure() as client, self.journal.alone("promote"):
            address = Address(client, Path(MODELFILE), QUIET)
            self.settle(address)
            wanted, story = Wanted(source, target, keep_warm=600), storyteller(self.records, target)
            return Promotion(wanted, address, Judges(), story, self.journal, self.records).run()

    def settle(self, address: Address) -> None:
        if address.routed() is None:
            address.restore()
        settled(Path(self.records.root.parent / "Modelfile"), NEW.plan.model_copy(update={"name": "bot"}),
                self.journal, address)

    def live(self) -> str | None:
        found = history.read(self.records).live
        return found.record.subject.ir if found and found.record.subject else None


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def serves(up: Home) -> str:
    """The digest of what has the address; it answers."""
    with up.connect() as client:
        routed = Address(client, Path(MODELFILE), QUIET).routed()
        assert routed is not None
        assert post(client.endpoint, max_tokens=1)[0] == 200
        return routed.bundle_digest


def length_of(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_a_killed_command_never_leaves_nothing(home: Home, told: Told) -> None:  # noqa: F811
    """At every point, also before the next command, the address answers."""
    told.promote(home, OLD)
    seconds = length_of(partial(told.promote, home, NEW, OLD))
    outcomes = set()
    for _ in range(20):
        begun = serves(home)
        now, wanted = (NEW, OLD) if begun == NEW.digest else (OLD, NEW)
        command = aside(partial(told.promote, home, wanted, now))
        time.sleep(POINTS.uniform(0, seconds * 1.1))
        kill(command.pid or -1)
        command.join()
        left = serves(home)
        assert left in (begun, wanted.digest)
        with home.ensure() as client:
            told.settle(Address(client, Path(MODELFILE), QUIET))
        assert serves(home) == left == told.live()
        assert told.journal.intent() is None
        outcomes.add(left == wanted.digest)
        assert within(10, lambda: idle(home)), "candidates of a dead command are stopped"
    assert outcomes == {True, False}, "the points are spread over the promotion"
    told.promote(home, NEW)
    assert serves(home) == told.live() == NEW.digest


def idle(home: Home) -> bool:  # noqa: F811
    """Nothing runs but what serves and what is kept warm."""
    with home.connect() as client:
        return all(one["routed"] or one["warm"] for one in client.status()["generations"])


@pytest.mark.parametrize("point", range(10))
def test_a_killed_supervisor_comes_back_with_one_of_them(home: Home, told: Told, point: int) -> None:  # noqa: F811
    told.promote(home, OLD, OLD)
    with home.connect() as client:
        supervisor = client.hello["pid"]
    command = aside(partial(told.promote, home, NEW, OLD))
    time.sleep(0.08 * point)
    os.kill(supervisor, 9)
    command.join(30)
    with home.ensure() as client:
        told.settle(Address(client, Path(MODELFILE), QUIET))
    assert serves(home) in (OLD.digest, NEW.digest)
    assert told.journal.intent() is None
    if told.live() == NEW.digest:
        assert serves(home) == NEW.digest
    with home.connect() as client:
        client.down()
