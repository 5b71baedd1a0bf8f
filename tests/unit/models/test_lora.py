"""LoRA adapters between PEFT's folder and GGUF: rows in their own order, strengths that mean the same."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelkit import models
from modelkit.failure import Failure
from modelkit.models.convert import lora
from modelkit.models.convert.lora import gguf_adapter, peft_folder
from modelkit.models.convert.tool import Tool
from modelkit.models.formats.safetensors_writer import SafetensorsWriter
from modelkit.models.store import Store
from modelkit.models.weights import Weights
from tests.unit.models.gguf_files import ARCHITECTURE, TensorOf, gguf, pair
from tests.unit.models.small_model import HEAD, HEADS, KV_HEADS, LAYERS, WIDTH, small_model

TOOL = Tool("converter", "fake 1", sys.executable)
ADAPTER = [ARCHITECTURE, pair("general.type", "string", "adapter"), pair("adapter.type", "string", "lora")]
ALPHA = pair("adapter.lora.alpha", "float32", 16.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def base(tmp_path: Path, store: Store) -> Weights:
    return models.acquire(str(small_model(tmp_path / "m.gguf")), tmp_path, store=store)


def values(rows: int, columns: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype("<f4")


def interleaved(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """What llama.cpp's conversion does to the rows of Q and K."""
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def tensor(name: str, rows: np.ndarray[Any, Any], kind: int = 0) -> TensorOf:
    return TensorOf(name, tuple(reversed(rows.shape)), kind, rows.tobytes())


def change(name: str, rank: int = 4, rows: int = WIDTH, seed: int = 1, heads: int = 0) -> list[TensorOf]:
    """A pair for one tensor of the base."""
    a, b = values(rank, WIDTH, seed), values(rows, rank, seed + 1)
    return [tensor(f"{name}.lora_a", a), tensor(f"{name}.lora_b", interleaved(b, heads) if heads else b)]


def given(tmp_path: Path, pairs: list[bytes], tensors: list[TensorOf]) -> Weights:
    path = tmp_path / "adapter.gguf"
    path.write_bytes(gguf(pairs, tensors))
    return Weights(reference=str(path), form="gguf", path=str(path), digest="sha256:" + "a" * 64,
                   size=path.stat().st_size)


def read(folder: str) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    data = (Path(folder) / "adapter_model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__")
    body, kinds = data[8 + length:], {"F32": "<f4", "F16": "<f2"}
    return json.loads((Path(folder) / "adapter_config.json").read_text()), {
        name: np.frombuffer(body[slice(*said["data_offsets"])], kinds[said["dtype"]]).reshape(said["shape"])
        for name, said in header.items()}


def test_rows_are_put_back_and_modules_named(tmp_path: Path, base: Weights, store: Store) -> None:
    tensors = [one for layer in range(LAYERS) for one in (
        *change(f"blk.{layer}.attn_q.weight", seed=10 * layer, rows=HEADS * HEAD, heads=HEADS),
        *change(f"blk.{layer}.attn_k.weight", seed=10 * layer + 2, rows=KV_HEADS * HEAD, heads=KV_HEADS),
        *change(f"blk.{layer}.attn_v.weight", seed=10 * layer + 4, rows=KV_HEADS * HEAD))]
    made = peft_folder(given(tmp_path, [*ADAPTER, ALPHA], tensors), base, store=store)
    said, found = read(made.path)
    assert (said["r"], said["lora_alpha"], said["rank_pattern"], said["bias"]) == (4, 16, {}, "none")
    assert said["target_modules"] == ["k_proj", "q_proj", "v_proj"]
    for layer in range(LAYERS):
        for seed, name, rows in ((0, "q_proj", HEADS * HEAD), (2, "k_proj", KV_HEADS * HEAD),
                                 (4, "v_proj", KV_HEADS * HEAD)):
            module = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            assert (found[f"{module}.lora_A.weight"] == values(4, WIDTH, 10 * layer + seed)).all()
            assert (found[f"{module}.lora_B.weight"] == values(rows, 4, 10 * layer + seed + 1)).all()
    assert len(found) == len(tensors)


def test_the_bases_folder_serves_as_well_as_its_gguf(tmp_path: Path, base: Weights, store: Store) -> None:
    adapter = given(tmp_path, [*ADAPTER, ALPHA], change("blk.0.attn_q.weight", rows=HEADS * HEAD, heads=HEADS))
    folder = models.huggingface_folder(base, store)
    files = [(Path(peft_folder(adapter, one, store=store).path) / "adapter_model.safetensors").read_bytes()
             for one in (base, folder)]
    assert files[0] == files[1]


def test_modules_of_one_layer_and_of_another_rank(tmp_path: Path, base: Weights, store: Store) -> None:
    made = peft_folder(given(tmp_path, ADAPTER, [*change("blk.0.attn_q.weight"), *change("blk.1.attn_q.weight"),
                                                 *change("blk.1.attn_output.weight", rank=2)]), base, store=store)
    said, _ = read(made.path)
    odd = "model.layers.1.self_attn.o_proj"
    assert said["target_modules"] == ["model.layers.0.self_attn.q_proj", odd, "model.layers.1.self_attn.q_proj"]
    assert said["rank_pattern"] == {odd: 2}
    assert said["lora_alpha"] == 4 and said["alpha_pattern"] == {odd: 2}  # no alpha: llama.cpp's strength is 1


