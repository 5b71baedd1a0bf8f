"""What is kept out of a stage, by whom, until when."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.release import events, history, hold
from tests.unit.release.told import Story, subject

NOW = "2026-06-01T00:00:00Z"
ONE, TWO = subject("1"), subject("2")

Event = tuple[str, str | None, str | None]  # kind, the version it is about, until


@pytest.mark.parametrize(("events_", "code"), [
    ([], None),
    ([("hold", None, None)], "held"),
    ([("hold", None, "2026-05-01T00:00:00Z")], None),
    ([("hold", None, "2026-07-01T00:00:00Z")], "held"),
    ([("hold", None, None), ("release", None, None)], None),
    ([("hold", ONE.ir, None)], "held"),
    ([("hold", TWO.ir, None)], None),
    ([("rollback", ONE.ir, None)], "held"),
    ([("rollback", ONE.ir, None), ("release", None, None)], None),
    ([("rollback", ONE.ir, None), ("release", ONE.ir, None)], None),
    ([("rollback", ONE.ir, None), ("release", TWO.ir, None)], "held"),
    ([("reject", ONE.ir, None)], "rejected"),
    ([("reject", ONE.ir, None), ("release", None, None)], "rejected"),
    ([("reject", ONE.ir, None), ("release", ONE.ir, None)], None),
    ([("release", ONE.ir, None), ("reject", ONE.ir, None)], "rejected"),
    ([("refuse", ONE.ir, None)], None),
])
def test_what_stands_against_a_version(tmp_path: Path, events_: list[Event], code: str | None) -> None:
    story = Story(tmp_path)
    for kind, about, until in events_:
        story.tell(kind, "5", about=about, until=until, reason="because")
    told = history.read(story.store)
    if code is None:
        hold.presume_free(told, ONE, NOW)
        return
    with pytest.raises(Failure) as caught:
        hold.presume_free(told, ONE, NOW)
    failure = caught.value
    assert (failure.code, failure.exit_code) == (code, 1)
    assert "Ada" in failure.message
    assert failure.detail == ("why: because",)
    assert failure.hint is not None
    assert "modelkit release prod" in failure.hint


def test_a_rejection_counts_in_every_stage_and_a_hold_in_its_own(tmp_path: Path) -> None:
    prod, staging = Story(tmp_path), Story(tmp_path, "staging")
    staging.tell("hold", "5", reason="r")
    staging.tell("hold", "5", about=TWO.ir, reason="r")
    staging.tell("reject", "5", about=ONE.ir, reason="r")
    others = history.all_of(tmp_path / "Modelfile", "bot")
    told = history.read(prod.store)
    with pytest.raises(Failure, match="rejected"):
        hold.presume_free(told, ONE, NOW, others)
    hold.presume_free(told, TWO, NOW, others)


def test_events_leave_what_serves_and_know_versions_by_their_beginning(tmp_path: Path) -> None:
    story = Story(tmp_path)
    promoted = story.tell("promote", "1")
    path = tmp_path / "Modelfile"

    def named(word: str) -> str:
        return events.version_named(history.all_of(path, "bot"), word)

    assert named(ONE.ir) == named(ONE.ir[7:19]) == named(promoted.id[7:15]) == named(promoted.id) == ONE.ir
    assert named(TWO.ir) == TWO.ir  # in full, nobody has to know it
    with pytest.raises(Failure, match="no versions are called"):
        named("222222222222")
    events.say(history.read(story.store), path, "reject", about=ONE.ir, reason="leaks")
    told = history.read(story.store)
    assert told.live is not None
    assert told.live.id == promoted.id
    assert told.chain[-1].record.about == ONE.ir
    with pytest.raises(Failure, match="rejected"):
        hold.presume_free(told, ONE, "2027-01-01T00:00:00Z")


def test_a_stage_can_be_held_before_anything_was_promoted(tmp_path: Path) -> None:
    store = Story(tmp_path).store
    events.say(history.read(store), tmp_path / "Modelfile", "hold", about=None, reason="not yet")
    told = history.read(store)
    assert told.live is None
    assert (store.folder / "HEAD").read_text().split()[1] == "-"
    with pytest.raises(Failure, match="stage `prod` is held"):
        hold.presume_free(told, ONE, "2027-01-01T00:00:00Z")
