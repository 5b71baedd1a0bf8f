"""kill -9 of the command, or of the supervisor, at any point of a promotion: the old or the new serves, never none."""

from __future__ import annotations

import random
import time

import pytest

from modelkit.runtime import served
from tests.unit.runtime.support import Home, aside, bundle, kill, post, within
from tests.unit.runtime.test_supervisor_killed import reaper_of, supervisor_of

WAIT = 30
OLD, NEW = bundle(), bundle("--load-seconds", "0.15", stage="prod")
POINTS = [round(random.Random(7).uniform(0, 1.0), 3) for _ in range(5)]


def promotion(home: Home, *, swap: bool) -> None:
    """What `promote` asks for, step by step."""
    with home.connect() as client:
        if swap:
            client.stop(client.status()["routed"], hold=True)
        new = client.start(NEW)["generation"]
        if not swap:
            client.mirror(new, 1.0)
            time.sleep(0.05)
            for share in (0.05, 0.5, 1.0):
                client.split(new, share)
                time.sleep(0.05)
        client.switch(new, keep_warm=0.3)
        time.sleep(0.3)


def converges(home: Home) -> None:
    """The next command has one of the two serve, whole, and nothing beside it for long."""
    with home.ensure() as client:
        client.restore()
        status = client.status()
        routed = [g for g in status["generations"] if g["routed"]]
        assert [g["digest"] in (OLD.digest, NEW.digest) for g in routed] == [True]
        assert post(client.endpoint, max_tokens=1)[0] == 200
        assert within(WAIT, lambda: len(home.engines()) == 1)
        assert within(WAIT, lambda: [g["routed"] for g in client.status()["generations"]] == [True])
        client.down()
    assert home.leftovers() == []


@pytest.mark.parametrize("swap", [False, True], ids=["beside", "swap"])
@pytest.mark.parametrize("whom", ["command", "supervisor"])
def test_killed_while_it_promotes(home: Home, whom: str, swap: bool) -> None:
    for point in POINTS[:3] if swap else POINTS:
        home.up(OLD).close()
        promoting = aside(lambda: promotion(home, swap=swap))
        time.sleep(point)  # any point must do
        kill((promoting.pid if whom == "command" else supervisor_of(home)) or -1)
        promoting.join(WAIT)
        converges(home)


def test_killed_with_its_reaper(home: Home) -> None:
    home.up(OLD).close()
    kill(reaper_of(home))
    kill(supervisor_of(home) or -1)
    converges(home)


class TestRestore:
    def test_what_serves_stays(self, home: Home) -> None:
        up = home.up(OLD)
        assert up.restore() == []
        assert up.status()["routed"] == 1

    def test_what_was_ended_on_purpose_is_forgotten(self, home: Home) -> None:
        home.up(OLD).down()
        assert home.ensure().restore() == []

    def test_it_is_what_served_last(self, home: Home) -> None:
        up = home.up(OLD)
        up.switch(up.start(NEW)["generation"])
        kill(supervisor_of(home) or -1)
        again = home.ensure()
        assert [one["digest"] for one in again.restore()] == [NEW.digest]
        assert post(again.endpoint, max_tokens=1)[0] == 200

    @pytest.mark.parametrize("written", [b"", b"null", b"{}", b'{"schema": "modelkit.served/1"}',
                                         b'{"schema": "modelkit.served/1", "served": {"/nowhere/Modelfile": {}}}',
                                         b'{"schema": "modelkit.served/9", "served": {}}'])
    def test_what_makes_no_sense_is_nothing(self, home: Home, written: bytes) -> None:
        home.project.make()
        served.path_of(home.project).write_bytes(written)
        assert served.read(home.project) == {}

    def test_it_is_private_and_as_it_was_written(self, home: Home) -> None:
        home.up(OLD).close()
        assert served.path_of(home.project).stat().st_mode & 0o777 == 0o600
        assert served.read(home.project) == {"/nowhere/Modelfile": OLD}
