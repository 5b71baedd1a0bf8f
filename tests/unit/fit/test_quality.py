"""What precisions cost, and which of them hardware serves: figures with their source, no rank without a measurement."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from modelkit.language.quantization import PRECISIONS
from modelkit.models.anatomy import Anatomy, anatomy_of_folder
from modelkit.planning.fit.profiles import profile
from modelkit.planning.fit.quality import cache_cost, finer, quality
from modelkit.planning.fit.quantized import quantized
from modelkit.planning.fit.servable import LEAST, NEAREST, instead_of, servable
from tests.unit.fit.folders import CONFIG, llama_tensors
from tests.unit.models.anatomies import folder_of

SMALL = CONFIG | {"vocab_size": 49152, "hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3}


def _model(config: dict[str, object]) -> Anatomy:
    return anatomy_of_folder(folder_of(config, {name: (kind, list(shape)) for name, (kind, shape)
                                                in llama_tensors(config).items()}))


@pytest.fixture(scope="module")
def new() -> Anatomy:
    return _model(CONFIG | {"vocab_size": 128256})


@pytest.fixture(scope="module")
def old() -> Anatomy:
    return _model(CONFIG | {"vocab_size": 32000})


@pytest.mark.parametrize(("word", "imatrix", "said"), [
    ("Q4_K_M", False, "+0.175 perplexity, mean KLD 0.031, 91.9% same top token (Llama-3-8B, llama.cpp's "
                      "tools/perplexity/README.md)"),
    ("Q4_K_M", True, "+0.151 perplexity, mean KLD 0.028 (Llama-3-8B, llama.cpp's tools/perplexity/README.md, with an "
                     "importance matrix)"),
    ("q8_0", False, "+0.00265 perplexity, mean KLD 0.0014, 97.7% same top token (Llama-3-8B, "),
    ("Q6_K", True, "+0.0217 perplexity"), ("IQ4_XS", False, "with an importance matrix"),
    ("fp8", False, "effectively lossless (Llama-3.1, 8B to 405B, arXiv:2411.02355)"),
    ("w4a16", False, "98.9% of the score in OpenLLM v1 (Llama-3.1-8B-Instruct, RedHatAI's model card; theirs was "
                     "calibrated, QUANTIZE rounds to nearest)"),
])
def test_in_words(word: str, imatrix: bool, said: str, new: Anatomy) -> None:
    assert said in str(quality(word, new, imatrix=imatrix))


def test_the_table_of_the_model_that_is_most_like_it(old: Anatomy, new: Anatomy) -> None:
    assert "Llama-2-7B" in str(quality("Q4_K_M", old)) and "mean KLD 0.013" in str(quality("Q4_K_M", old))
    assert "Llama-3-8B" in str(quality("Q5_K_M", old))  # nobody measured that one there
    large = replace(old, layers=old.layers * 40)
    assert str(quality("Q4_K_M", large)) == "+0.0412 perplexity (Llama-2-70B, llama.cpp's tools/perplexity/README.md)"


def test_a_mixture_that_is_another_one_says_so(new: Anatomy) -> None:
    small = _model(SMALL)
    assert "here most weights would be Q5_0" in str(quality("Q4_K_M", quantized(small, "Q4_K_M")))
    assert "here" not in str(quality("Q4_1", quantized(small, "Q4_1")))
    assert "here" not in str(quality("Q4_K_M", quantized(new, "Q4_K_M")))


@pytest.mark.parametrize("word", ["awq", "MXFP4", "TQ1_0", "F32", "none", "no-word"])
def test_what_nobody_measured(word: str, new: Anatomy) -> None:
    assert quality(word, new) is None


def test_ranks_are_of_one_table(new: Anatomy, old: Anatomy) -> None:
    assert finer(quality("Q6_K", new), quality("Q4_K_M", new)) is True
    assert finer(quality("Q4_0", new), quality("IQ4_XS", new, imatrix=True)) is False
    assert finer(quality("gptq", new), quality("int8", new)) is False
    for one, other in (("fp8", "Q8_0"), ("fp8", "int8"), ("awq", "gptq"), ("nvfp4", "w4a16")):
        assert finer(quality(one, new), quality(other, new)) is None, (one, other)
    assert finer(quality("Q4_K_M", old), quality("Q5_K_M", old)) is None  # another model's


def test_more_bits_of_one_kind_never_cost_more(new: Anatomy) -> None:
    for kind in (["Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K"],
                 ["IQ4_NL", "IQ4_XS", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS",
                  "IQ1_M", "IQ1_S"]):
        costs = [quality(word, new) for word in kind]
        assert all(finer(one, other) for one, other in pairwise(costs))


def test_types_of_the_cache() -> None:
    assert "mean KLD 0.001" in (cache_cost("q8_0") or "") and "Gemma-3-4B" in (cache_cost("q4_0") or "")
    assert cache_cost("fp8") is None and cache_cost("f16") is None


@pytest.mark.parametrize(("hardware", "yes", "no"), [
    ("v100", "gptq", "fp8 int8 awq w4a16 nvfp4 mxfp4"), ("t4", "fp8 int8 awq gptq w4a16 nvfp4", "mxfp4"),
    ("a100-80gb", "fp8 int8 awq gptq w4a16 nvfp4 mxfp4", ""), ("b200", "fp8 nvfp4 mxfp4", ""),
    ("mi300x", "fp8 awq gptq w4a16 mxfp4", "nvfp4"), ("m4-max", "", "fp8 int8 awq gptq w4a16 nvfp4 mxfp4"),
    ("cpu:ddr5-5600x2", "fp8 int8 awq", "nvfp4 mxfp4")])
def test_who_serves_what(hardware: str, yes: str, no: str) -> None:
    found = servable(profile(hardware))
    assert all(found[word] and found[word].how for word in yes.split())
    assert not any(found[word] for word in no.split()) and all(found[word].refused for word in no.split())


def test_how_it_is_computed() -> None:
    assert "unpacked" in servable(profile("a100"))["fp8"].how and "as it is" in servable(profile("l4"))["fp8"].how
    assert "avx512" in servable(profile("cpu:ddr5-5600x2"))["w4a16"].how
    assert set(servable(profile("l4"), "llama.cpp")) == {name for name, row in PRECISIONS.items() if row.form == "gguf"}


def test_what_stands_in_for_a_gguf_type() -> None:
    assert [one.precision for one in instead_of("Q8_0", profile("l4"))] == ["fp8", "int8"]
    assert [one.precision for one in instead_of("q4_k_m", profile("v100"))] == ["gptq"]
    assert instead_of("Q2_K", profile("l4")) == () == instead_of("none", profile("l4"))
    assert set(NEAREST) <= set(PRECISIONS) and {word for words in NEAREST.values() for word in words} <= set(LEAST)
