"""How vLLM divides memory: sums that can be done by hand, and what published starts on real GPUs said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelkit.models.anatomy import Anatomy, Layer, Weight
from modelkit.planning.fit.budget import Line
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.vllm import budget, context_advice, pool, pool_between
from modelkit.planning.fit.vllm_cache import cache
from modelkit.planning.fit.vllm_overhead import activation, batched_tokens, capture_sizes, graphs, in_flight, outside
from modelkit.planning.fit.vllm_weights import stages, tally, weight_bytes
from tests.unit.fit.made import GiB, gpus, llama, smollm2

DEFAULT = Serving("vllm", 8192, 256, "auto")


def lines(anatomy: Anatomy, serving: Serving, hardware: Hardware, place: str = "gpu0") -> dict[str, Line]:
    return {line.name: line for line in budget(anatomy, serving, hardware).lines if line.place == place}


@pytest.mark.parametrize(("tensor", "published"), [(1, 14.96), (2, 7.48)])
def test_weights_of_llama_3_8b_are_those_that_vllm_says(tensor: int, published: float) -> None:
    """`model weights take 14.96GiB`, and 7.48 on each of two (vllm-project/vllm#10511)."""
    found = weight_bytes(llama(), replace(DEFAULT, tensor_parallel=tensor))
    assert found / GiB == pytest.approx(published, abs=0.005)


def test_a_gguf_is_written_out_in_16_bits() -> None:
    """vLLM does not load GGUF: the same numbers take what they take in bfloat16, or float32 on old processors."""
    of_file = replace(llama(bits=4.5, type_="Q4_0"), form="gguf")
    assert weight_bytes(of_file, DEFAULT) == weight_bytes(llama(), DEFAULT)
    assert weight_bytes(of_file, replace(DEFAULT, dtype="float32")) == 2 * weight_bytes(llama(), DEFAULT)


def test_quantized_weights_stay_as_they_are_stored() -> None:
    fp8 = llama(bits=8, type_="F8_E4M3", quantization="fp8")
    assert weight_bytes(fp8, replace(DEFAULT, dtype="float32")) - weight_bytes(fp8, DEFAULT) == 2 * (
        2 * 128256 * 4096 + 65 * 4096)  # embeddings and norms alone
    assert weight_bytes(fp8, DEFAULT) / GiB == pytest.approx(8.46, abs=0.01)  # research/fit.md 7.3
    awq = llama(bits=4.156, type_="I32", quantization="awq")
    assert weight_bytes(awq, DEFAULT) / GiB == pytest.approx(5.33, abs=0.01)


def test_a_tied_models_copy_of_its_embedding_is_not_loaded() -> None:
    tied = replace(llama(), tied=True)
    assert weight_bytes(llama(), DEFAULT) - weight_bytes(tied, DEFAULT) == 128256 * 4096 * 2


def test_the_vocabulary_is_padded_before_it_is_divided() -> None:
    odd = llama(layers=1, width=64, feed_forward=64, heads=8, kv_heads=8, head=8, words=50257)
    padded = llama(layers=1, width=64, feed_forward=64, heads=8, kv_heads=8, head=8, words=50304)
    for tensor in (1, 2, 8):
        asked = replace(DEFAULT, tensor_parallel=tensor)
        assert abs(weight_bytes(odd, asked) - weight_bytes(padded, asked)) <= 1


def test_a_vocabulary_that_nobody_knows_is_not_padded() -> None:
    unknown = replace(llama(), vocabulary=0)
    assert weight_bytes(unknown, DEFAULT) == weight_bytes(llama(), DEFAULT)


def test_keys_and_values_are_copied_where_there_are_too_few_heads() -> None:
    """8 GPUs and 2 heads: half of each projection on each, an eighth of the rest."""
    whole = llama(layers=1, heads=32, kv_heads=2)
    rest = sum(one.size for one in whole.weights if one.layer == 0 and len(one.shape) == 2) - 2 * 2 * 128 * 4096 * 2
    outer = 2 * 128256 * 4096 * 2 / 8 + 3 * 4096 * 2
    assert weight_bytes(whole, replace(DEFAULT, tensor_parallel=8)) == rest / 8 + 2 * 256 * 4096 + outer


def test_experts_are_dealt_over_all_gpus_but_not_the_latents_projections() -> None:
    def weight(name: str, role: str, shape: tuple[int, ...]) -> Weight:
        return Weight(f"model.layers.0.{name}.weight", role, 0, shape, "BF16", 2 * shape[0] * shape[1])  # type: ignore[arg-type]

    latent, router = weight("kv_a_proj_with_mqa", "attention", (576, 4096)), weight("gate", "router", (64, 64))
    experts, inner = weight("experts.0.up_proj", "experts", (2048, 4096)), weight("o_proj", "attention", (4096, 4096))
    made = Anatomy("deepseek_v3", "safetensors", "", (latent, router, experts, inner),
                   (Layer("mla", 128, 1, 576, 0),), 1000, 4096, 2048, 128, None, False)
    found = weight_bytes(made, replace(DEFAULT, tensor_parallel=4, data_parallel=2))
    assert found == latent.size + router.size + experts.size / 8 + inner.size / 4


@pytest.mark.parametrize(("layers", "parallel", "expected"), [
    (32, 4, [8, 8, 8, 8]), (33, 4, [8, 8, 9, 8]), (34, 4, [8, 9, 9, 8]), (35, 4, [9, 9, 9, 8]), (61, 2, [31, 30]),
    (3, 1, [3])])
def test_layers_are_dealt_to_stages_as_vllm_deals_them(layers: int, parallel: int, expected: list[int]) -> None:
    """`distributed/utils.get_pp_indices` of 0.32."""
    assert [len(one) for one in stages(layers, parallel)] == expected


WORKED = {  # weights: room in GiB, thousands of tokens, conversations of 8k and of 32k
    "bfloat16": (llama(), 5.13, 42.0, 5.1, 1.28),
    "fp8": (llama(bits=8, type_="F8_E4M3"), 11.63, 95.3, 11.6, 2.9),
    "awq": (llama(bits=4.156, type_="I32"), 14.75, 120.9, 14.8, 3.7),
}


@pytest.mark.parametrize("name", WORKED)
def test_a_24_gb_card_holds_as_many_conversations_as_worked_out(name: str) -> None:
    """Llama-3.1-8B, 0.92 of 23.52 GiB, 1.55 GiB taken for what is neither weights nor cache."""
    (model, room, tokens, short, long), card = WORKED[name], gpus()
    left = 0.92 * 23.52 - 1.55 - weight_bytes(model, DEFAULT) / GiB
    assert left == pytest.approx(room, abs=0.01)
    for context, conversations in ((8192, short), (32768, long)):
        for kv_type, more in (("auto", 1), ("fp8", 2)):
            asked = Serving("vllm", context, 256, kv_type)
            kept = cache(model, asked, 4096)
            blocks = kept.blocks(int(left * GiB))
            assert blocks * 16 / 1000 == pytest.approx(tokens * more, rel=0.01)
            assert blocks / kept.needs(context) == pytest.approx(conversations * more, rel=0.02)
            low, high = pool_between(model, asked, card)
            assert low.size < left * GiB < high.size, "the worked example lies in the printed band"


EXPERTS = Weight("model.layers.0.mlp.experts.gate_up_proj", "experts", 0, (128, 5760, 2880), "U8", 1)
GPT_OSS = Anatomy("gpt_oss", "safetensors", "mxfp4", (EXPERTS,), (
    Layer("sliding", 64, 8, 512, 512, 128), Layer("full", 64, 8, 512, 512)) * 18, 201088, 2880, 2880, 64, 131072, False,
    experts=128, experts_used=4)
LLAMA = llama()
PRO_4500 = gpus(8, 31.38, "RTX PRO 4500", 120)
TP8 = Serving("vllm", 131072, 256, "auto", tensor_parallel=8, gpu_memory=0.95)


def test_published_overheads_lie_in_the_band() -> None:
    """gpt-oss-120b on 8 RTX PRO 4500: 29.81 GiB asked for, 9.98 of weights, 19.0 left for the cache (vLLM 0.28,
    vllm-project/vllm#51590). Llama-3-8B on an H100: 1.26 GiB of activations (0.6, #10511). Graphs: 0.10 to 0.73 GiB
    (wtdcode/vllm-backport#34, gpustack/runner#251, noonghunna/club-3090#127, vllm-project/vllm#39559)."""
    def band(model: Anatomy, serving: Serving, hardware: Hardware) -> tuple[float, float]:
        device = hardware.devices[0]
        tokens = batched_tokens(model, serving, device)
        each = (activation(tally(model, "bfloat16"), serving, tokens), graphs(model, serving, tokens, device),
                outside(serving))
        return sum(one.low for one in each) / GiB, sum(one.high for one in each) / GiB

    low, high = band(GPT_OSS, TP8, PRO_4500)
    assert low < 29.81 - 9.98 - 19.0 < high
    assert band(LLAMA, replace(DEFAULT, concurrency=1024), gpus(1, 79.22, "H100", 90))[1] < 6
    prompt = activation(tally(LLAMA, "bfloat16"), DEFAULT, 8192)
    assert prompt.low < 1.26 * GiB < prompt.high
    made = graphs(LLAMA, DEFAULT, 2048, gpus().devices[0])
    assert made.low < 0.10 * GiB and 0.73 * GiB < made.high


def test_the_lines_of_a_gpu() -> None:
    found = lines(llama(), DEFAULT, gpus())
    assert list(found) == ["weights", "compute", "graphs", "engine", "attention cache", "reserve"]
    whole = budget(llama(), DEFAULT, gpus())
    assert whole.total("gpu0") == whole.capacity["gpu0"], "vLLM fills what it takes"
    assert whole.fits and whole.free("gpu0") == 0
    assert found["reserve"].size == pytest.approx(0.08 * 23.52 * GiB, rel=1e-6)
    for name in ("compute", "graphs", "engine", "attention cache"):
        low, high = found[name].between or (0, 0)
        assert low < found[name].size < high
    assert "not verified on a GPU" in whole.notes[0]


def test_one_conversation_that_has_no_room_is_what_is_missing() -> None:
    """Llama-3.1-8B in 16 bits at 128k on 24 GB: 16 GiB of cache and a block held back; 5.5 are there."""
    asked = Serving("vllm", 131072, 16, "auto")
    found = budget(llama(), asked, gpus())
    (needed,) = (line.size for line in found.lines if line.name == "attention cache")
    assert needed == (131072 // 16 + 1) * 16 * 131072
    assert found.fits is False and found.short == needed - lines(llama(), replace(asked, context_length=8192),
                                                                gpus())["attention cache"].size
    said = context_advice(llama(), asked, gpus())
    assert said is not None and "write `PARAMETER num_ctx 4" in said
    longest = pool(llama(), asked, gpus()).longest
    assert budget(llama(), replace(asked, context_length=longest), gpus()).fits
    assert budget(llama(), replace(asked, context_length=longest + 16), gpus()).fits is False
    assert context_advice(llama(), replace(asked, context_length=longest), gpus()) is None
    assert said in found.notes


def test_conversations_that_wait_are_said() -> None:
    assert any(note.startswith("5 of 256 conversations have room at once") for note in
               budget(llama(), DEFAULT, gpus()).notes)
    assert not any("at once" in note for note in budget(llama(), replace(DEFAULT, concurrency=4), gpus()).notes)
    assert "1 of 4 GPUs is used" in budget(llama(), DEFAULT, gpus(4)).notes


def test_weights_that_are_larger_than_the_gpu() -> None:
    small = gpus(1, 11.6, "RTX 3060", 86)
    found = budget(llama(), DEFAULT, small)
    assert found.fits is False and found.short > 4 * GiB
    assert pool(llama(), DEFAULT, small).blocks == 0
    assert context_advice(llama(), DEFAULT, small) == "the weights leave no room for any conversation"


def test_gpus_that_are_not_there_do_not_fit() -> None:
    found = budget(llama(), replace(DEFAULT, tensor_parallel=2), gpus())
    assert found.fits is False and found.capacity == {"gpu0": gpus().devices[0].memory, "gpu1": 0}
    assert "2 GPUs are asked for, and there are 1" in found.notes


def test_memory_in_use_by_others_is_said() -> None:
    busy = Hardware("busy", (replace(gpus().devices[0], free=20 * GiB),))
    assert any("vLLM will not start while" in note for note in budget(llama(), DEFAULT, busy).notes)


@pytest.mark.parametrize(("memory", "name", "expected"), [(24, "RTX 4090", 2048), (79.2, "H100", 8192),
                                                          (79.2, "NVIDIA A100-SXM4-80GB", 2048), (141, "H200", 8192),
                                                          (180, "B200", 16384)])
def test_a_steps_tokens_are_those_of_the_gpus_class(memory: float, name: str, expected: int) -> None:
    device = Device(name, "cuda", int(memory * GiB))
    assert batched_tokens(llama(), DEFAULT, device) == expected
    assert batched_tokens(llama(), replace(DEFAULT, batched_tokens=512), device) == 512
    assert in_flight(DEFAULT, expected, device) == 2 * expected, "the next step is begun before the last is done"


def test_steps_on_processors() -> None:
    assert batched_tokens(llama(), DEFAULT, None) == 2048 and in_flight(DEFAULT, 2048, None) == 2048
    assert batched_tokens(llama(), Serving("vllm", 512, 2, "auto"), None) == 1024, "no more than all conversations"


@pytest.mark.parametrize(("concurrency", "expected"), [(1, 2), (4, 4), (8, 5), (256, 51), (1024, 51)])
def test_graphs_are_captured_for_so_many_sizes(concurrency: int, expected: int) -> None:
    """`PIECEWISE=51` of the default 256 conversations (vllm-project/vllm#39559)."""
    assert capture_sizes(replace(DEFAULT, concurrency=concurrency), 2048, gpus().devices[0]) == expected
    assert graphs(llama(), replace(DEFAULT, eager=True), 2048, gpus().devices[0]).high == 0


def test_a_processor_has_the_cache_that_was_said() -> None:
    asked = Serving("vllm", 2048, 16, "auto", kv_cache_bytes=1 << 30, block_size=128, on_cpu=True)
    smol = smollm2()
    machine = Hardware("here", ram=8 * GiB)
    found = lines(smol, asked, machine, "ram")
    assert list(found) == ["weights", "compute", "engine", "attention cache"]
    assert found["attention cache"].size == 364 * 128 * 23040
    assert "22.75 conversations of 2,048 tokens" in found["attention cache"].how
    assert found["weights"].size / 2**20 == pytest.approx(256.6, abs=0.1)
    assert pool(smol, asked, machine).tokens == 46_592 and budget(smol, asked, machine).fits
    assert budget(smol, asked, Hardware("small", ram=2 * GiB)).fits is False
    assert budget(smol, asked, Hardware("unknown")).fits is None


def test_an_encoder_keeps_no_cache_and_reads_a_text_in_one_step() -> None:
    encoder = replace(llama(layers=12, width=768, feed_forward=3072, heads=12, kv_heads=12, head=64, words=30522),
                      layers=(Layer("none", 12),) * 12)
    asked = Serving("vllm", 8192, 8, "auto", task="embed")
    assert batched_tokens(encoder, asked, gpus().devices[0]) == 8192
    found = budget(encoder, asked, gpus())
    assert "attention cache" not in {line.name for line in found.lines} and found.fits
    assert (pool(encoder, asked, gpus()).concurrency, pool(encoder, asked, gpus()).longest) == (8, 8192)


def test_stages_of_a_pipeline_have_their_own_layers() -> None:
    asked = replace(DEFAULT, pipeline_parallel=2)
    first, second = (lines(llama(), asked, gpus(2), place)["weights"] for place in ("gpu0", "gpu1"))
    assert first.size + second.size == weight_bytes(llama(), DEFAULT)
    assert "layers 0 to 15" in first.how and "layers 16 to 31" in second.how
    assert pool(llama(), asked, gpus(2)).tokens > 2 * pool(llama(), DEFAULT, gpus(2)).tokens


def test_apples_gpus_are_not_vllms() -> None:
    mac = Hardware("m4-max", (Device("M4-Max", "metal", 48 * GiB, link="unified"),), ram=64 * GiB)
    found = budget(llama(), DEFAULT, mac)
    assert {line.place for line in found.lines} == {"ram"} and found.fits is None
    assert "does not compute on GPUs of Apple" in found.notes[0]
