"""Other forms of a real model, made by the real tools: what they keep, that they repeat, and that a kill hurts nothing.

Agreement is the share of places in some texts where two models find the same next token most likely.
"""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from modelkit import models
from modelkit.failure import Failure
from modelkit.models import same
from modelkit.models.convert import compress, lora, quantize, to_gguf
from modelkit.models.convert.tool import Name, Tool
from modelkit.models.formats.gguf_reader import read_header
from modelkit.models.formats.safetensors_writer import SafetensorsWriter
from modelkit.models.store import Store
from modelkit.models.weights import Weights
from modelkit.runtime import environments
from tests.live.engines import BASE

pytestmark = [pytest.mark.live_llamacpp, pytest.mark.timeout(900)]

TEXTS = files("modelkit.models.convert").joinpath("calibration.txt").read_text("utf-8").splitlines()[:10]
WIDTH, KEYS, LAYERS, RANK = 576, 192, 30, 4  # of SmolLM2-135M, and of an adapter for it


def tool(name: Name) -> Tool:
    found = environments.find_tool(name)
    if found is None:
        pytest.fail(f"the {name} is not installed here: run `modelkit tool install {name}`")
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def source() -> Weights:
    """The GGUF that everything begins with, Q4_1; fetched into the user's own store, once."""
    return models.acquire(BASE, Path.cwd())


@pytest.fixture(scope="module")
def folder(source: Weights, store: Store) -> Weights:
    return models.huggingface_folder(source, store)


@pytest.fixture(scope="module")
def whole(folder: Weights, store: Store) -> Weights:
    """The folder as a GGUF again, BF16."""
    return to_gguf.gguf_file(folder, tool("converter"), store=store)


def top_tokens(model: Weights, adapter: str | None = None) -> list[int]:
    asked = json.dumps({"model": model.path, "adapter": adapter, "texts": TEXTS})
    done = subprocess.run([tool("quantizer").python, str(Path(__file__).with_name("top_tokens.py"))], input=asked,
                          text=True, capture_output=True, check=True, timeout=600)
    return [token for text in json.loads(done.stdout) for token in text]


def agreement(left: list[int], right: list[int]) -> float:
    assert len(left) == len(right) > 300
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)


def test_from_gguf_to_a_folder_and_back_it_is_the_same_model(source: Weights, folder: Weights, whole: Weights,
                                                             store: Store, tmp_path: Path) -> None:
    assert same.compare(source, whole) == () == same.compare(folder, whole)
    assert quantize.type_of(read_header(whole.path)) == "BF16"
    again = to_gguf.gguf_file(folder, tool("converter"), store=Store(tmp_path / "other"))
    assert again.digest == whole.digest and again.recipe == whole.recipe


def test_agreement_with_the_source(source: Weights, whole: Weights, store: Store,
                                   record_property: Callable[[str, Any], None]) -> None:
    """The numbers for the documentation; the least that each must reach is far below what it does."""
    expected = top_tokens(source)
    for kind, least in (("BF16", 0.90), ("Q8_0", 0.88), ("Q4_K_M", 0.75)):
        made = quantize.quantize(whole, kind, tool("quantizer"), store=store)
        reached = agreement(expected, top_tokens(made))
        record_property(kind, f"{reached:.3f} of {len(expected)} places, {made.size} bytes")
        print(f"{kind}: {reached:.3f} of {len(expected)} places, {made.size:,} bytes")
        assert reached >= least, kind


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K_M"])
def test_the_same_bytes_whatever_the_number_of_threads(whole: Weights, tmp_path: Path, kind: str) -> None:
    made = {quantize.quantize(whole, kind, tool("quantizer"), store=Store(tmp_path / str(threads)),
                              threads=threads).digest for threads in (1, 2, 3)}
    assert len(made) == 1


def test_an_importance_matrix_in_both_formats(whole: Weights, store: Store, tmp_path: Path) -> None:
    """IQ2_XXS is not made without one; made by hand, it is taken, and both formats give the same bytes."""
    with pytest.raises(Failure) as caught:
        quantize.quantize(whole, "IQ2_XXS", tool("quantizer"), store=store)
    assert caught.value.code == "needs-importance-matrix"
    header = read_header(whole.path)
    chance = np.random.default_rng(1)
    rows = {name: chance.random(tensor.shape[0], np.float32) + np.float32(0.01)
            for name, tensor in header.tensors.items() if name.startswith("blk.") and len(tensor.shape) == 2}
    old, new = tmp_path / "imatrix.dat", tmp_path / "imatrix.gguf"
    old.write_bytes(struct.pack("<i", len(rows)) + b"".join(
        struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 1, len(row)) + row.tobytes()
        for name, row in rows.items()))
    _write_gguf_imatrix(new, rows)
    made = [quantize.quantize(whole, "IQ2_XXS", tool("quantizer"), store=store, imatrix=path) for path in (old, new)]
    assert made[0].digest == made[1].digest and made[0].recipe != made[1].recipe
    kinds = {tensor.type.name for tensor in read_header(made[0].path).tensors.values()}
    assert "IQ2_XXS" in kinds  # where rows are a multiple of 256; llama.cpp takes IQ4_NL for the others
    old.write_bytes(old.read_bytes().replace(b"blk.3.ffn_down", b"blk.3.ffn_nope"))
    with pytest.raises(Failure) as caught:
        quantize.quantize(whole, "IQ2_XXS", tool("quantizer"), store=store, imatrix=old)
    assert caught.value.code == "imatrix-unfit" and "blk.3.ffn_down" in caught.value.message


