"""Other checkpoints of one base: found by tags on a Hub on loopback, compared by headers, refused with reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelkit.cli.fit import siblings as room
from modelkit.cli.fit.siblings import siblings
from modelkit.failure import Failure
from modelkit.models.anatomy import Anatomy, Layer
from modelkit.models.reference import Reference
from modelkit.models.store import Store
from modelkit.planning.fit.as_gguf import as_gguf
from modelkit.planning.fit.compressed import compressed
from modelkit.planning.fit.profiles import profile
from modelkit.planning.fit.siblings import Sibling, ranked, unlike, word_of
from tests.unit.fit.folders import CONFIG, anatomy_in, files_of, plain_files
from tests.unit.models.gguf_files import TensorOf, gguf, pair
from tests.unit.models.hub import HubServer, ask_only, hub_server

METHODS: dict[str, dict[str, Any]] = {
    "fp8": {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}},
    "int8": {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}},
    "w4a16": {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}},
    "nvfp4": {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}},
    "mxfp4": {"quant_method": "mxfp4"}, "fp8-block": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
TAG = "base_model:quantized:maker/base"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server() as server:
        ask_only(server, tmp_path, monkeypatch)
        yield server


@pytest.fixture
def base(tmp_path: Path) -> Anatomy:
    return anatomy_in(tmp_path / "base", plain_files())


@pytest.mark.parametrize("word", METHODS)
def test_what_is_packed_is_told_by_its_headers(word: str, base: Anatomy, tmp_path: Path) -> None:
    made = compressed(base, word)
    read = anatomy_in(tmp_path / word, files_of(made, CONFIG, METHODS[word]))
    assert word_of(read) == word.removesuffix("-block")
    assert read.parameters == base.parameters and unlike(base, read) == ""
    assert read.weight_bytes == made.weight_bytes
    assert abs(read.file_size - made.file_size) < 40 * len(made.weights)


@pytest.mark.parametrize(("change", "said"), [
    ({"layers": (Layer("full", 8, 2, 64, 64),)}, "layers 1, and the base has 2"), ({"width": 512}, "width 512"),
    ({"vocabulary": 1200}, "1,200 tokens in the vocabulary"), ({"experts": 8}, "experts 8"), ({"vocabulary": 1008}, ""),
    ({"parameters": 1_900_000}, "1,900,000 parameters"),
    ({"layers": (Layer("full", 8, 8, 256, 256),) * 2}, "numbers cached for a token 1,024")])
def test_in_what_another_model_is_another(change: dict[str, Any], said: str, base: Anatomy) -> None:
    found = unlike(base, replace(base, **change))
    assert said in found and bool(found) == bool(said)


def _hub_with_siblings(hub: HubServer, base: Anatomy) -> None:
    def add(name: str, files: dict[str, bytes], downloads: int, *tags: str) -> None:
        repository, _ = hub.add(name, files)
        repository.tags, repository.downloads = (TAG, *tags), downloads

    hub.add("maker/base", plain_files())
    add("maker/base-FP8", files_of(compressed(base, "fp8"), CONFIG, METHODS["fp8"]), 50)
    add("other/base.w4a16", files_of(compressed(base, "w4a16"), CONFIG, METHODS["w4a16"]), 900)
    add("someone/base-GGUF", {"b-Q4_K_M.gguf": gguf([pair("general.architecture", "string", "llama")])}, 999, "gguf")
    add("someone/base-4bit", plain_files(), 70, "mlx")
    add("liar/base-INT8", plain_files(CONFIG | {"num_hidden_layers": 3}), 60)
    add("lab/base-NVFP4", files_of(compressed(base, "nvfp4"), CONFIG, METHODS["nvfp4"]), 40)
    add("odd/base-hqq", plain_files(CONFIG | {"quantization_config": {"quant_method": "hqq"}}), 30)
    add("closed/base-AWQ", plain_files(), 20)
    hub.repositories["closed/base-AWQ"].gated = True


def _siblings(hub: HubServer, base: Anatomy, tmp_path: Path, *, word: str = "maker/base",
              hardware: str = "t4", engine: str = "vllm") -> dict[str, Sibling]:
    found = siblings(Reference.parse(f"hf.co/{word}", tmp_path), base, profile(hardware), engine, Store(tmp_path / "s"))
    assert found.base == "maker/base"
    return {one.repo: one for one in found.found}


def test_each_is_looked_into_and_refused_with_a_reason(hub: HubServer, base: Anatomy, tmp_path: Path) -> None:
    _hub_with_siblings(hub, base)
    found = _siblings(hub, base, tmp_path)
    assert [name for name, one in found.items() if not one.refused] == [
        "maker/base-FP8", "lab/base-NVFP4", "other/base.w4a16"]  # more bits first
    assert found["maker/base-FP8"].official and "unpacked" in found["maker/base-FP8"].how
    assert found["other/base.w4a16"].write == "FROM hf.co/other/base.w4a16"
    for name, why in {"someone/base-GGUF": "GGUF", "someone/base-4bit": "MLX", "odd/base-hqq": "no method `hqq`",
                      "liar/base-INT8": "layers 3, and the base has 2", "closed/base-AWQ": "gated"}.items():
        assert why in found[name].refused, name
    assert not any(path.endswith(".safetensors") and method == "GET" and "Range" not in headers
                   for method, path, headers in hub.seen), "weights were fetched"


def test_hardware_decides(hub: HubServer, base: Anatomy, tmp_path: Path) -> None:
    _hub_with_siblings(hub, base)
    found = _siblings(hub, base, tmp_path, hardware="v100")
    assert "sm_75" in found["maker/base-FP8"].refused and "sm_70" in found["maker/base-FP8"].refused


def test_a_sibling_knows_its_siblings_and_its_base_is_read(hub: HubServer, base: Anatomy, tmp_path: Path) -> None:
    _hub_with_siblings(hub, base)
    found = _siblings(hub, base, tmp_path, word="other/base.w4a16")
    assert "other/base.w4a16" not in found and not found["maker/base-FP8"].refused
    hub.repositories["maker/base"].gated = True
    found = _siblings(hub, base, tmp_path, word="other/base.w4a16")
    assert "not compared with its base" in found["maker/base-FP8"].how


def test_llama_cpp_wants_gguf(hub: HubServer, base: Anatomy, tmp_path: Path) -> None:
    _hub_with_siblings(hub, base)
    found = _siblings(hub, base, tmp_path, engine="llama.cpp")
    assert found["other/base.w4a16"].refused == "it has no GGUF"
    assert "someone/base-GGUF" in found and found["someone/base-GGUF"].refused  # its header is no model


def test_a_repository_of_gguf_files(hub: HubServer, base: Anatomy, tmp_path: Path) -> None:
    numbers = {"block_count": 2, "embedding_length": 256, "feed_forward_length": 512, "attention.head_count": 8,
               "attention.head_count_kv": 2, "context_length": 4096, "vocab_size": 1000}
    pairs = [pair("general.architecture", "string", "llama"), pair("general.file_type", "uint32", 1),
             *(pair(f"llama.{key}", "uint32", value) for key, value in numbers.items())]
    plain = as_gguf(base, "F16")
    file = gguf(pairs, [TensorOf(one.name, one.shape[::-1], 1 if one.type == "F16" else 0, bytes(one.size))
                        for one in plain.weights])
    hub.add("maker/base", plain_files())
    repository, _ = hub.add("quants/base-GGUF", {"b-F16.gguf": file, "b-Q8_0.gguf": file + b" " * 999})
    repository.tags = (TAG, "gguf")
    found = _siblings(hub, base, tmp_path, engine="llama.cpp")["quants/base-GGUF"]
    assert (found.precision, found.refused, found.how) == ("F16", "", "also Q8_0 (3.1 MiB)")
    assert found.write == "FROM hf.co/quants/base-GGUF:F16"


def test_few_of_many_are_read(hub: HubServer, base: Anatomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hub_with_siblings(hub, base)
    monkeypatch.setattr(room, "_MOST_READ", 2)
    found = _siblings(hub, base, tmp_path)
    assert [name for name, one in found.items() if "not looked into" not in one.refused and "loads none" not in
            one.refused] == ["other/base.w4a16", "liar/base-INT8"]


@pytest.mark.parametrize("answer", [b"{}", b"[[[", b'"models"', b'[1, null, {"id": 5, "tags": 7, "downloads": -1}]',
                                    b'[{"id": "../../etc", "tags": ["x"]}]'])
def test_a_hub_that_says_nonsense(answer: bytes, hub: HubServer, base: Anatomy, tmp_path: Path) -> None:
    hub.add("maker/base", plain_files())
    hub.answer = answer
    try:
        found = siblings(Reference.parse("hf.co/maker/base", tmp_path), base, profile("l4"), "vllm", Store(tmp_path))
    except Failure as failure:
        assert failure.code in ("server-broken", "siblings-unknown")
    else:
        assert found.found == () and "nobody says" in str(found)


def test_a_file_has_no_siblings(base: Anatomy, tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        siblings(Reference.parse("./m.gguf", tmp_path), base, profile("l4"), "vllm", Store(tmp_path))
    assert caught.value.code == "siblings-unknown" and "hf.co/" in (caught.value.hint or "")


def test_the_table_in_words() -> None:
    said = ranked("maker/base", [Sibling("a/b", "fp8", 1 << 30, 8.2, how="computed as it is"),
                                 Sibling("a/c", "", refused="it is GGUF: vllm loads none")])
    assert str(said).splitlines() == [
        "made of maker/base, as its tags say:", "a/b  fp8  1.0 GiB  8.20  computed as it is",
        "a/c  ?                   refused: it is GGUF: vllm loads none"]
    assert said.as_json()["siblings"][1]["refused"] and len(said.servable) == 1
