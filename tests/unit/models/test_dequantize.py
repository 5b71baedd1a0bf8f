"""Weights come out of a GGUF as Hugging Face has them, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from modelkit.failure import Failure
from modelkit.models.convert import dequantize, hf_config
from modelkit.models.convert.families import dimensions_of
from modelkit.models.convert.families.rope import rope_scaling
from modelkit.models.convert.vocabulary import read_vocabulary
from modelkit.models.formats.gguf_reader import read_header
from tests.unit.models.gguf_files import TensorOf, gguf
from tests.unit.models.small_model import HEAD, HEADS, KV_HEADS, TOKENS, WIDTH, pairs, small_model, tensors

NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


def converted(path: Path, chunk: int | None = None) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of the safetensors file made from a GGUF, as bfloat16 bits."""
    header = read_header(path)
    parts = dequantize.parts(header, dimensions_of(header), TOKENS)
    target = path.with_suffix(".safetensors")
    target.unlink(missing_ok=True)
    heard: list[int] = []
    _, size = dequantize.write(header, parts, target, heard.append)
    assert size == target.stat().st_size == heard[-1]
    assert heard == sorted(heard)
    data = target.read_bytes()
    length = int.from_bytes(data[:8], "little")
    said = json.loads(data[8:8 + length])
    assert said.pop("__metadata__") == {"format": "pt"}
    body, end, found = data[8 + length:], 0, {}
    for name, one in said.items():
        begin, stop = one["data_offsets"]
        assert (one["dtype"], begin) == ("BF16", end)
        found[name] = np.frombuffer(body[begin:stop], "<u2").reshape(one["shape"])
        end = stop
    assert end == len(body)
    return found


