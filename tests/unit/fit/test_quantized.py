"""Sizes in another precision: against the dry run of llama.cpp's own quantizer, its published table, and real files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS
from modelkit.models.anatomy import Anatomy, anatomy_of_header
from modelkit.models.convert.dry_run import dry_runs, kept_dry_runs
from modelkit.models.convert.tool import Tool
from modelkit.models.formats.gguf_reader import read_header
from modelkit.planning.fit.quantized import quantized, typed
from modelkit.runtime.environments import find_tool
from tests.unit.fit.odd_shapes import ODD
from tests.unit.fit.shapes import SHAPES, write

WORDS = [name for name, row in PRECISIONS.items() if row.form == "gguf"]
asks_llama_cpp = pytest.mark.live_llamacpp
FAMILIES: dict[str, Callable[[Path], Path]] = SHAPES | ODD


WITH_IMATRIX = ("llama-8b", "falcon-7b", "mixtral", "qwen2-ungrouped")


@pytest.fixture(scope="module")
def quantizer() -> Tool:
    found = find_tool("quantizer")
    assert found is not None, "llama-cpp-python is not here: modelkit engine install llama.cpp"
    return Tool("quantizer", "0.3.36", found.python)


@asks_llama_cpp
@pytest.mark.parametrize(("family", "imatrix"), [
    *((family, False) for family in FAMILIES), *((family, True) for family in WITH_IMATRIX)])
def test_every_tensor_as_the_quantizer_itself_would_make_it(family: str, imatrix: bool, quantizer: Tool,
                                                            tmp_path: Path) -> None:
    header = read_header(FAMILIES[family](tmp_path / "model.gguf"))
    anatomy, said = anatomy_of_header([header]), dry_runs([header], WORDS, quantizer, imatrix=imatrix)
    assert set(said) == set(WORDS)
    for word, dry in said.items():
        ours, theirs = quantized(anatomy, word, imatrix=imatrix), typed(anatomy, dry.types, word)
        assert dry.types.keys() == {one.name for one in anatomy.weights}, (word, dry.refused)
        assert {one.name: one.type for one in ours.weights} == dict(dry.types), word
        assert ours.weight_bytes == theirs.weight_bytes and ours.file_size == theirs.file_size, word


def _llama_8b(folder: Path) -> Anatomy:
    return anatomy_of_header([read_header(SHAPES["llama-8b"](folder / "model.gguf"))])


README = {  # GiB of Llama-3.1-8B, from tools/quantize/README.md of llama.cpp; IQ1, IQ2 and IQ3 with an imatrix
    "IQ1_S": 1.87, "IQ1_M": 2.01, "IQ2_XXS": 2.23, "IQ2_XS": 2.42, "IQ2_S": 2.56, "IQ2_M": 2.74, "IQ3_XXS": 3.04,
    "IQ3_XS": 3.27, "IQ3_S": 3.42, "IQ3_M": 3.52, "IQ4_XS": 4.17, "IQ4_NL": 4.38, "Q2_K_S": 2.78, "Q2_K": 2.95,
    "Q3_K_S": 3.41, "Q3_K_M": 3.74, "Q3_K_L": 4.02, "Q4_K_S": 4.36, "Q4_K_M": 4.58, "Q5_K_S": 5.21, "Q5_K_M": 5.33,
    "Q6_K": 6.14, "Q8_0": 7.95, "F16": 14.96}


@pytest.mark.parametrize(("word", "gib"), README.items())
def test_the_published_table(word: str, gib: float, llama: Anatomy) -> None:
    size = quantized(llama, word, imatrix=word.startswith(("IQ1", "IQ2", "IQ3"))).weight_bytes / 2**30
    assert size == pytest.approx(gib, abs=0.0101)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Anatomy:
    return _llama_8b(tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize(("word", "mib"), [
    ("F16", 15317.0), ("Q8_0", 8137.6), ("Q6_K", 6283.0), ("Q5_K_M", 5459.9), ("Q4_K_M", 4685.3), ("Q4_1", 4885.1),
    ("Q3_K_M", 3825.3), ("IQ3_XXS", 3229.5), ("Q2_K", 3024.4), ("IQ1_S", 1918.6)])
def test_sizes_of_an_8b_without_an_imatrix(word: str, mib: float, llama: Anatomy) -> None:
    assert quantized(llama, word).weight_bytes / 2**20 == pytest.approx(mib, abs=0.05)


@asks_llama_cpp
def test_the_quantizer_is_asked_once(quantizer: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    headers = [read_header(ODD["odd-columns"](tmp_path / "model.gguf"))]
    gone = Tool("quantizer", "0.3.36", str(tmp_path / "no-python"))
    assert kept_dry_runs(headers, ["Q8_0"], gone) == {}
    first = kept_dry_runs(headers, ["Q8_0", "fp8"], quantizer)
    assert set(first) == {"Q8_0"} and set(first["Q8_0"].types.values()) == {"F16", "F32"}
    assert kept_dry_runs(headers, ["Q8_0"], gone) == first
    assert kept_dry_runs(headers, ["Q8_0"], gone, imatrix=True) == {}
    assert str(first["Q8_0"]) == "dry run of llama.cpp's own quantizer (0.3.36)"
    with pytest.raises(Failure) as caught:
        dry_runs(headers, ["Q8_0"], gone)
    assert caught.value.code == "tool-not-startable"


@asks_llama_cpp
def test_a_model_that_the_quantizer_does_not_know(quantizer: Tool, tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", "nonesuch", {"block_count": 1}, iter([("token_embd.weight", (64, 320))]),
                 vocabulary=320)
    said = dry_runs([read_header(path)], ["Q8_0"], quantizer)["Q8_0"]
    assert "nonesuch" in said.refused and not said.types
