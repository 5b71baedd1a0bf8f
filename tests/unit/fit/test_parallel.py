"""Ways to deal a model to several GPUs: which can be had, which are refused and why, and which is best."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelkit.models.anatomy import Anatomy, Layer, Weight
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.parallel import Layout, layouts
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.vllm import budget
from modelkit.planning.fit.vllm_sharing import refusal, warning
from modelkit.planning.fit.vllm_weights import Tally, tally
from tests.unit.fit.made import GiB, gpus, llama

ASKED = Serving("vllm", 8192, 64, "auto")


def of(model: Anatomy) -> Tally:
    return tally(model, "bfloat16")


def by_shape(found: list[Layout]) -> dict[tuple[int, int, int], Layout]:
    return {(one.tensor_parallel, one.pipeline_parallel, one.data_parallel): one for one in found}


def scaled(name: str, shape: tuple[int, int]) -> Anatomy:
    """Quantized in groups of 128, 11,008 wide between its layers."""
    scales = Weight(f"model.layers.0.mlp.down_proj.{name}", "mlp", 0, shape, "F16", 2 * shape[0] * shape[1])
    whole = llama(feed_forward=11008, quantization="awq")
    return replace(whole, weights=(*whole.weights, scales))


REFUSED = {
    "heads": (llama(heads=40, kv_heads=40), 3, 1, "40 attention heads do not divide by 3"),
    "heads of keys": (llama(heads=48, kv_heads=6), 4, 1,
                      "6 heads of keys and values neither divide by 4 nor divide it"),
    "words": (llama(heads=36, kv_heads=36, words=50257), 9, 1,
              "the vocabulary of 50,304 (padded) does not divide by 9"),
    "feed-forward": (llama(heads=32, feed_forward=11000), 16, 1, "feed-forward layers 11,000 wide do not divide by 16"),
    "groups": (scaled("scales", (86, 4096)), 4, 1,
               "down_proj has a scale for each of 86 groups of columns (awq), which do not divide by 4"),
    "blocks": (scaled("weight_scale_inv", (32, 86)), 4, 1,
               "down_proj has a scale for each of 86 groups of columns (awq), which do not divide by 4"),
    "layers": (llama(layers=2), 1, 4, "2 layers are too few for 4 groups of GPUs"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_divide_is_refused_with_its_reason(name: str) -> None:
    model, tensor, pipeline, reason = REFUSED[name]
    assert refusal(of(model), tensor, pipeline) == reason
    asked = replace(ASKED, tensor_parallel=tensor, pipeline_parallel=min(pipeline, 4))
    assert f"vLLM refuses to share it so: {reason}" in budget(model, asked, gpus(16)).notes
    assert refusal(of(model), 1, 1) == ""


@pytest.mark.parametrize("tensor", [1, 2, 4, 8, 16, 32])
def test_llama_divides_by_powers_of_two(tensor: int) -> None:
    """Past 8 GPUs keys and values are copied; 14336 columns are 112 groups of 128, or one of all."""
    assert refusal(of(llama()), tensor, 1) == ""
    assert (refusal(of(scaled("scales", (112, 4096))), 2 * tensor, 1) == "") == (tensor <= 8)
    assert refusal(of(scaled("weight_scale", (4096, 1))), tensor, 1) == ""


def test_a_latents_heads_are_no_hindrance() -> None:
    latent = replace(llama(heads=128), layers=(Layer("mla", 128, 1, 576, 0),) * 32)
    assert refusal(of(latent), 8, 1) == ""
    linked = gpus(8, link="nvlink").devices[0]
    assert "the latent of attention is kept on each of 8 GPUs" in warning(latent, linked, 8, 1)


def test_what_pcie_costs_is_said() -> None:
    slow, fast = gpus(2).devices[0], gpus(2, link="nvlink").devices[0]
    assert "over PCIe two sums a layer wait" in warning(llama(), slow, 2, 1)
    assert warning(llama(), fast, 2, 1) == "" == warning(llama(), slow, 1, 1)
    assert "served no faster" in warning(llama(), slow, 1, 2)
    assert "2 heads of keys and values are kept more than once" in warning(llama(kv_heads=2), fast, 4, 1)


def test_small_models_are_copied_and_not_cut() -> None:
    """8B in 16 bits fits one card of 24 GB: over PCIe a copy on each is what is best."""
    best = layouts(llama(), ASKED, gpus(4))[0]
    assert (best.tensor_parallel, best.pipeline_parallel, best.data_parallel) == (1, 1, 4)
    assert best.words == "SERVE replicas 4" and best.conversations == pytest.approx(4 * best.pool.concurrency)  # type: ignore[union-attr]


def test_a_model_that_no_card_holds_is_cut() -> None:
    """70B in 16 bits wants both halves of 2 x 94 GiB; alone on one it does not fit."""
    large = llama(layers=80, width=8192, feed_forward=28672, heads=64)
    pair = gpus(2, 93.1, "H100 NVL", 90, "nvlink")
    found = by_shape(layouts(large, ASKED, pair))
    assert found[1, 1, 1].fits is False and found[1, 1, 2].fits is False
    assert found[2, 1, 1].fits and found[2, 1, 1].warning == ""
    assert layouts(large, ASKED, pair)[0] == found[2, 1, 1]
    assert found[2, 1, 1].words == "SERVE tensor_parallel 2"


def test_refused_ways_are_last_and_none_is_left_out() -> None:
    found = layouts(llama(), ASKED, gpus(6, 44.5, "L40S"))
    shapes = [(one.tensor_parallel, one.pipeline_parallel, one.data_parallel) for one in found]
    assert len(shapes) == len(set(shapes)) and all(one.gpus <= 6 for one in found)
    assert {(3, 1, 1), (6, 1, 1), (2, 3, 1), (1, 6, 1)} <= set(shapes)
    refused = [bool(one.refused) for one in found]
    assert refused == sorted(refused) and refused[-1]
    assert all(one.pool is None and one.verdict.startswith("no: ") for one in found if one.refused)
    assert found[0].verdict == "yes"


def test_without_gpus_there_is_nothing_to_choose() -> None:
    assert layouts(llama(), ASKED, Hardware("cpu", ram=64 * GiB)) == []
    assert layouts(llama(), replace(ASKED, on_cpu=True), gpus(2)) == []


def test_every_stage_counts() -> None:
    """The stage with most layers has fewest blocks, and all have as many as it."""
    odd: Anatomy = llama(layers=33)
    whole = by_shape(layouts(odd, ASKED, gpus(4, 44.5, "L40S")))[1, 4, 1]
    even = by_shape(layouts(llama(layers=32), ASKED, gpus(4, 44.5, "L40S")))[1, 4, 1]
    assert whole.pool is not None and even.pool is not None and whole.pool.blocks < even.pool.blocks


def test_copies_of_a_model_of_experts_are_not_independent() -> None:
    """They share the experts, which `SERVE replicas` would have each copy hold: vLLM's own flag says it."""
    expert = Weight("model.layers.0.mlp.experts.0.up_proj.weight", "experts", 0, (2048, 4096), "BF16", 2048 * 8192)
    whole = llama()
    of_experts = of(replace(whole, experts=64, experts_used=8, weights=(*whole.weights, expert)))
    assert refusal(of_experts, 2, 1, 4) == ""
    assert refusal(of_experts, 2, 1, 3) == "experts 2,048 wide do not divide by 6"
    dealt = Layout(1, 1, 8, experts=True)
    assert dealt.words == "FLAG --data-parallel-size 8" and Layout(2, 1, 2).words == (
        "SERVE tensor_parallel 2, SERVE replicas 2")


@pytest.mark.parametrize(("name", "shape", "expected"), [
    ("experts.0.w2.weight", (4096, 14336), 14336), ("experts.0.w1.weight", (14336, 4096), 14336),
    ("experts.gate_up_proj", (8, 28672, 4096), 14336), ("experts.down_proj", (8, 4096, 14336), 14336),
    ("experts.0.w2.weight_packed", (4096, 1792), 0), ("experts.0.w1.weight_packed", (14336, 512), 0),
    ("experts.0.bias", (14336,), 0)])
def test_an_experts_width_is_what_is_not_the_streams(name: str, shape: tuple[int, ...], expected: int) -> None:
    weight = Weight(f"model.layers.0.{name}", "experts", 0, shape,
                    "I32" if "packed" in name else "BF16", 1)
    assert of(replace(llama(), weights=(weight,))).expert_width == expected