def interleaved(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """What conversion to GGUF does to Q and K: row i of a head's first half, row i of its second half, and so on."""
    out = np.empty_like(rows)
    width = len(rows) // heads
    for head in range(heads):
        for row in range(width // 2):
            out[head * width + 2 * row] = rows[head * width + row]
            out[head * width + 2 * row + 1] = rows[head * width + width // 2 + row]
    return out


def test_every_tensor_is_dequantized_renamed_and_unpermuted(tmp_path: Path) -> None:
    found = converted(small_model(tmp_path / "m.gguf"))
    for one in tensors():
        shape = tuple(reversed(one.shape))
        raw = np.frombuffer(one.data, np.uint8).reshape(*shape[:-1], -1)
        expected = dequantize.bfloat16(quants.dequantize(raw, GGMLQuantizationType(one.type)).reshape(shape))
        name = one.name
        if name.startswith("blk."):
            _, layer, inner, kind = name.split(".")
            name = f"model.layers.{layer}.{NAMES[inner]}.{kind}"
        else:
            name = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[name]
        ours = found.pop(name)
        heads = {"q_proj": HEADS, "k_proj": KV_HEADS}.get(name.split(".")[-2])
        assert np.array_equal(interleaved(ours, heads) if heads else ours, expected), name
        assert not heads or not np.array_equal(ours, expected)
    assert not found


def test_the_size_of_a_chunk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_model(tmp_path / "m.gguf")
    whole = converted(path)
    for chunk in (1, WIDTH * HEAD, WIDTH * 40):
        monkeypatch.setattr(dequantize, "_CHUNK", chunk)
        assert all(np.array_equal(rows, whole[name]) for name, rows in converted(path).items())


def test_rounding_is_to_the_nearest_and_to_even() -> None:
    bits = np.array([0x3F800000, 0x3F808000, 0x3F808001, 0x3F818000, 0x3F817FFF, 0x80000000, 0x7F7FFFFF, 0x7F800000,
                     0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x00000001, 0x00008000, 0x00018000], np.uint32)
    expected = [0x3F80, 0x3F80, 0x3F81, 0x3F82, 0x3F81, 0x8000, 0x7F80, 0x7F80, 0xFF80, 0x7FC0, 0xFFFF, 0, 0, 2]
    assert dequantize.bfloat16(bits.view(np.float32)).tolist() == expected


BIASES = {f"blk__{layer}__attn_{name}__bias": (rows,) for layer in (0, 1) for name, rows in {
    "q": HEADS * HEAD, "k": KV_HEADS * HEAD, "v": KV_HEADS * HEAD, "output": WIDTH}.items()}


def test_biases_and_an_output_of_its_own(tmp_path: Path) -> None:
    path = small_model(tmp_path / "m.gguf", more={"output__weight": (TOKENS, WIDTH)} | BIASES)
    found = converted(path)
    assert found["lm_head.weight"].shape == (TOKENS, WIDTH)
    (bias,) = (one for one in tensors(blk__0__attn_q__bias=(HEADS * HEAD,)) if one.name == "blk.0.attn_q.bias")
    expected = dequantize.bfloat16(np.frombuffer(bias.data, "<f4"))
    ours = found["model.layers.0.self_attn.q_proj.bias"]
    assert np.array_equal(interleaved(ours[:, None], HEADS)[:, 0], expected)
    header = read_header(path)
    said = hf_config.config(header, read_vocabulary(header))
    assert (said["attention_bias"], said["tie_word_embeddings"]) == (True, False)


@pytest.mark.parametrize(("model", "code", "words"), [
    ({"architecture": "falcon"}, "architecture-not-yet", "architecture `falcon`"),
    ({"architecture": "qwen3", "expert_count": 8}, "architecture-not-yet", "mixture of experts"),
    ({"attention__causal": False}, "architecture-not-yet", "both directions"),
    ({"attention__value_length": 32}, "architecture-not-yet", "different widths"),
    ({"rope__dimension_count": 8}, "architecture-not-yet", "a part of each head"),
    ({"attention__head_count_kv": 3}, "gguf-invalid", "can't share"),
    ({"block_count": 0}, "gguf-invalid", "`llama.block_count`"),
    ({"attention__head_count": "4"}, "gguf-invalid", "whole number"),
    ({"block_count": 3}, "gguf-invalid", "is missing"),
    ({"block_count": 1}, "architecture-not-yet", "tensor `blk.1."),
    ({"feed_forward_length": 128}, "gguf-invalid", "blk.0.ffn_"),
    ({"without": "blk.1.ffn_up.weight"}, "gguf-invalid", "mlp.up_proj.weight` is missing"),
    ({"more": {"blk__0__attn_sinks__weight": (4,)}}, "architecture-not-yet", "tensor `blk.0.attn_sinks.weight`"),
    ({"more": {"blk__00__attn_q__weight": (64, 64)}}, "architecture-not-yet", "tensor `blk.00."),
    ({"more": {"blk__0__attn_q__bias": (64,)}}, "architecture-not-yet", "biases on a part of `self_attn`"),
])
def test_what_is_refused(model: dict[str, Any], code: str, words: str, tmp_path: Path) -> None:
    header = read_header(small_model(tmp_path / "m.gguf", **model))
    with pytest.raises(Failure) as failed:
        dequantize.parts(header, dimensions_of(header), TOKENS)
    assert failed.value.code == code
    assert words in failed.value.message
    if code == "architecture-not-yet":
        assert "llama" in (failed.value.hint or "")


def test_config(tmp_path: Path) -> None:
    header = read_header(small_model(tmp_path / "m.gguf"))
    vocabulary = read_vocabulary(header)
    assert hf_config.config(header, vocabulary) == {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", "vocab_size": TOKENS,
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "hidden_act": "silu", "max_position_embeddings": 128,
        "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "attention_bias": False, "mlp_bias": False,
        "tie_word_embeddings": True, "use_cache": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    assert hf_config.generation_config(vocabulary) == {"bos_token_id": 1, "eos_token_id": [2, 0], "pad_token_id": 2}


@pytest.mark.parametrize(("hyperparameters", "scaling"), [
    ({}, None),
    ({"rope__scaling__type": "none", "rope__scaling__factor": 4.0}, None),
    ({"rope__scaling__factor": 2.0}, {"rope_type": "linear", "factor": 2.0}),
    ({"rope__scale_linear": 2.0}, {"rope_type": "linear", "factor": 2.0}),
    ({"rope__scaling__type": "linear", "rope__scaling__factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
])
def test_rope_scaling(hyperparameters: dict[str, Any], scaling: Any, tmp_path: Path) -> None:
    header = read_header(small_model(tmp_path / "m.gguf", **hyperparameters))
    assert rope_scaling(header, dimensions_of(header)) == scaling


def llama3_factors(factor: float) -> np.ndarray[Any, Any]:
    """Llama 3.1's published rule, written out one frequency at a time."""
    out = []
    for at in range(0, HEAD, 2):
        wavelength = 2 * np.pi * 500000.0 ** (at / HEAD)
        if wavelength < 8192 / 4:
            out.append(1.0)
        elif wavelength > 8192:
            out.append(factor)
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(out, "<f4")


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama3_rope_is_recovered_from_its_divisors(factor: float, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    extra = TensorOf("rope_freqs.weight", (HEAD // 2,), 0, llama3_factors(factor).tobytes())
    path.write_bytes(gguf(pairs(rope__freq_base=500000.0), [*tensors(), extra]))
    header = read_header(path)
    assert rope_scaling(header, dimensions_of(header)) == {
        "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}
    assert "rope_freqs.weight" not in converted(path)


def test_a_missing_epsilon_is_refused(tmp_path: Path) -> None:
    header = read_header(small_model(tmp_path / "m.gguf", attention__layer_norm_rms_epsilon=0.0))
    with pytest.raises(Failure, match="layer_norm_rms_epsilon"):
        hf_config.config(header, read_vocabulary(header))


def test_other_divisors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    extra = TensorOf("rope_freqs.weight", (HEAD // 2,), 0, np.linspace(1, 8, HEAD // 2, dtype="<f4").tobytes())
    path.write_bytes(gguf(pairs(), [*tensors(), extra]))
    header = read_header(path)
    with pytest.raises(Failure, match="factors of its own"):
        rope_scaling(header, dimensions_of(header))
    path.write_bytes(gguf(pairs(rope__scaling__type="longrope", rope__scaling__factor=4.0), tensors()))
    header = read_header(path)
    with pytest.raises(Failure, match="by `longrope`"):
        rope_scaling(header, dimensions_of(header))
