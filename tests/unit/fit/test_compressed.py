"""What compressors make for vLLM: against the headers of real ones, and published sizes; and a folder as GGUF."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.failure import Failure
from modelkit.models.anatomy import Anatomy, anatomy_of_folder
from modelkit.planning.fit.as_gguf import as_gguf
from modelkit.planning.fit.compressed import LAYOUTS, compressed
from modelkit.planning.fit.quantized import quantized
from tests.unit.fit.folders import CONFIG, anatomy_in, llama_tensors, plain_files
from tests.unit.models.anatomies import families, folder_of
from tests.unit.models.test_anatomy import both

SMOLLM2 = CONFIG | {"num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9,
                    "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True}
LLAMA_8B = CONFIG | {"num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 128256,
                     "num_attention_heads": 32, "num_key_value_heads": 8}
BF16, I32 = "BF16", "I32"
MADE = {  # of SmolLM2-135M by modelkit's compressor (llmcompressor 0.14.0.1): file size, tensors, those of two matrices
    "int8": (163_226_688, 482, {
        "mlp.down_proj.weight": ("I8", (576, 1536)), "mlp.down_proj.weight_scale": (BF16, (576, 1)),
        "self_attn.k_proj.weight": ("I8", (192, 576)), "self_attn.k_proj.weight_scale": (BF16, (192, 1))}),
    "fp8": (163_227_736, 482, {
        "mlp.down_proj.weight": ("F8_E4M3", (576, 1536)), "mlp.down_proj.weight_scale": (BF16, (576, 1)),
        "self_attn.k_proj.weight": ("F8_E4M3", (192, 576)), "self_attn.k_proj.weight_scale": (BF16, (192, 1))}),
    **dict.fromkeys(("w4a16", "gptq"), (113_175_416, 692, {
        "mlp.down_proj.weight_packed": (I32, (576, 192)), "mlp.down_proj.weight_scale": (BF16, (576, 24)),
        "mlp.down_proj.weight_shape": ("I64", (2,)), "self_attn.k_proj.weight_packed": (I32, (192, 72)),
        "self_attn.k_proj.weight_scale": (BF16, (192, 9)), "self_attn.k_proj.weight_shape": ("I64", (2,))})),
    "awq": (114_029_456, 902, {  # the layout alone: its preset, rounded to nearest
        "mlp.down_proj.weight_packed": (I32, (576, 192)), "mlp.down_proj.weight_scale": (BF16, (576, 24)),
        "mlp.down_proj.weight_shape": ("I64", (2,)), "mlp.down_proj.weight_zero_point": (I32, (72, 24)),
        "self_attn.k_proj.weight_zero_point": (I32, (24, 9))}),
}


def _folder(config: dict[str, object], dtype: str = "BF16") -> Anatomy:
    tensors = {name: (kind, list(shape)) for name, (kind, shape) in llama_tensors(config, dtype).items()
               if not (config["tie_word_embeddings"] and name.startswith("lm_head"))}
    return anatomy_of_folder(folder_of(config, tensors))


@pytest.mark.parametrize("word", MADE)
def test_as_the_compressor_made_it(word: str) -> None:
    size, count, two = MADE[word]
    ours = compressed(_folder(SMOLLM2), word)
    assert len(ours.weights) == count
    assert abs(ours.file_size - size) < 2_500  # a JSON of 50 to 80 kB that only its writer knows to the byte
    found = {one.name.removeprefix("model.layers.0."): (one.type, one.shape) for one in ours.weights}
    assert {name: found.get(name) for name in two} == two
    assert ours.parameters == 134_515_008 and ours.form == "safetensors" and ours.quantization == word


@pytest.mark.parametrize(("word", "gib"), [("fp8", 8.46), ("int8", 8.46), ("awq", 5.33), ("w4a16", 5.30),
                                           ("nvfp4", 5.61), ("mxfp4", 5.41), ("fp8-block", 8.46)])
def test_sizes_of_an_8b(word: str, gib: float) -> None:
    """Embedding and output stay 16 bits: four bits are 5.7 of them on average."""
    assert compressed(_folder(LLAMA_8B), word).weight_bytes / 2**30 == pytest.approx(gib, rel=0.005)


def test_groups_that_fit_or_none() -> None:
    odd = _folder(CONFIG | {"hidden_size": 208, "num_attention_heads": 13, "num_key_value_heads": 13})
    with pytest.raises(Failure) as caught:
        compressed(odd, "w4a16")
    assert caught.value.code == "compress-unfit" and "208" in caught.value.message
    assert compressed(odd, "int8").weight_bytes


def test_nothing_is_compressed_twice() -> None:
    once = compressed(_folder(CONFIG), "fp8")
    for again in (lambda: compressed(once, "w4a16"), lambda: as_gguf(once)):
        with pytest.raises(Failure) as caught:
            again()
        assert caught.value.code in ("compress-up", "precision-unknown")


def test_a_gguf_is_written_out_and_compressed() -> None:
    folder = _folder(LLAMA_8B)
    assert quantized(quantized(folder, "BF16"), "w4a16").weight_bytes == pytest.approx(
        quantized(folder, "w4a16").weight_bytes, rel=0.0003)  # norms are float32 in a GGUF


@pytest.mark.parametrize("name", families())
def test_a_folder_of_each_family_as_gguf(name: str) -> None:
    """Against what llama.cpp's converter made of the same model."""
    gguf, folder = both(name)
    for word in ("BF16", "Q8_0", "Q4_0", "IQ2_M", "Q3_K_M", "Q4_K_M"):
        ours, theirs = quantized(folder, word), quantized(gguf, word)
        assert ours.form == "gguf" and ours.quantization == word
        assert ours.weight_bytes == pytest.approx(theirs.weight_bytes, rel=0.0007), word


