"""A promotion takes the address only when all has passed, and whatever ends it, something serves and the records say
what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.release import history
from modelkit.release.promotion.flow import Promotion, Wanted
from modelkit.release.promotion.journal import Journal
from modelkit.release.promotion.refusal import Refused
from modelkit.release.promotion.settling import settle
from modelkit.release.promotion.trial import Canary, Clock
from modelkit.release.record import Records
from tests.unit.release.promotion_stage import Fake, Judges, bundle, counts, storyteller

DEV, OLD, NEW = bundle("dev"), bundle("prod", "1"), bundle("prod", "2")


@dataclass
class Stage:
    """One promotion of NEW over a fake address, with real records and a real journal."""

    folder: Path
    fake: Fake
    judges: Judges

    def __post_init__(self) -> None:
        self.records = Records(self.folder / "Modelfile", "bot", "prod")
        self.journal = Journal(self.folder / "journal")
        self.wanted = Wanted(DEV, NEW, keep_warm=600)

    def promotion(self, **more: Any) -> Promotion:
        return Promotion(replace(self.wanted, **more), self.fake, self.judges, storyteller(self.records, NEW),
                         self.journal, self.records)

    def kinds(self) -> list[str]:
        return [one.record.kind for one in history.read(self.records).chain]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, Fake(OLD), Judges())


def test_all_passed_switches_keeps_warm_and_records(stage: Stage) -> None:
    done = stage.promotion().run()
    assert stage.fake.asked == [("start", "dev-1"), ("start", "prod-2"), ("switch", "prod-2", "600"),
                                ("stop", "dev-1")]
    assert done.before is not None and done.warm == 600
    assert [one.id for one in done.gates] == ["lint", "tests", "smoke"]
    assert stage.kinds() == ["promote"]
    assert stage.journal.kept(done.record.id) == NEW
    assert stage.journal.intent() is None


@pytest.mark.parametrize(("verdict", "code"), [("fail", 1), ("error", 2), ("inconclusive", 8), ("skipped", 8)])
@pytest.mark.parametrize("which", ["lint", "tests", "answers"])
@pytest.mark.parametrize("mode", ["side-by-side", "swap"])
def test_what_does_not_pass_changes_nothing(stage: Stage, which: str, verdict: Any, code: int, mode: Any) -> None:
    setattr(stage.judges, which, verdict)
    with pytest.raises(Refused) as refused:
        stage.promotion(mode=mode).run()
    assert refused.value.exit_code == code
    assert refused.value.detail
    assert stage.fake.named(stage.fake.route) == "prod-1"
    assert len(stage.fake.engines) == 1
    assert stage.kinds() == ([] if which == "lint" or verdict == "error" else ["refuse"])
    assert stage.journal.intent() is None


def test_nothing_is_started_for_a_file_that_does_not_pass(stage: Stage) -> None:
    stage.judges.lint = "fail"
    with pytest.raises(Refused):
        stage.promotion().run()
    assert stage.fake.asked == []


def test_an_override_lets_a_canary_pass_but_never_a_broken_check(stage: Stage) -> None:
    canary = Canary((50, 100), each=1)
    promotion = stage.promotion(canary=canary)
    promotion.clock = ticking()
    with pytest.raises(Refused, match="canary"):
        promotion.run()
    again = stage.promotion(canary=canary)
    again.clock, again.overrides = ticking(), ("canary",)
    assert again.run().gates[-1].verdict == "inconclusive"


def ticking() -> Clock:
    """A clock that only sleeping moves."""
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    return Clock(lambda: passed[0], sleep)


def test_swap_stops_what_serves_first_and_no_source_is_started(stage: Stage) -> None:
    stage.promotion(mode="swap").run()
    assert stage.fake.asked == [("stop", "prod-1"), ("start", "prod-2"), ("switch", "prod-2", "600")]


@pytest.mark.parametrize("mode", ["side-by-side", "swap"])
@pytest.mark.parametrize("error", [Failure("engine-exited", "it died"), KeyboardInterrupt(), SystemExit()],
                         ids=["failure", "ctrl-c", "exit"])
@pytest.mark.parametrize("step", ["start", "switch"])
def test_interrupted_it_leaves_the_old_one(stage: Stage, step: str, error: BaseException, mode: Any) -> None:
    stage.fake.interrupt[step] = error
    with pytest.raises(type(error)):
        stage.promotion(mode=mode).run()
    assert stage.fake.named(stage.fake.route) == "prod-1"
    assert stage.kinds() == []
    assert stage.journal.intent() is None


def test_interrupted_just_after_the_switch_it_is_recorded(stage: Stage) -> None:
    class Late(Fake):
        def switch(self, generation: int, keep_warm: float) -> None:
            super().switch(generation, keep_warm)
            raise KeyboardInterrupt

    stage.fake = Late(OLD)
    with pytest.raises(KeyboardInterrupt):
        stage.promotion().run()
    assert stage.fake.named(stage.fake.route) == "prod-2"
    assert stage.kinds() == ["promote"]


@pytest.mark.parametrize("kept", [True, False], ids=["the supervisor lives", "the supervisor is new"])
@pytest.mark.parametrize("switched", [True, False], ids=["switched", "not switched"])
def test_killed_it_is_finished_by_the_next_command(stage: Stage, switched: bool, kept: bool) -> None:
    """Killed: no finally runs. The journal is as it was written, and the address as it was left."""
    class Killed(BaseException):
        pass

    promotion = stage.promotion()
    promotion._undo = lambda: None  # type: ignore[method-assign]
    original = stage.fake.switch

    def switch(generation: int, keep_warm: float) -> None:
        if switched:
            original(generation, keep_warm)
        raise Killed

    stage.fake.switch = switch  # type: ignore[method-assign]
    with pytest.raises(Killed):
        promotion.run()
    stage.fake.switch = original  # type: ignore[method-assign]
    if not kept:
        stage.fake.engines.clear()
        stage.fake.route = None
    for _ in range(2):
        settle(stage.journal, stage.records, stage.fake)
        assert stage.fake.named(stage.fake.route) == ("prod-2" if switched and kept else "prod-1")
        assert stage.kinds() == (["promote"] if switched and kept else [])
        assert stage.journal.intent() is None


def test_killed_between_the_record_and_the_journal_there_is_one_record(stage: Stage) -> None:
    promotion = stage.promotion()
    cleared = stage.journal.clear
    stage.journal.clear = lambda: None  # type: ignore[method-assign]
    promotion.run()
    stage.journal.clear = cleared  # type: ignore[method-assign]
    assert stage.journal.intent() is not None
    settle(stage.journal, stage.records, stage.fake)
    assert stage.kinds() == ["promote"]


def test_the_first_one_ever_leaves_nothing_when_refused(stage: Stage) -> None:
    stage.fake, stage.judges.tests = Fake(), "fail"
    with pytest.raises(Refused):
        stage.promotion().run()
    assert stage.fake.engines == {}


def test_a_worse_canary_goes_back_and_a_good_one_goes_on(stage: Stage) -> None:
    passed = [0.0]
    slow = 0.5

    def answered(generation: int, mirrored: bool) -> Any:
        return counts(int(passed[0] * 100), 0.1 if generation == 1 else slow)

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    stage.fake.answered = answered
    canary = Canary((10, 50, 100), each=2)
    first = stage.promotion(canary=canary)
    first.clock = Clock(lambda: passed[0], sleep)
    with pytest.raises(Refused) as refused:
        first.run()
    assert "p95 of time to first token" in str(refused.value.detail)
    assert [one for one in stage.fake.asked if one[0] == "split"] == [("split", "prod-2", "0.1"),
                                                                     ("split", "prod-2", "None")]
    assert stage.fake.named(stage.fake.route) == "prod-1"
    slow, stage.fake.asked = 0.1, []
    again = stage.promotion(canary=canary)
    again.clock = Clock(lambda: passed[0], sleep)
    again.run()
    assert [one[2] for one in stage.fake.asked if one[0] == "split"] == ["0.1", "0.5", "1.0"]
    assert stage.fake.named(stage.fake.route) == "prod-2"


def test_a_crash_ends_a_canary_at_once(stage: Stage) -> None:
    stage.fake.crashed.add(3)  # 1 serves, 2 is dev's
    promotion = stage.promotion(canary=Canary((10,), each=3600))
    promotion.clock = ticking()
    with pytest.raises(Refused) as refused:
        promotion.run()
    assert "crashed" in str(refused.value.detail)
    assert refused.value.exit_code == 1


def test_a_shadow_gets_copies_for_its_time(stage: Stage) -> None:
    passed = [0.0]

    def answered(generation: int, mirrored: bool) -> Any:
        return counts(int(passed[0] * 100)) if mirrored or generation == 1 else counts(0)

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    stage.fake.answered = answered
    promotion = stage.promotion(shadow=5)
    promotion.clock = Clock(lambda: passed[0], sleep)
    promotion.run()
    assert [one[2] for one in stage.fake.asked if one[0] == "mirror"] == ["1.0", "None"]
    assert 5 <= passed[0] < 6


def test_two_at_once_one_waits_its_turn(stage: Stage) -> None:
    other = Journal(stage.folder / "journal")
    with stage.journal.alone("promote"):
        with pytest.raises(Failure) as busy, other.alone("rollback"):
            pass
        assert busy.value.exit_code == 1
        assert "`modelkit promote`" in busy.value.message
    with other.alone("rollback"):
        pass
