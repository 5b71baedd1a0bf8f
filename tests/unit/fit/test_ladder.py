"""The choice: which precisions there are, which one is taken, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from modelkit.planning.fit.budget import Budget, Line
from modelkit.planning.fit.interval import Interval
from modelkit.planning.fit.ladder import LADDER, Candidate, Form, Wish, below, candidates, climb, considered, taken
from modelkit.planning.fit.report import Rung
from modelkit.planning.fit.serving import Serving

SERVED = Serving("llama.cpp", 4096, 4, "f16")
GIB = 1 << 30
SIZES = {"bfloat16": 16, "BF16": 16, "Q8_0": 8.5, "Q6_K": 6.6, "Q5_K_M": 5.7, "Q5_K_S": 5.5, "Q5_1": 6, "Q5_0": 5.5,
         "Q4_K_M": 4.9, "Q4_K_S": 4.6, "Q4_1": 5, "Q4_0": 4.5, "Q3_K_L": 4.3, "Q3_K_M": 3.9, "Q3_K_S": 3.5, "Q2_K": 3,
         "IQ4_NL": 4.55, "IQ4_XS": 4.35, "fp8": 8, "int8": 8.1, "w4a16": 4.3}


@dataclass(frozen=True)
class Fast:
    decode_full: Interval


def any_of(word: str) -> None:
    """Everything can be served."""


def weigh(capacity: float | None, tokens: float | None = None) -> object:
    """A model of 8 G parameters where there are `capacity` GiB; at 16 bits it makes `tokens` a second."""
    def made(one: Candidate) -> Rung:
        bits = SIZES.get(one.precision, 2.0)
        size = int(bits * GIB)
        lines = (Line("weights", "gpu0", size, "all tensors"), Line("attention cache", "gpu0", GIB, "cells"))
        rate = (tokens or 0) * 16 / bits
        speed = Fast(Interval(0.8 * rate, rate, 1.2 * rate)) if tokens else None
        budget = Budget(lines, {} if capacity is None else {"gpu0": int(capacity * GIB)})
        return Rung(one.precision, "unknown", "", SERVED, size, GIB, budget, speed, own=one.own)

    return made


def ladder(own: str = "bfloat16", wish: Wish | None = None, *, form: Form = "gguf", capacity: float | None = 24,
           tokens: float | None = None) -> dict[str, Rung]:
    asked = wish or Wish()
    rungs = climb(candidates(form, own, asked, any_of), weigh(capacity, tokens), asked, form)  # type: ignore[arg-type]
    return {one.precision: one for one in rungs}


@pytest.mark.parametrize(("capacity", "wish", "chosen"), [
    (24, Wish(), "bfloat16"), (16, Wish(), "Q8_0"), (9, Wish(), "Q6_K"), (6.8, Wish(), "Q5_K_M"), (6, Wish(), "Q4_K_M"),
    (5.3, Wish("Q4_0"), None), (5.7, Wish("Q4_0"), "Q4_K_S"), (5, Wish(), "Q3_K_M"), (2, Wish(), None),
    (5.7, Wish("Q4_K_M"), None),
])
def test_the_best_that_fits_is_taken(capacity: float, wish: Wish, chosen: str | None) -> None:
    found = taken(ladder(wish=wish, capacity=capacity).values())
    assert (found.precision if found else None) == chosen


@pytest.mark.parametrize(("speed", "chosen"), [
    (10, "bfloat16"), (15, "Q8_0"), (30, "Q5_K_S"), (31, "Q4_K_M"), (400, None)])
def test_speed_is_a_second_limit(speed: float, chosen: str | None) -> None:
    found = ladder(wish=Wish(tokens_per_second=speed), tokens=10.4)
    best = taken(found.values())
    assert (best.precision if best else None) == chosen
    if chosen != "bfloat16":
        assert found["bfloat16"].verdict == "too-slow"
        assert "10 (8.3 to 12) tok/s behind 4096 tokens" in found["bfloat16"].reason


def test_what_is_likely_too_slow_is_told_from_what_is() -> None:
    found = ladder(wish=Wish(tokens_per_second=11), tokens=10.4)
    assert found["bfloat16"].reason.startswith("probably too slow")
    assert ladder(wish=Wish(tokens_per_second=13), tokens=10.4)["bfloat16"].reason.startswith("too slow")


def test_a_speed_that_nobody_knows_is_not_promised() -> None:
    found = ladder(wish=Wish(tokens_per_second=11))
    assert taken(found.values()) is None
    assert found["Q8_0"].verdict == "unknown"


def test_memory_that_nobody_knows_is_not_promised() -> None:
    assert {one.verdict for one in considered(ladder(capacity=None).values())} == {"unknown"}


def test_a_quantized_base_is_only_made_coarser() -> None:
    found = ladder("Q4_K_M", capacity=4.8)
    assert next(iter(found)) == "Q4_K_M" and found["Q4_K_M"].own
    assert not {"Q8_0", "Q6_K", "Q5_K_M", "BF16"} & found.keys()
    assert found["Q3_K_L"].verdict == "too-large" and found["Q3_K_M"].verdict == "too-large"
    assert found["Q3_K_S"].verdict == "taken"


def test_a_floor_above_the_base_leaves_nothing() -> None:
    found = ladder("Q4_K_M", Wish("Q8_0"))
    assert not [*considered(found.values())]
    assert found["Q4_K_M"].reason == "coarser than Q8_0"


def test_a_precision_that_saves_nothing_is_not_taken() -> None:
    found = ladder(capacity=6.9)
    assert found["Q5_K_M"].verdict == "taken"
    assert found["Q5_1"].verdict == "refused" and found["Q5_1"].reason == "no smaller than Q5_K_M, which is better"


def test_without_a_matrix_nothing_is_taken_that_needs_one_or_was_measured_with_one() -> None:
    bare, given = ladder(), ladder(wish=Wish(imatrix=True))
    assert bare["IQ4_XS"].verdict == bare["IQ2_M"].verdict == "refused"
    assert "measured with an importance matrix" in bare["IQ4_XS"].reason
    assert "with an importance matrix only" in bare["IQ2_M"].reason
    assert given["IQ4_XS"].verdict == "fits"


def test_vllm_gets_a_gguf_written_out_and_may_have_it_smaller() -> None:
    found = ladder("Q4_K_M", form="safetensors", capacity=9.5)
    assert list(found) == ["Q4_K_M", *LADDER["safetensors"]]
    assert list(ladder("awq", form="safetensors")) == ["awq"]
    packed = ladder("compressed-tensors", form="safetensors", capacity=9.5)
    assert packed["fp8"].reason == "the base is compressed-tensors already"


def test_a_floor_of_the_other_family_counts_by_its_bits() -> None:
    assert below("w4a16", "Q4_K_M", "safetensors") == "4.2 bits a weight, and Q4_K_M has 4.85"
    assert below("fp8", "Q4_K_M", "safetensors") is None
    assert below("bfloat16", "Q8_0", "gguf") is None


@pytest.mark.parametrize(("wish", "text"), [
    (Wish(), "auto"), (Wish("Q4_K_M"), "auto >= Q4_K_M"), (Wish(None, 7.5), "auto speed >= 7.5 tok/s"),
    (Wish("fp8", 30), "auto >= fp8 speed >= 30 tok/s")])
def test_a_wish_is_spelled_as_it_was_written(wish: Wish, text: str) -> None:
    assert str(wish) == text


def test_what_hardware_cannot_serve_is_refused_in_its_words() -> None:
    there = candidates("safetensors", "bfloat16", Wish(), lambda word: "not on this GPU" if word == "fp8" else None)
    found = climb(there, weigh(9.2), Wish(), "safetensors")  # type: ignore[arg-type]
    verdicts = {one.precision: (one.verdict, one.reason) for one in found}
    assert verdicts["fp8"] == ("refused", "not on this GPU")
    assert verdicts["int8"][0] == "taken"