@pytest.mark.parametrize("kind", [("F16", 1, "<f2"), ("Q8_0", 8, None)], ids=lambda kind: kind[0])
def test_adapters_of_fewer_bits(tmp_path: Path, base: Weights, store: Store, kind: tuple[str, int, str | None]) -> None:
    from gguf import GGMLQuantizationType, quants

    _, number, dtype = kind
    a, b = values(4, WIDTH, 1), values(WIDTH, 32, 2)[:, :4]
    if dtype is None:
        raw = quants.quantize(a, GGMLQuantizationType.Q8_0)
        expected = quants.dequantize(raw, GGMLQuantizationType.Q8_0)
        pair_of = [TensorOf("blk.0.attn_v.weight.lora_a", (WIDTH, 4), number, raw.tobytes()),
                   tensor("blk.0.attn_v.weight.lora_b", np.ascontiguousarray(b[:KV_HEADS * HEAD]))]
    else:
        expected = a.astype(dtype)
        pair_of = [tensor("blk.0.attn_v.weight.lora_a", expected, number),
                   tensor("blk.0.attn_v.weight.lora_b", b[:KV_HEADS * HEAD].astype(dtype), number)]
    _, found = read(peft_folder(given(tmp_path, [*ADAPTER, ALPHA], pair_of), base, store=store).path)
    assert (found["base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight"] == expected).all()


UNFIT: dict[str, tuple[list[bytes], list[TensorOf], str]] = {
    "a model": ([ARCHITECTURE], change("blk.0.attn_q.weight"), "not a LoRA"),
    "another family": ([pair("general.architecture", "string", "qwen2"), *ADAPTER[1:]], change("blk.0.attn_q.weight"),
                       "`qwen2`"),
    "too many layers": (ADAPTER, change("blk.9.attn_q.weight"), "blk.9.attn_q"),
    "half a pair": (ADAPTER, change("blk.0.attn_q.weight")[:1], "blk.0.attn_q"),
    "another shape": (ADAPTER, change("blk.0.attn_q.weight", rows=WIDTH + 2), "does not fit"),
    "a norm": (ADAPTER, [tensor("blk.0.attn_norm.weight", values(1, WIDTH, 1))], "blk.0.attn_norm"),
    "embeddings": (ADAPTER, change("token_embd.weight"), "token_embd"),
    "alora": ([*ADAPTER, pair("adapter.alora.invocation_tokens", "[uint32]", [1])], change("blk.0.attn_q.weight"),
              "aLoRA"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_has_no_place_in_pefts_form(tmp_path: Path, base: Weights, store: Store, what: str) -> None:
    pairs, tensors, words = UNFIT[what]
    with pytest.raises(Failure, match=words) as caught:
        peft_folder(given(tmp_path, pairs, tensors), base, store=store)
    assert caught.value.code == "adapter-unfit"


def peft(folder: Path, **more: Any) -> Weights:
    folder.mkdir()
    said = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"} | more
    (folder / "adapter_config.json").write_text(json.dumps(said))
    with SafetensorsWriter(folder / "adapter_model.safetensors", {}):
        pass
    return Weights(reference=str(folder), form="safetensors", path=str(folder), digest="sha256:" + "b" * 64, size=1)


@pytest.mark.parametrize(("more", "words"), [
    ({"peft_type": "IA3"}, "IA3"), ({"use_dora": True}, "use_dora"), ({"bias": "all"}, "bias"),
    ({"modules_to_save": ["lm_head"]}, "modules_to_save"), ({"alpha_pattern": {"q": 1}}, "alpha_pattern"),
    ({"r": "many"}, "no `r`"), ({"use_rslora": True, "rank_pattern": {"q": 1}}, "rank_pattern"),
])
def test_what_has_no_place_in_llama_cpps_form(tmp_path: Path, base: Weights, store: Store, more: dict[str, Any],
                                              words: str) -> None:
    with pytest.raises(Failure, match=words) as caught:
        gguf_adapter(peft(tmp_path / "a", **more), base, TOOL, store=store)
    assert caught.value.code == "adapter-unfit"


def test_an_adapter_that_is_a_pickle(tmp_path: Path, base: Weights, store: Store) -> None:
    adapter = peft(tmp_path / "a")
    (tmp_path / "a" / "adapter_model.safetensors").rename(tmp_path / "a" / "adapter_model.bin")
    with pytest.raises(Failure, match=r"adapter_model\.safetensors") as caught:
        gguf_adapter(adapter, base, TOOL, store=store)
    assert "pickles" in (caught.value.hint or "")


def test_the_converter_gets_the_configuration_with_its_own_alpha(tmp_path: Path, base: Weights, store: Store,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """rsLoRA divides by the root of the rank, llama.cpp by the rank; and only what counts is shown."""
    child, result = tmp_path / "child.py", given(tmp_path, [*ADAPTER, ALPHA], change("blk.0.attn_q.weight"))
    child.write_text("import json, os, shutil\ndef main(request, say):\n"
                     "    with open(request['source'] + '/adapter_config.json') as file: said = json.load(file)\n"
                     "    with open(request['base'] + '/config.json') as file: base = json.load(file)\n"
                     "    assert (said['lora_alpha'], said['use_rslora']) == (16.0, False), said\n"
                     "    assert base['architectures'] == ['LlamaForCausalLM']\n"
                     "    assert os.listdir(request['base']) == ['config.json']\n"
                     "    assert len(os.listdir(request['source'])) == 2\n"
                     f"    shutil.copyfile({result.path!r}, request['target'])\n    return {{}}\n")
    monkeypatch.setattr(lora, "_SCRIPT", child)
    adapter = peft(tmp_path / "a", use_rslora=True)
    (tmp_path / "a" / "README.md").write_text("not to be seen")
    made = gguf_adapter(adapter, base, TOOL, store=store)
    assert Path(made.path).read_bytes() == Path(result.path).read_bytes()
    assert made.recipe is not None and made.recipe["input"] == adapter.digest
    assert gguf_adapter(made, base, TOOL, store=store) == made
