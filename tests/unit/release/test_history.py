"""A stage's story: what served when, and that a changed byte is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.release import history, hold
from modelkit.release.gates.evidence import Finding, Shelf
from modelkit.release.record import Evidence, Gate, Record, Records
from modelkit.release.verification import Verified, verify
from tests.unit.release.told import Story, subject


def gate(evidence: Evidence | None = None) -> dict[str, Any]:
    return Gate(id="tests", kind="tests", verdict="pass", evidence=evidence, started="2026-01-01T00:00:00Z",
                ended="2026-01-01T00:00:00Z").model_dump(mode="json")


def story(folder: Path) -> Story:
    """A promotion with evidence, an approval, another promotion, a rollback."""
    told = Story(folder)
    kept = Shelf(told.store.root).keep(Finding(schema="modelkit.evidence/1", subject=subject("1").ir, asked="x",
                                               gate=Gate.model_validate(gate()), result={"passed": 3}))
    told.tell("promote", "1", gates=[gate(kept)])
    told.tell("approve", "1", about=subject("2").ir, reason="looked at it")
    told.tell("promote", "2")
    told.tell("rollback", "1", about=subject("2").ir, reason="worse")
    return told


def verified(told: Story, **more: Any) -> Verified:
    return verify(history.read(told.store), **more)


def kinds(told: Story, **more: Any) -> set[str]:
    try:
        return {one.kind for one in verified(told, **more).problems}
    except Failure as failure:
        return {failure.code}


def test_a_story_that_nobody_touched(tmp_path: Path) -> None:
    found = verified(story(tmp_path))
    assert (found.records, found.evidence, found.problems) == (4, 1, ())


def test_what_is_live_and_what_was(tmp_path: Path) -> None:
    told = history.read(story(tmp_path).store)
    assert [one.record.kind for one in told.chain] == ["promote", "approve", "promote", "rollback"]
    assert told.live is not None
    assert told.live.record.kind == "rollback"

    def at(word: str) -> str | None:
        found = told.at(history.instant(word))
        return found.record.subject.ir[7] if found and found.record.subject else None

    assert [at(f"2026-01-01T00:00:0{second}") for second in range(6)] == [None, "1", "1", "2", "1", "1"]
    assert at("2025-12-31") is None


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    """Of records, evidence and HEAD, each byte by three other values, one of them no text."""
    told = story(tmp_path)
    files = [one for one in (tmp_path / "promotions").rglob("*") if one.is_file()]
    assert len(files) == 6
    missed = []
    for path in files:
        data = path.read_bytes()
        step = 17 if path.suffix == ".json" else 1
        for at in range(0, len(data), step):
            for other in (data[at] ^ 1, 0x20, 0xFF):
                if other == data[at]:
                    continue
                path.write_bytes(data[:at] + bytes([other]) + data[at + 1 :])
                if not kinds(told):
                    missed.append((path.name, at, data[at], other))
        path.write_bytes(data)
    assert missed == []
    assert not kinds(told)


def test_an_added_and_a_cut_byte_are_found(tmp_path: Path) -> None:
    told = story(tmp_path)
    for path in [one for one in (tmp_path / "promotions").rglob("*") if one.is_file()]:
        data = path.read_bytes()
        for other in (data + b"\n", data[:-1], b""):
            path.write_bytes(other)
            assert kinds(told), path.name
        path.write_bytes(data)


def test_a_lost_record_and_lost_evidence_are_found(tmp_path: Path) -> None:
    told = story(tmp_path)
    for path in [*told.store.files(), *(tmp_path / "promotions" / "evidence").glob("*")]:
        data = path.read_bytes()
        path.unlink()
        assert kinds(told) & {"missing", "evidence"}, path.name
        path.write_bytes(data)
    (told.store.folder / "HEAD").unlink()
    assert "head" in kinds(told)


def test_a_record_that_was_rewritten_with_its_name_is_found_by_the_chain(tmp_path: Path) -> None:
    told = story(tmp_path)
    path = told.store.files()[1]
    said = json.loads(path.read_bytes()) | {"reason": "never looked"}
    path.unlink()
    fake = Record.model_validate(said)
    other = Records(tmp_path / "elsewhere" / "Modelfile", "bot", "prod")
    written = other.append(fake.model_copy(update={"prev": None}))
    written.path.rename(path.parent / written.path.name)
    assert "missing" in kinds(told)


def test_forks_and_strays_are_told_apart(tmp_path: Path) -> None:
    told = story(tmp_path)
    first = history.read(told.store).chain[0]
    fork = first.record.model_copy(update={"reason": "another branch", "at": "2026-01-01T00:01:00Z"})
    other = Records(tmp_path / "elsewhere" / "Modelfile", "bot", "prod")
    written = other.append(fork)
    copied = told.store.folder / written.path.name
    copied.write_bytes(written.path.read_bytes())
    assert kinds(told) == {"fork"}
    copied.unlink()
    (told.store.folder / "20260101T000000Z-00000000.json").write_text("{}")
    assert kinds(told) == {"unreadable"}


def test_a_record_of_another_stage_or_time_is_found(tmp_path: Path) -> None:
    told = story(tmp_path)
    told.second = -1
    told.tell("promote", "3")
    assert kinds(told) == {"time"}
    told.store.folder.rename(told.store.folder.with_name("staging"))
    moved = history.read(Records(tmp_path / "Modelfile", "bot", "staging"))
    assert {one.kind for one in verify(moved).problems} == {"time", "place"}


def test_a_head_that_was_set_back_is_found_by_an_id_that_was_noted(tmp_path: Path) -> None:
    told = story(tmp_path)
    last = history.read(told.store).chain[-1]
    last.path.unlink()
    before = history.read(told.store)
    assert before.head == last.id
    (told.store.folder / "HEAD").write_text(f"{last.record.prev} {subject('2').ir}\n")
    assert not kinds(told)  # the chain alone cannot know
    assert kinds(told, expected=last.id) == {"expected"}
    assert kinds(told, expected=last.id[7:15]) == {"expected"}


def test_two_writers_at_once_are_not_both_right(tmp_path: Path) -> None:
    told = story(tmp_path)
    behind = history.read(told.store).chain[1]
    with pytest.raises(Failure) as caught:
        told.store.append(behind.record.model_copy(update={"at": "2026-02-01T00:00:00Z"}))
    assert (caught.value.code, caught.value.exit_code) == ("record-conflict", 1)
    assert not kinds(told)


def test_a_killed_writer_is_finished_by_the_next(tmp_path: Path) -> None:
    told = story(tmp_path)
    head = (told.store.folder / "HEAD").read_bytes()
    written = told.tell("promote", "3")
    (told.store.folder / "HEAD").write_bytes(head)  # as if it was killed between the two renames
    assert "stray" in kinds(told)
    assert told.store.settle() == written.id
    assert not kinds(told)
    assert told.store.settle() is None


def test_nothing_is_told_after_a_record_that_is_lost(tmp_path: Path) -> None:
    told = story(tmp_path)
    history.read(told.store).chain[-1].path.unlink()
    with pytest.raises(Failure) as caught:
        told.tell("promote", "3")
    assert (caught.value.code, caught.value.exit_code) == ("record-missing", 1)
    with pytest.raises(Failure) as caught:
        hold.presume_free(history.read(told.store), subject("9"), "2026-06-01T00:00:00Z")
    assert caught.value.code == "history-broken"


def test_a_fork_is_not_settled_by_us(tmp_path: Path) -> None:
    told = story(tmp_path)
    head = (told.store.folder / "HEAD").read_bytes()
    told.tell("promote", "3")
    (told.store.folder / "HEAD").write_bytes(head)
    told.tell("promote", "4")
    (told.store.folder / "HEAD").write_bytes(head)
    assert told.store.settle() is None
    assert (told.store.folder / "HEAD").read_bytes() == head


def test_records_are_named_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    told = history.read(story(tmp_path).store)
    for entry in told.chain:
        assert told.named(entry.id) == told.named(entry.id[7:15]) == entry
    for word in ("", "zz", "sha256:"):
        with pytest.raises(Failure):
            told.named(word)


@pytest.mark.parametrize(("text", "end", "wanted"), [
    ("2026-10-01", False, "2026-10-01T00:00:00Z"), ("2026-10-01", True, "2026-10-02T00:00:00Z"),
    ("2026-10-01T12:30", True, "2026-10-01T12:30:00Z"), ("2026-10-01T12:30+02:00", False, "2026-10-01T10:30:00Z"),
    ("2026-10-01T12:30:01Z", False, "2026-10-01T12:30:01Z")])
def test_dates(text: str, end: bool, wanted: str) -> None:
    assert history.instant(text, end=end) == wanted


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "9999-12-31", "0001-01-01T00:00+12:00", "01.10.2026"])
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(Failure, match="is no date"):
        history.instant(text, end=True)


def test_an_override_is_seen_until_it_ends(tmp_path: Path) -> None:
    told = Story(tmp_path)
    told.tell("promote", "1", overrides=[{"gate": "slo", "reason": "r", "actor": "a",
                                          "expires": "2026-06-01T00:00:00Z"}])
    found = history.read(told.store)
    assert [one.gate for one in found.overrides("2026-05-31T23:59:59Z")] == ["slo"]
    assert list(found.overrides("2026-06-01T00:00:00Z")) == []


def test_older_records_keep_their_bytes(tmp_path: Path) -> None:
    """What newer fields say is left out where there is nothing to say, so that old ids stay."""
    told = Story(tmp_path)
    written = told.tell("promote", "1")
    assert not {"reason", "about", "until"} & json.loads(written.path.read_bytes()).keys()