def _write_gguf_imatrix(path: Path, rows: dict[str, np.ndarray[Any, np.dtype[np.float32]]]) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "none")
    writer.add_type("imatrix")
    for name, row in rows.items():
        writer.add_tensor(f"{name}.in_sum2", row)
        writer.add_tensor(f"{name}.counts", np.ones(1, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_kill_9_in_the_middle_and_again(whole: Weights, tmp_path: Path) -> None:
    code = ("import sys; from pathlib import Path; from modelkit.models.convert import quantize; "
            "from modelkit.models.convert.tool import Tool; from modelkit.models.store import Store; "
            "from modelkit.models.weights import Weights; "
            f"quantize.quantize(Weights(**{whole.model_dump()!r}), 'Q4_0', Tool(**{vars(tool('quantizer'))!r}), "
            f"store=Store(Path({str(tmp_path / 'models')!r})), threads=1, "
            "on_progress=lambda *said: print(*said, flush=True) if 'quantizing' in said[2] else None)")
    asking = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    for _ in range(60):  # tensors
        assert "quantizing" in asking.stdout.readline()
    (child,) = psutil.Process(asking.pid).children()
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    asking.stdout.close()
    child.wait(20)
    store = Store(tmp_path / "models")
    assert quantize.locate(whole, "Q4_0", tool("quantizer"), store=store) is None
    made = quantize.quantize(whole, "Q4_0", tool("quantizer"), store=store)
    assert store.digest(Path(made.path), verify=True) == made.digest
    assert not list((store.root / "work").iterdir())


def test_an_adapter_goes_to_gguf_and_back(source: Weights, folder: Weights, whole: Weights, store: Store,
                                          tmp_path: Path) -> None:
    chance, adapter, pairs = np.random.default_rng(2), tmp_path / "adapter", {}
    for layer in range(LAYERS):
        for name, rows, columns in (("self_attn.q_proj", WIDTH, WIDTH), ("self_attn.k_proj", KEYS, WIDTH),
                                    ("mlp.down_proj", WIDTH, 1536)):
            module = f"base_model.model.model.layers.{layer}.{name}"
            pairs[f"{module}.lora_A.weight"] = chance.standard_normal((RANK, columns), np.float32)
            pairs[f"{module}.lora_B.weight"] = chance.standard_normal((rows, RANK), np.float32) * np.float32(0.1)
    adapter.mkdir()
    with SafetensorsWriter(adapter / "adapter_model.safetensors",
                           {name: ("F32", values.shape) for name, values in pairs.items()}) as out:
        for values in pairs.values():
            out.write(values.tobytes())
    (adapter / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": RANK, "lora_alpha": 8, "bias": "none", "base_model_name_or_path": "nowhere/nothing",
        "target_modules": ["q_proj", "k_proj", "down_proj"]}))
    given = Weights(reference=str(adapter), form="safetensors", path=str(adapter), digest="sha256:" + "1" * 64, size=1)
    made = lora.gguf_adapter(given, folder, tool("converter"), store=store)
    assert made.digest == lora.gguf_adapter(given, source, tool("converter"), store=store).digest
    back = Path(lora.peft_folder(made, folder, store=store).path)
    assert _tensors(back / "adapter_model.safetensors") == _tensors(adapter / "adapter_model.safetensors")
    said = json.loads((back / "adapter_config.json").read_text())
    assert (said["r"], said["lora_alpha"], said["target_modules"]) == (RANK, 8, ["down_proj", "k_proj", "q_proj"])
    assert agreement(top_tokens(whole), top_tokens(whole, made.path)) < 0.9  # llama.cpp loads it, and it acts


def _tensors(path: Path) -> dict[str, tuple[list[int], bytes]]:
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    body = data[8 + length:]
    return {name: (said["shape"], body[slice(*said["data_offsets"])])
            for name, said in json.loads(data[8:8 + length]).items() if name != "__metadata__"}


def _runs_here() -> list[str]:
    """What vLLM 0.32 computes rightly on this machine's processor.

    Its 4-bit kernel is built for AVX-512 only (vllm issue 55613: the first request fails), and 8-bit integers saturate
    in oneDNN on processors without VNNI (pytorch issue 103646): they load, and answer nonsense.
    """
    flags = Path("/proc/cpuinfo").read_text().split()
    vnni = any("vnni" in flag for flag in flags)
    return ["fp8", *(["w4a16"] if "avx512f" in flags else []), *(["int8"] if vnni else [])]


@pytest.mark.live_vllm
@pytest.mark.parametrize("precision", ["fp8", "int8", "w4a16"])
def test_a_compressed_folder_is_made_twice_alike_and_vllm_answers(folder: Weights, tmp_path: Path,
                                                                  precision: str) -> None:
    made = [compress.compress(folder, precision, tool("compressor"), store=Store(tmp_path / name)) for name in "ab"]
    assert made[0].digest == made[1].digest and made[0].size < 0.65 * folder.size
    config = json.loads((Path(made[0].path) / "config.json").read_text())
    assert config.pop("quantization_config")["quant_method"] == "compressed-tensors"
    assert config == json.loads((Path(folder.path) / "config.json").read_text())
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (Path(made[0].path) / name).read_bytes() == (Path(folder.path) / name).read_bytes()
    if precision not in _runs_here():
        return
    if (vllm := environments.find("vllm", ">=0.32,<0.33")) is None:
        pytest.fail("vLLM 0.32 is not installed here: run `modelkit engine install vllm`")
    done = subprocess.run([str(Path(vllm.path) / "bin" / "python"), str(Path(__file__).with_name("vllm_answer.py")),
                           made[0].path], text=True, capture_output=True, timeout=600, check=False)
    assert "Paris" in done.stdout.partition("ANSWER")[2], done.stderr[-2000:]