@pytest.mark.parametrize("word", ["none", *LAYOUTS])
def test_every_layout_of_a_small_folder(word: str, tmp_path: Path) -> None:
    base = anatomy_in(tmp_path, plain_files())
    made = quantized(base, word)
    assert (made is base) == (word == "none") and made.weight_bytes <= base.weight_bytes
    assert made.layers == base.layers and made.parameters == base.parameters


def test_a_word_that_is_none() -> None:
    with pytest.raises(Failure) as caught:
        quantized(_folder(CONFIG), "Q9_K")
    assert caught.value.code == "precision-unknown" and "Q4_K_M" in (caught.value.hint or "")


NAMES = ("model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", *(
    f"model.layers.{at}.{part}" for at in (0, 1, 7) for part in (
        "self_attn.q_proj.weight", "self_attn.kv_b_proj.weight", "self_attn.o_proj.weight", "mlp.gate.weight",
        "mlp.down_proj.weight", "mlp.experts.0.w1.weight", "mlp.experts.gate_up_proj", "mlp.experts.down_proj",
        "block_sparse_moe.input_linear.weight", "linear_attn.in_proj_qkvz.weight", "linear_attn.out_proj.weight",
        "mixer.conv1d.weight", "mixer.A_log", "odd.name")))


@settings(derandomize=True, max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.integers(0, 96), max_size=4), min_size=1),
       st.sampled_from(["Q4_K_M", "IQ2_M", "MXFP4", "fp8", "w4a16", "nvfp4"]), st.integers(0, 9), st.integers(0, 2))
def test_tensors_of_any_shape_cost_a_failure_at_most(shapes: dict[str, list[int]], word: str, heads: int,
                                                     experts: int) -> None:
    config = CONFIG | {"num_attention_heads": heads, "num_local_experts": experts, "num_experts_per_tok": experts}
    try:
        base = anatomy_of_folder(folder_of(config, {name: ("BF16", shape) for name, shape in shapes.items()}))
        made = quantized(base, word)
        again = quantized(base, "F16")
    except Failure as failure:
        assert failure.code and failure.message
    else:
        assert all(one.size >= 0 for one in (*made.weights, *again.weights))
