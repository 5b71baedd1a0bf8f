"""The way back: to which record, whether it is still there, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.models.digests import file_digest
from modelkit.models.store import Store
from modelkit.platforms.bundle import Bundle
from modelkit.release import history
from modelkit.release.hold import standing
from modelkit.release.promotion.choosing import Way, available, way_back
from modelkit.release.promotion.endpoint import Running
from modelkit.release.promotion.journal import Journal
from modelkit.release.promotion.refusal import Refused
from modelkit.release.promotion.rollback import Rollback
from modelkit.release.promotion.story import back_to
from modelkit.release.record import Gate, Records
from tests.unit.release.promotion_stage import Fake, bundle, gate, storyteller


@dataclass
class Past:
    """A stage to which three versions were promoted on this machine: 1, 2, 3."""

    folder: Path
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "vllm").touch()
        (self.folder / "weights").write_bytes(b"weights")
        self.records, self.journal = Records(self.folder / "Modelfile", "bot", "prod"), Journal(self.folder / "j")
        self.store = Store(self.folder / "store")
        for version in "123":
            self.ids.append(self.promoted(self.version(version)))

    def version(self, number: str) -> Bundle:
        made = bundle("prod", number, self.folder)
        assert made.plan.weights is not None
        weights = made.plan.weights.model_copy(update={"digest": file_digest(self.folder / "weights")})
        return Bundle(made.plan.model_copy(update={"weights": weights}), made.launch)

    def promoted(self, what: Bundle) -> str:
        written = self.records.append(storyteller(self.records, what)("promote", (), None))
        self.journal.keep(written.id, what)
        return written.id

    def way(self, to: str | None = None, **more: Any) -> Way:
        return way_back(history.read(self.records), to, self.journal, self.store, **more)

    def back(self, fake: Fake, way: Way, answers: Any = "pass", **more: Any) -> Rollback:
        def smoke(engine: Running) -> Gate:
            return gate("smoke", answers)

        return Rollback(way, "it was worse", fake, smoke, back_to(self.folder / "Modelfile", history.read(self.records),
                                                                  way), self.journal, self.records, **more)


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


def test_back_is_the_last_that_ran_something_else(past: Past) -> None:
    way = past.way()
    assert (way.entry.id, way.live.id, way.bundle) == (past.ids[1], past.ids[2], past.version("2"))
    assert way.out == past.version("3").digest


def test_what_is_kept_out_is_passed_over(past: Past) -> None:
    assert past.way(kept_out=lambda ir: ir == past.version("2").digest).entry.id == past.ids[0]


def test_what_was_never_promoted_goes_back_to_what_is_live(past: Past) -> None:
    way = past.way(serving="sha256:up")
    assert way.entry.id == past.ids[2] and way.out == "sha256:up"


def test_a_record_may_be_named(past: Past) -> None:
    assert past.way(past.ids[0][7:17]).entry.id == past.ids[0]
    with pytest.raises(Failure, match="no records"):
        past.way("ffff")


def test_a_record_that_started_nothing_is_no_way_back(past: Past) -> None:
    written = past.records.append(storyteller(past.records, past.version("3"))("refuse", (), None))
    with pytest.raises(Failure, match="is a `refuse`"):
        past.way(written.id)


def test_without_a_past_there_is_no_way_back(tmp_path: Path) -> None:
    records = Records(tmp_path / "Modelfile", "bot", "prod")
    with pytest.raises(Failure) as caught:
        way_back(history.read(records), None, Journal(tmp_path / "j"), Store(tmp_path / "s"))
    assert (caught.value.code, caught.value.exit_code) == ("nothing-promoted", 2)


@pytest.mark.parametrize(("harm", "words"), [
    (lambda past: (past.folder / "weights").unlink(), "its weights are gone"),
    (lambda past: (past.folder / "weights").write_bytes(b"Weights"), "its weights were changed"),
    (lambda past: (past.folder / "vllm").unlink(), "its engine is gone: vllm 0.32.0"),
    (lambda past: [one.unlink() for one in (past.folder / "j" / "bundles").iterdir()], "this machine never started it"),
], ids=["weights gone", "weights changed", "engine gone", "another machine"])
def test_what_is_gone_is_said_before_anything_is_done(past: Past, harm: Any, words: str) -> None:
    past.way()
    harm(past)
    with pytest.raises(Failure) as caught:
        past.way()
    assert words in caught.value.message
    assert (caught.value.code, caught.value.exit_code) == ("rollback-gone", 2)
    assert available(history.read(past.records), past.journal, past.store) == ()


def test_one_that_is_gone_leaves_the_others_named(past: Past) -> None:
    (past.folder / "j" / "bundles" / f"{past.ids[1][7:]}.json").unlink()
    with pytest.raises(Failure) as caught:
        past.way()
    assert caught.value.detail == (f"available: {past.ids[0][7:15]}  2026-11-23T01:45:12Z",)


def test_warm_is_a_switch_and_cold_a_start(past: Past) -> None:
    warm = Fake(past.version("3"))
    warm.start(past.version("2"))
    warm.asked.clear()
    past.back(warm, past.way()).run()
    assert warm.asked == [("switch", "prod-2", "1")]
    cold = Fake(past.version("2"))
    past.back(cold, past.way(to=past.ids[0])).run()
    assert cold.asked == [("start", "prod-1"), ("switch", "prod-1", "1")]


def test_a_rollback_is_recorded_and_keeps_what_it_left_out(past: Past) -> None:
    done = past.back(Fake(past.version("3")), past.way()).run()
    told = history.read(past.records)
    assert told.live is not None and told.live.id == done.record.id
    record = told.live.record
    assert (record.kind, record.reason, record.about) == ("rollback", "it was worse", past.version("3").digest)
    assert record.subject is not None and record.subject.ir == past.version("2").digest
    assert set(standing(told, record.at).kept_out) == {past.version("3").digest}
    assert past.journal.kept(done.record.id) == past.version("2")


@pytest.mark.parametrize("mode", ["side-by-side", "swap"])
@pytest.mark.parametrize("fault", ["it does not start", "it does not answer", "ctrl-c", "ctrl-c at the switch"])
def test_a_rollback_that_fails_leaves_what_served(past: Past, fault: str, mode: Any) -> None:
    fake = Fake(past.version("3"), dies=frozenset("2") if fault == "it does not start" else frozenset())
    if fault.startswith("ctrl-c"):
        fake.interrupt["switch" if "switch" in fault else "start"] = KeyboardInterrupt()
    answers = "fail" if fault == "it does not answer" else "pass"
    with pytest.raises((Failure, KeyboardInterrupt)) as caught:
        past.back(fake, past.way(), answers, mode=mode).run()
    assert fake.named(fake.route) == "prod-3"
    assert list(fake.engines.values()) == [past.version("3")]
    assert history.read(past.records).head == past.ids[2]
    assert isinstance(caught.value, Refused) == (fault == "it does not answer")
