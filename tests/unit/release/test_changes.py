"""Changes: which steps, in what order, why, and what they mean for clients."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.planning.meaning import meaning
from modelkit.planning.plan import Engine, Need, Origin, Plan, Setting, Weights
from modelkit.release.changes import (
    Changes,
    Drifted,
    Resource,
    Side,
    State,
    attributes,
    bring_up,
    bring_up_elsewhere,
    presume_fresh,
    take_down,
)

GGUF = Weights(reference="r", form="gguf", path="/m.gguf", digest="sha256:1", size=1)


def settings(**values: Any) -> tuple[Setting, ...]:
    return tuple(Setting(name=name.replace("__", "."), value=value, origin=Origin(kind="modelfile"))
                 for name, value in values.items())


def plan(*, engine: str = "0.3.36", stage: str = "dev", **fields: Any) -> Plan:
    base: dict[str, Any] = {
        "name": "tiny", "modelfile": "Modelfile", "stage": stage, "platform": "process", "engine_name": "llama.cpp",
        "engine": Engine(name="llama.cpp", provider="llama-cpp-python", version=engine, command=("python",)),
        "reference": "r", "weights": GGUF, "context_length": 512, "max_concurrency": 4, "profile": {"messages": []},
        "settings": settings(num_ctx=512, temperature=0.2)}
    return Plan(**{**base, **fields})


def side(one: Plan | None = None, bundle: str | None = "sha256:a", generation: int | None = None, replicas: int = 1,
         **fields: Any) -> Side:
    of = one or plan()
    return Side(State(stage=of.stage, model=of.name, engine=of.engine_name, ir=meaning(of), bundle=bundle,
                      replicas=replicas, generation=generation), of, **fields)


def steps(changes: Changes) -> list[str]:
    return [f"{one.op} {one.resource}" + (f" after {','.join(map(str, one.after))}" if one.after else "")
            for one in changes.ops]


def signs(changes: Changes) -> list[str]:
    return [f"{one.symbol} {one.name}" for one in changes.resources]


def test_what_runs_as_it_is_wanted_is_left_alone() -> None:
    found = bring_up(side(generation=3), side())
    assert found.empty and signs(found) == [] and found.changes == () and found.line == "Nothing to do."


def test_where_nothing_runs_an_engine_starts_and_gets_the_address() -> None:
    found = bring_up(None, side())
    assert steps(found) == ["start_engine engine:dev", "probe engine:dev after 1", "open_address address after 2"]
    assert signs(found) == ["+ engine:dev"] and found.line == "Plan: 1 to create."


def test_an_engine_is_replaced_side_by_side_and_the_cause_is_named() -> None:
    wanted = side(plan(settings=settings(num_ctx=256, temperature=0.9)), "sha256:b")
    found = bring_up(side(generation=3), wanted)
    assert steps(found) == ["start_engine engine:dev", "probe engine:dev after 1", "switch address after 2",
                            "drain engine:dev:3 after 3", "stop_engine engine:dev:3 after 4"]
    assert signs(found) == ["-/+ engine:dev:3"]
    assert found.resources[0].cause == "num_ctx, temperature are read when an engine starts"
    assert [(one.path, one.before, one.after, one.effect) for one in found.changes] == [
        ("num_ctx", 512, 256, "breaking"), ("temperature", 0.2, 0.9, "quality")]


def test_without_room_for_both_the_old_one_goes_first() -> None:
    found = bring_up(side(generation=3), side(bundle="sha256:b"), mode="swap")
    assert [one.op for one in found.ops] == ["drain", "stop_engine", "start_engine", "probe", "switch"]
    assert [one.after for one in found.ops] == [(), (1,), (2,), (3,), (4,)]
    assert "nothing answers between" in found.notes[0]


def test_what_had_the_address_can_be_kept_warm() -> None:
    found = bring_up(side(generation=3), side(bundle="sha256:b"), verb="promote", keep_warm=600)
    assert [one.op for one in found.ops][-3:] == ["drain", "keep_warm", "stop_engine"]
    assert found.ops[-2].cause == "a rollback within 600 s is a switch"


@pytest.mark.parametrize(("have", "want", "step"), [(1, 3, "add_engines"), (3, 1, "remove_engines"), (2, 2, None)])
def test_another_number_of_engines_starts_none_again(have: int, want: int, step: str | None) -> None:
    found = bring_up(side(generation=1, replicas=have), side(replicas=want))
    assert [one.op for one in found.ops] == ([step] if step else [])
    assert signs(found) == (["~ engine:dev:1"] if step else [])


@pytest.mark.parametrize("phase", ["failed", "backoff"])
def test_what_crashes_is_replaced(phase: str) -> None:
    found = bring_up(side(generation=1, phase=phase), side())
    assert signs(found) == ["-/+ engine:dev:1"] and found.resources[0].cause == f"what runs is {phase}"


def test_what_is_fetched_and_made_comes_first_and_the_lock_is_said() -> None:
    needs = (Need(code="download", message="fetch 2 GB", automatic=True),
             Need(code="convert", message="convert it", automatic=True))
    found = bring_up(None, side(plan(needs=needs), None), lock=Resource(name="lock", action="create", cause="none"))
    assert steps(found)[:4] == ["fetch weights:dev", "make weights:dev after 1", "write_lock lock",
                                "start_engine engine:dev after 2"]
    assert not found.complete and signs(found) == ["+ weights:dev", "+ lock", "+ engine:dev"]


def test_up_does_not_take_the_address_of_another_stage() -> None:
    found = bring_up(side(generation=1), side(plan(stage="prod"), "sha256:b"))
    assert found.empty and found.refused and "`modelkit promote dev prod`" in found.refused
    promoted = bring_up(side(generation=1), side(plan(stage="prod"), "sha256:b"), verb="promote")
    assert promoted.refused is None and promoted.resources[0].cause == "stage prod takes the place of dev"


def test_what_cannot_start_here_says_why() -> None:
    found = bring_up(None, side(bundle=None, refusal="vLLM is not installed"))
    assert found.refused == "vLLM is not installed" and not found.complete


def test_an_address_changes_only_after_down() -> None:
    found = bring_up(side(generation=1), side(plan(settings=settings(num_ctx=512, temperature=0.2, serve__port=9))))
    assert found.empty and [one.resource for one in found.changes] == ["address"]
    assert "serve.port counts after `modelkit down`" in found.notes[0]


def test_an_address_that_only_a_default_says_gives_way() -> None:
    runs = side(plan(settings=settings(num_ctx=512, temperature=0.2, serve__port=9)), generation=1)
    assert bring_up(runs, side()).changes == ()


def test_drift_is_apart_from_changes() -> None:
    drift = (Drifted(path="context_length", planned=512, found=256),)
    found = bring_up(side(generation=1, drift=drift), side())
    assert found.empty and found.line == "Plan: 1 drifted." and found.changes == ()


def test_down_drains_before_it_stops() -> None:
    found = take_down([side(generation=1), side(generation=2)], "http://h:1", model="tiny")
    assert steps(found) == ["drain engine:dev:1", "stop_engine engine:dev:1 after 1", "drain engine:dev:2",
                            "stop_engine engine:dev:2 after 3", "close_address address:http://h:1 after 2,4"]
    assert take_down([], None, model="tiny").empty


@pytest.mark.parametrize(("files", "applied", "ops"), [
    ((("create", "a.yaml"),), False, 3), ((("update", "a.yaml"), ("delete", "b.yaml")), True, 3), ((), True, 0),
    ((), False, 3)])
def test_elsewhere_files_change_and_a_client_applies_them(files: Any, applied: bool, ops: int) -> None:
    state = side().state
    found = bring_up_elsewhere(plan(), state if applied else None, state, files, applied=applied)
    assert len(found.ops) == ops and len(found.resources) == len(files)


@pytest.mark.parametrize(("fields", "path", "effect"), [
    ({"name": "other"}, "name", "breaking"),
    ({"engine": "0.4.0"}, "engine.version", "quality"),
    ({"weights": GGUF.model_copy(update={"digest": "sha256:2"})}, "weights.digest", "quality"),
    ({"image": "vllm@sha256:1"}, "image", "quality"),
    ({"template_digest": "sha256:1"}, "template.digest", "quality"),
    ({"flags": ("--x",)}, "flags", "quality"),
    ({"context_length": 256}, "context_length", "breaking"),
    ({"context_length": 1024}, "context_length", "capacity"),
    ({"max_concurrency": 8}, "max_concurrency", "capacity"),
    ({"settings": settings(num_ctx=1024, temperature=0.2)}, "num_ctx", "capacity"),
])
def test_everything_that_decides_what_is_served_is_an_attribute(fields: dict[str, Any], path: str, effect: str) -> None:
    (one,) = attributes(plan(), plan(**fields))
    assert (one.path, one.effect) == (path, effect) and one.reason


def test_weights_that_are_not_here_are_no_change() -> None:
    assert attributes(plan(), plan(weights=None)) == ()


def kept(changes: Changes) -> Changes:
    """As it comes back from a file."""
    return Changes.model_validate(json.loads(json.dumps(changes.as_json())))


def test_a_plan_survives_its_file_and_is_fresh() -> None:
    changes = bring_up(side(generation=1), side(plan(settings=settings(num_ctx=256)), "sha256:b"))
    assert kept(changes) == changes
    presume_fresh("p", kept(changes), plan(), changes, plan())


@pytest.mark.parametrize(("now", "base", "said"), [
    (side(plan(settings=settings(num_ctx=256, temperature=0.2)), "sha256:b"), None,
     "wanted: num_ctx was 512, and is 256"),
    (side(bundle="sha256:b"), None, "wanted: what exactly is started was sha256:a, and is sha256:b"),
    (side(replicas=2), None, "wanted: the number of engines was 1, and is 2"),
    (side(), side(generation=7), "running: nothing when it was planned, and tiny (dev) now"),
])
def test_a_stale_plan_names_what_moved(now: Side, base: Side | None, said: str) -> None:
    with pytest.raises(Failure, match="is stale") as raised:
        presume_fresh("p", kept(bring_up(None, side())), plan(), bring_up(base, now), now.plan)
    assert said in raised.value.message and raised.value.exit_code == 1


def test_a_supervisors_next_generation_makes_a_plan_stale() -> None:
    before, after = (bring_up(side(generation=number), side(bundle="sha256:b")) for number in (1, 2))
    with pytest.raises(Failure, match="the supervisor's number of it was 1, and is 2"):
        presume_fresh("p", before, plan(), after, plan())


def test_what_was_not_known_yet_is_no_reason_to_refuse() -> None:
    presume_fresh("p", bring_up(None, side(bundle=None)), plan(), bring_up(None, side()), plan())
