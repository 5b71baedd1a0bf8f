"""Which files of a repository are the model, from lists of names alone."""

from __future__ import annotations

import pytest

from modelkit.failure import Failure
from modelkit.models.sources.picking import Listed, Picked, pick_files

REPO = "hf.co/org/repo"
TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
PARTS = [f"UD-Q4_K_XL/m-UD-Q4_K_XL-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
QUANTIZED = ["README.md", "config.json", "m-Q4_0.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "m-IQ4_XS.gguf", "m-BF16.gguf",
             *PARTS, "mmproj-m-F16.gguf", "imatrix_Q4_K_M.gguf", "Q6_K/m-Q6_K-00001-of-00002.gguf",
             "Q6_K/m-Q6_K-00002-of-00002.gguf"]
MANY = ["llama-7b.q4_k_m.gguf", "llama-13b.q4_k_m.gguf", "llama-7b.q8_0.gguf"]


def pick(names: list[str], what: str = "", index: dict[str, str] | None = None) -> Picked:
    listing = [Listed(name, 1000 + number, "0" * 64) for number, name in enumerate(names)]
    return pick_files(listing, what, REPO, lambda file: index or {})


def paths(picked: Picked, role: str = "weights") -> list[str]:
    return [file.path for file, its in picked.files if its == role]


@pytest.mark.parametrize(("names", "what", "found", "again"), [
    (QUANTIZED, "", ["m-Q4_K_M.gguf"], "Q4_K_M"), (QUANTIZED, "q8_0", ["m-Q8_0.gguf"], "Q8_0"),
    (QUANTIZED, "Q4_0", ["m-Q4_0.gguf"], "Q4_0"), (QUANTIZED, "iq4_xs", ["m-IQ4_XS.gguf"], "IQ4_XS"),
    (QUANTIZED, "UD-Q4_K_XL", PARTS, "UD-Q4_K_XL"), (QUANTIZED, "q4_k_xl", PARTS, "UD-Q4_K_XL"),
    (QUANTIZED, "Q6_K", QUANTIZED[-2:], "Q6_K"), (QUANTIZED, "m-Q8_0.gguf", ["m-Q8_0.gguf"], "Q8_0"),
    (QUANTIZED, "m-q8_0", ["m-Q8_0.gguf"], "Q8_0"), (QUANTIZED, PARTS[1], PARTS, "UD-Q4_K_XL"),
    (QUANTIZED, "bf16", ["m-BF16.gguf"], "BF16"), (["only.gguf"], "", ["only.gguf"], "only.gguf"),
    (["q8/only.gguf"], "q8", ["q8/only.gguf"], "Q8"), (MANY, "llama-7b.q4_k_m", [MANY[0]], MANY[0]),
    (MANY, "q8_0", [MANY[2]], "Q8_0"), (["m-Q4_K_M_v2.gguf", "m-f16.gguf"], "", ["m-Q4_K_M_v2.gguf"], "Q4_K_M"),
    (["Phi-3-mini-4k-q4.gguf", "Phi-3-mini-4k-fp16.gguf"], "Q4", ["Phi-3-mini-4k-q4.gguf"], "Q4"),
    (["gpt-oss-mxfp4.gguf"], "MXFP4", ["gpt-oss-mxfp4.gguf"], "MXFP4"),
    (["a/b-Q2_K_L.gguf", "a/b-Q2_K.gguf"], "q2_k", ["a/b-Q2_K.gguf"], "Q2_K"),
])
def test_gguf(names: list[str], what: str, found: list[str], again: str) -> None:
    picked = pick(names, what)
    assert (picked.form, paths(picked), picked.pick) == ("gguf", found, again)
    assert pick(names, again) == picked


@pytest.mark.parametrize(("names", "what", "code", "said"), [
    (QUANTIZED, "Q4_K_S", "quantization-missing", "did you mean `hf.co/org/repo:Q4_K_M`"),
    (QUANTIZED, "zzz", "quantization-missing", "or another one"),
    (QUANTIZED, "mmproj-m-F16.gguf", "quantization-missing", "or another one"),
    (MANY, "", "quantization-ambiguous", "more than one of them is `Q4_K_M`"),
    (MANY, "Q4_K_M", "quantization-ambiguous", "has 2 models that `Q4_K_M` may mean"),
    (["m-Q5_0.gguf", "m-Q8_0.gguf"], "", "quantization-ambiguous", "write `hf.co/org/repo:Q5_0`"),
    (["model.safetensors"], "Q8_0", "quantization-missing", "has no GGUF files"),
    (PARTS[1:], "", "model-incomplete", "2 of 3 parts"), (["pytorch_model.bin"], "", "pickle-only", "pickles only"),
    (["unet/model.safetensors", "README.md"], "", "model-missing", "it has README.md, unet"),
    (["mmproj.gguf"], "", "model-missing", "neither safetensors"), ([], "", "model-missing", "nothing"),
])
def test_what_can_not_be_picked(names: list[str], what: str, code: str, said: str) -> None:
    with pytest.raises(Failure) as failed:
        pick(names, what)
    assert failed.value.code == code
    assert said in f"{failed.value.message} {failed.value.hint}"


def test_what_there_is_is_listed_with_sizes() -> None:
    with pytest.raises(Failure) as failed:
        pick(QUANTIZED, "Q1")
    assert "Q4_K_M          0.00 GB  m-Q4_K_M.gguf" in failed.value.detail
    assert not any("mmproj" in line or "imatrix" in line for line in failed.value.detail)


SHARDS = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(("names", "index", "weights"), [
    (["config.json", "model.safetensors", "pytorch_model.bin", "model.fp16.safetensors", *TOKENIZER], None,
     ["model.safetensors"]),
    ([INDEX, *SHARDS.values(), "consolidated.safetensors"], SHARDS, list(SHARDS.values())),
    (list(SHARDS.values()), None, list(SHARDS.values())),
    (["consolidated.safetensors", "params.json", "tekken.json"], None, ["consolidated.safetensors"]),
    (["model.safetensors", "consolidated.safetensors"], None, ["model.safetensors"]),
    (["weights.safetensors", "adapter_model.safetensors"], None, ["weights.safetensors"]),
    (["model.safetensors", "m-Q4_K_M.gguf"], None, ["model.safetensors"]),
    ([INDEX, "shards/one.safetensors", "model.safetensors"], {"a": "shards/one.safetensors"},
     ["shards/one.safetensors"]),
])
def test_safetensors(names: list[str], index: dict[str, str] | None, weights: list[str]) -> None:
    picked = pick(names, "", index)
    assert (picked.form, paths(picked), picked.pick) == ("safetensors", weights, "")
    assert not [file.path for file, _ in picked.files if file.path.endswith((".bin", ".gguf", ".py"))]


def test_what_comes_with_safetensors() -> None:
    picked = pick(["model.safetensors", "config.json", "generation_config.json", *TOKENIZER, "chat_template.jinja",
                   "LICENSE", "README.md", "modeling_x.py", "onnx/model.onnx", "original/params.json", "tekken.json",
                   "runs/config.json", "training_args.bin", ".gitattributes"])
    assert {(file.path, role) for file, role in picked.files if role != "weights"} == {
        ("config.json", "config"), ("generation_config.json", "config"), *((name, "config") for name in TOKENIZER),
        ("chat_template.jinja", "template"), ("LICENSE", "license")}


def test_an_adapter() -> None:
    picked = pick(["adapter_config.json", "adapter_model.safetensors", "README.md"])
    assert (picked.form, paths(picked, "adapter")) == ("adapter", ["adapter_model.safetensors"])


@pytest.mark.parametrize(("index", "code"), [
    ({"a": "../../etc/x.safetensors"}, "path-escapes"), ({"a": "/x.safetensors"}, "path-escapes"),
    ({"a": "gone.safetensors"}, "model-incomplete"), ({"a": "x.bin"}, "model-incomplete"), ({}, "model-incomplete"),
])
def test_a_hostile_index(index: dict[str, str], code: str) -> None:
    with pytest.raises(Failure) as failed:
        pick([INDEX, "model.safetensors", "x.bin"], "", index)
    assert failed.value.code == code
