"""What would help: each change alone, the least of its kind that is enough, the cheapest first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelkit.planning.fit.budget import Budget, Line
from modelkit.planning.fit.report import Rung
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.ways_out import in_words, tightest, ways_out, with_setting
from modelkit.planning.plan import Origin, Plan, Setting, Shape

MIB = 1 << 20


def plan(engine: str = "llama.cpp", **settings: Any) -> Plan:
    said = tuple(Setting(name=name.replace("__", "."), value=value, origin=Origin(kind="modelfile"))
                 for name, value in settings.items())
    return Plan(name="bot", modelfile="Modelfile", stage="dev", platform="process", engine=None, engine_name=engine,
                reference="model", weights=None, context_length=int(settings.get("num_ctx", 8192)),
                max_concurrency=int(settings.get("serve__max_concurrency", 4)), profile={"task": "chat"},
                settings=said, shape=Shape(layers=32, attention_heads=32, kv_heads=8))


def weigh(capacity: int, place: str = "ram") -> Any:
    """1000 MiB of weights; a cell takes 16 KiB in f16, 9 in q8_0, 5 in q4_0; layers on the GPU are a 32nd each."""
    def made(asked: Plan) -> Rung:
        cache = asked.setting("serve.kv_cache")
        cell = {"q8_0": 9, "fp8": 8, "q4_0": 5}.get(str(cache.value) if cache else "", 16) << 10
        layers, gpus = asked.setting("num_gpu"), asked.setting("serve.tensor_parallel")
        share = (int(layers.value) / 32 if layers else 1) / (int(gpus.value) if gpus else 1)
        kv = cell * asked.context_length * asked.max_concurrency
        lines = (Line("weights", place, int(1000 * MIB * share), "w"),
                 Line("attention cache", place, int(kv * share), "c"))
        serving = Serving(asked.engine_name, asked.context_length, asked.max_concurrency, "f16")
        return Rung("Q8_0", "unknown", "", serving, 1000 * MIB, kv, Budget(lines, {place: capacity * MIB}))

    return made


def written(found: Any) -> list[tuple[str, bool | None]]:
    return [(way.write, way.fits) for way, _ in found]


@pytest.mark.parametrize(("capacity", "expected"), [
    (1400, [("SERVE kv_cache q8_0", True), ("SERVE max_concurrency 3", True), ("PARAMETER num_ctx 6400", True)]),
    (1250, [("SERVE max_concurrency 1", True), ("PARAMETER num_ctx 3840", True), ("SERVE kv_cache q4_0", True)]),
    (1100, [("PARAMETER num_ctx 1536", True), ("SERVE max_concurrency 1", False), ("SERVE kv_cache q4_0", False)]),
])
def test_the_three_cheapest(capacity: int, expected: list[tuple[str, bool]]) -> None:
    asked = plan()
    weighed = weigh(capacity)
    assert written(ways_out(asked, weighed(asked), weighed)) == expected


def test_what_is_promised_is_what_the_same_words_give() -> None:
    asked = plan()
    weighed = weigh(1200)
    for way, then in ways_out(asked, weighed(asked), weighed, most=9):
        assert weighed(then).fits == way.fits
        assert way.buys == weighed(asked).budget.total("ram") - weighed(then).budget.total("ram") > 0


def test_a_coarser_precision_is_named_with_what_it_costs() -> None:
    asked = plan()
    weighed = weigh(1400)
    now = weighed(asked)
    coarser = replace(now, precision="Q4_K_M", budget=Budget(now.budget.lines[1:], now.budget.capacity),
                      quality="+0.18 perplexity")
    found = {way.write: way for way, _ in ways_out(asked, now, weighed, coarser, most=9)}
    assert found["QUANTIZE Q4_K_M"].costs == "+0.18 perplexity" and found["QUANTIZE Q4_K_M"].fits


def test_a_gpu_that_lacks_gives_layers_to_ram() -> None:
    asked = plan()
    weighed = weigh(1200, "gpu0")
    found = {way.write: way for way, _ in ways_out(asked, weighed(asked), weighed, most=9)}
    assert found["PARAMETER num_gpu 25"].fits
    assert "7 of 32 layers" in found["PARAMETER num_gpu 25"].costs


def test_vllm_may_take_more_gpus_that_share_the_heads() -> None:
    asked = plan("vllm", serve__max_concurrency=1)
    weighed = weigh(400, "gpu0")
    found = written(ways_out(asked, weighed(asked), weighed, most=9))
    assert ("SERVE tensor_parallel 4", True) in found and ("SERVE tensor_parallel 8", True) in found
    assert not any("kv_cache q" in write or "num_gpu" in write for write, _ in found)


def test_a_cache_that_is_small_already_is_not_offered_again() -> None:
    asked = plan(serve__kv_cache="q4_0", serve__max_concurrency=1, num_ctx=512)
    weighed = weigh(900)
    assert ways_out(asked, weighed(asked), weighed) == ()


def test_words() -> None:
    asked = plan()
    weighed = weigh(1400)
    now = weighed(asked)
    (way, _), *_ = ways_out(asked, now, weighed)
    assert in_words(way, tightest(now)) == \
        "SERVE kv_cache q8_0: 224.0 MiB less of memory: keys and values in 8.5 bits"


def test_a_setting_is_put_in_the_place_of_what_was_said() -> None:
    then = with_setting(plan(num_ctx=8192), "num_ctx", 1024)
    assert then.context_length == 1024
    assert [one.value for one in then.settings if one.name == "num_ctx"] == [1024]
