"""The table of differences is true: of the run that is written down, and of this one."""

from __future__ import annotations

import pytest

from tests.conformance import parity
from tests.conformance.conftest import RECORDED
from tests.conformance.differences import DECLARED
from tests.conformance.observation import Fact, Observations
from tests.conformance.parity import ENGINES, PAGE, Record, judge, page


@pytest.mark.live_vllm
def test_this_run_differs_only_where_it_is_declared(request: pytest.FixtureRequest) -> None:
    """Runs after all others, on what they saw; a declared difference that is no more is no longer to be declared."""
    verdict = judge(request.config.stash[RECORDED])
    assert not verdict.undeclared, "\n".join(map(str, verdict.undeclared))
    assert not verdict.vanished, ", ".join(one.id for one in verdict.vanished)


def test_the_page_is_what_the_record_gives() -> None:
    record = Record.loads(parity.RECORD.read_text("utf-8"))
    assert PAGE.read_text("utf-8") == page(record), "python -m tests.conformance.parity"
    assert record.dumps() == parity.RECORD.read_text("utf-8")


def test_the_record_differs_only_where_it_is_declared() -> None:
    verdict = judge(Record.loads(parity.RECORD.read_text("utf-8")))
    assert (verdict.undeclared, verdict.vanished) == ((), ())


def test_differences_have_one_name_each_and_a_reason() -> None:
    assert len({one.id for one in DECLARED}) == len(DECLARED)
    assert all(one.what.endswith(".") and one.why.endswith(".") for one in DECLARED)


def seen(*facts: Fact) -> Observations:
    return Observations(set(facts))


SAME, OTHER = Fact("chat", "200 length", ("choices", "id")), Fact("chat", "400 invalid_value n")


def test_what_two_engines_show_alike_is_no_difference() -> None:
    record = Record()
    for engine in ENGINES:
        record.add("test_x::test_y[1]", engine, seen(SAME))
    assert record.differences() == []
    assert Record.loads(record.dumps()).cases == record.cases


def test_a_difference_is_found_fact_by_fact_and_fails_until_it_has_a_name() -> None:
    record = Record()
    for engine, facts in zip(ENGINES, ((SAME,), (SAME, OTHER), (Fact("chat", "200 length", ("choices",)),)),
                             strict=True):
        record.add("test_x::test_y", engine, seen(*facts))
    found = {(one.said, one.by) for one in record.differences()}
    assert found == {("chat: 400 invalid_value n", ("llama-server",)),
                     ("chat: field id", ("llama.cpp", "llama-server"))}
    assert len(judge(record).undeclared) == 2
    assert Record.loads(record.dumps()).cases == record.cases


def test_a_declared_difference_that_is_not_seen_has_vanished() -> None:
    if not DECLARED:
        return
    record = Record()
    for engine in ENGINES:
        record.add("test_x::test_y", engine, seen(SAME))
    everywhere = [one for one in DECLARED if one.about("test_x::test_y")]
    assert list(judge(record).vanished) == everywhere


def test_requests_and_texts_of_the_model_are_no_facts() -> None:
    one, other = Observations(), Observations()
    for observations, text in ((one, "Paris"), (other, "Rome")):
        observations.whole("/v1/chat/completions", {}, 200, {"choices": [{"message": {"content": text},
                                                                          "finish_reason": "stop"}]})
    assert one.facts == other.facts
