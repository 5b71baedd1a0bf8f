"""Each family's folder computes what llama.cpp and transformers do: their own logits on the same tokens."""

from __future__ import annotations

import base64
import ctypes
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, quants

from modelkit.models.convert.tool import Tool
from modelkit.runtime import environments
from tests.unit.models.gguf_files import TensorOf, gguf
from tests.unit.models.make_families import MODELS, read
from tests.unit.models.test_families import folder_of

BLOCKS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")

# Transformers in vLLM's environment: the folders' logits at given positions, as base64 of float32.
CHILD = """
import base64, json, sys, torch
from transformers import AutoModelForCausalLM
for folder, ids, positions in json.load(sys.stdin):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, positions].float().numpy()
    print("LOGITS", base64.b64encode(logits.tobytes()).decode(), flush=True)
"""


def logits_of(said: dict[str, Any]) -> np.ndarray[Any, Any]:
    """What transformers computed from the original, made exact by the fixture's bfloat16 weights."""
    return decoded(said["logits"]).reshape(len(said["positions"]), -1)


def decoded(text: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text), "<f4")


def in_float32(source: Path, target: Path) -> Path:
    """The same GGUF with every tensor as float32: llama.cpp rounds activations to bfloat16 beside such weights."""
    reader = GGUFReader(source)
    pairs = [b"".join(part.tobytes() for part in one.parts)
             for name, one in reader.fields.items() if not name.startswith("GGUF.")]
    tensors = [TensorOf(one.name, [int(length) for length in one.shape], 0,
                        quants.dequantize(one.data, one.tensor_type).astype("<f4").tobytes()) for one in reader.tensors]
    target.write_bytes(gguf(pairs, tensors))
    return target


@pytest.fixture(scope="module")
def quantizer() -> Tool:
    if (found := environments.find_tool("quantizer")) is None:
        pytest.fail("llama-cpp-python is not here: run `modelkit tool install quantizer`")
    return found


@pytest.mark.live_llamacpp
@pytest.mark.timeout(300)
def test_llama_cpp_computes_the_same(quantizer: Tool, tmp_path: Path) -> None:
    asked = []
    for name in MODELS:
        said, data = read(name)
        (source := tmp_path / f"{name}.gguf").write_bytes(data)
        asked.append((str(in_float32(source, tmp_path / f"{name}-f32.gguf")), said["ids"], said["positions"]))
    child = subprocess.run([quantizer.python, str(Path(__file__).with_name("llama_logits.py"))],
                           input=json.dumps(asked), capture_output=True, text=True, timeout=240, check=False)
    found = [line.split()[1] for line in child.stdout.splitlines() if line.startswith("LOGITS")]
    assert child.returncode == 0 and len(found) == len(MODELS), child.stderr[-2000:]
    for (name, tiny), text in zip(MODELS.items(), found, strict=True):
        theirs = logits_of(read(name)[0])
        ours = decoded(text).reshape(theirs.shape)
        # The original of a quantized model was not quantized; llama.cpp looks GELU up in a table of float16.
        apart = 0.5 if tiny.kind != "bf16" else 3e-3 if "gemma" in name else 3e-5
        assert np.array_equal(ours.argmax(1), theirs.argmax(1)), name
        assert np.abs(ours - theirs).max() < apart * theirs.std(), name


@pytest.mark.live_llamacpp
@pytest.mark.parametrize("kind", BLOCKS)
def test_blocks_are_dequantized_as_llama_cpp_does(kind: str, quantizer: Tool) -> None:
    """Random weights, quantized by llama.cpp: its values are those that the folder is made of."""
    where = "import importlib.util; print(importlib.util.find_spec('llama_cpp').submodule_search_locations[0])"
    package = subprocess.run([quantizer.python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    (path,) = (Path(package) / "lib").glob("libggml-base.so")
    library, number, count = ctypes.CDLL(str(path)), GGMLQuantizationType[kind], 1 << 14
    values = np.random.default_rng(1).standard_normal(count).astype(np.float32)
    raw, theirs = np.zeros(count * 2, np.uint8), np.zeros(count, np.float32)
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    size = library.ggml_quantize_chunk(
        ctypes.c_int(number), values.ctypes.data_as(ctypes.c_void_p), raw.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_int64(0), ctypes.c_int64(1), ctypes.c_int64(count), None)
    function = getattr(library, f"dequantize_row_{kind.lower().replace('_k', '_K')}")
    function(raw.ctypes.data_as(ctypes.c_void_p), theirs.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(count))
    assert np.array_equal(quants.dequantize(raw[:size], number), theirs)


@pytest.fixture(scope="module")
def vllm_python() -> Path:
    if (found := environments.find("vllm", ">=0.32,<0.33")) is None:
        pytest.fail("vLLM 0.32 is not installed here: run `modelkit engine install vllm`")
    return Path(found.path) / "bin" / "python"


@pytest.mark.live_vllm
@pytest.mark.timeout(300)
def test_transformers_computes_the_same(vllm_python: Path, tmp_path: Path) -> None:
    asked = [(str(folder_of(name, tmp_path)), read(name)[0]["ids"], read(name)[0]["positions"]) for name in MODELS]
    child = subprocess.run([str(vllm_python), "-c", CHILD], input=json.dumps(asked), capture_output=True, text=True,
                           timeout=240, check=False)
    found = [line.split()[1] for line in child.stdout.splitlines() if line.startswith("LOGITS")]
    assert child.returncode == 0 and len(found) == len(MODELS), child.stderr[-2000:]
    for (name, tiny), text in zip(MODELS.items(), found, strict=True):
        theirs = logits_of(read(name)[0])
        apart = np.abs(decoded(text).reshape(theirs.shape) - theirs).max()
        assert apart <= (1e-5 if tiny.kind == "bf16" else 0.5 * theirs.std()), name


@pytest.mark.live_vllm
@pytest.mark.timeout(600)
def test_vllm_computes_the_same(vllm_python: Path, tmp_path: Path) -> None:
    """One folder of each kind that is unlike the others, loaded by vLLM itself."""
    names = ("gemma3", "mistral3", "qwen3moe")
    said = {name: read(name)[0] for name in names}
    asked = [(str(folder_of(name, tmp_path)), said[name]["ids"], said[name]["positions"]) for name in names]
    child = subprocess.run([str(vllm_python), str(Path(__file__).with_name("vllm_logprobs.py"))],
                           input=json.dumps(asked), capture_output=True, text=True, timeout=540, check=False)
    found = [json.loads(line.partition(" ")[2]) for line in child.stdout.splitlines() if line.startswith("LOGPROBS")]
    assert len(found) == len(names), child.stderr[-2000:]
    for name, rows in zip(names, found, strict=True):
        logits = logits_of(said[name])
        expected = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        for theirs, ours in zip(rows, expected, strict=True):
            assert len(theirs) >= 5
            assert all(abs(value - ours[int(token)]) < 1e-4 for token, value in theirs.items()), name
