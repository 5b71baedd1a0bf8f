"""Same model? No difference between two forms of one, and every altered thing found and named."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelkit import models
from modelkit.failure import Failure
from modelkit.models.convert.tokenizer import tokenizer_json
from modelkit.models.convert.vocabulary import read_vocabulary
from modelkit.models.formats.access import Access, LocalFile
from modelkit.models.formats.checkpoint import local_files
from modelkit.models.formats.gguf_reader import read_header
from modelkit.models.same import compare, presume_same
from modelkit.models.store import Store
from modelkit.models.traits import divisors, merges
from tests.unit.models.gguf_files import gguf, pair
from tests.unit.models.make_token_ids import small_spm
from tests.unit.models.small_model import SAID, TOKENS, WIDTH, pairs, small_model, tensor, tensors
from tests.unit.models.test_safetensors import raw
from tests.unit.models.test_splits import small_split

TYPES = [3, 3, 3, 4, 4, *[1] * (TOKENS - 5)]


def folder_of(path: Path, tmp_path: Path) -> Path:
    """A Hugging Face folder made of a GGUF, to write into."""
    store = Store(tmp_path / "models")
    made = Path(models.huggingface_folder(models.acquire(str(path), tmp_path, store=store), store).path)
    own = tmp_path / f"folder of {path.stem}"
    own.mkdir()
    for file in made.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    return own


def altered(path: Path, *more: bytes, drop: str = "", **hyperparameters: Any) -> Path:
    """The small model with other metadata: a pair takes the place of the one with its key."""
    said = [*more, *pairs(**hyperparameters)]
    keys = [one[8:8 + int.from_bytes(one[:8], "little")] for one in said]
    kept = [one for place, one in enumerate(said) if keys[place] not in keys[:place] and keys[place] != drop.encode()]
    path.write_bytes(gguf(kept, tensors()))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_model(tmp_path / "m.gguf")


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    return folder_of(model, tmp_path)


def test_two_forms_of_one_model(model: Path, folder: Path) -> None:
    forms: list[Any] = [model, folder, LocalFile(model), local_files(folder)]
    for left in forms:
        for right in forms:
            assert compare(left, right) == ()
            presume_same(left, right)


@pytest.mark.parametrize("hyperparameters", [
    {"rope__scaling__type": "linear", "rope__scaling__factor": 4.0}, {"attention__key_length": 16},
    {"rope__scaling__type": "yarn", "rope__scaling__factor": 4.0, "rope__scaling__original_context_length": 64},
    {"rope__freq_base": 500000.0}])
def test_forms_with_other_numbers(hyperparameters: dict[str, Any], tmp_path: Path) -> None:
    path = small_model(tmp_path / "m.gguf", **hyperparameters)
    assert compare(path, folder_of(path, tmp_path)) == ()


def test_an_output_of_its_own(tmp_path: Path) -> None:
    path = small_model(tmp_path / "m.gguf", more={"output.weight": (TOKENS, WIDTH)})
    assert compare(path, folder_of(path, tmp_path)) == ()


def json_file(name: str, change: Callable[[Any], object]) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        said = json.loads((folder / name).read_text())
        change(said)
        (folder / name).write_text(json.dumps(said))

    return write


def config(**said: Any) -> Callable[[Path], object]:
    return json_file("config.json", lambda config: config.update(said))


def tokenizer(change: Callable[[Any], object]) -> Callable[[Path], object]:
    return json_file("tokenizer.json", change)


def another(role: str) -> Callable[[Path], object]:
    """Every file names the same other token for a role."""
    def write(folder: Path) -> None:
        config(**{f"{role}_token_id": 7})(folder)
        json_file("generation_config.json", lambda said: said.update({f"{role}_token_id": [7]}))(folder)
        json_file("tokenizer_config.json", lambda said: said.pop(f"{role}_token"))(folder)

    return write


def renamed(said: Any) -> None:
    vocabulary = said["model"]["vocab"]
    word = next(word for word, number in vocabulary.items() if number == 50)
    vocabulary["never seen"] = vocabulary.pop(word)


def swapped(said: Any) -> None:
    said["model"]["merges"][3:5] = said["model"]["merges"][4:2:-1]


def stored(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Another header of the tensors; what they hold is not looked at."""
    def write(folder: Path) -> None:
        file = folder / "model.safetensors"
        data = file.read_bytes()
        said = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
        change(said)
        end = 0
        for name, one in said.items():
            if name != "__metadata__":
                size = 2
                for axis in one["shape"]:
                    size *= axis
                one["data_offsets"] = [end, end := end + size]
        file.write_bytes(raw(json.dumps(said), bytes(end)))

    return write


def reshaped(said: dict[str, Any]) -> None:
    said["model.layers.1.mlp.up_proj.weight"]["shape"][0] += 1


ALTERED_FOLDERS: dict[str, tuple[Callable[[Path], object], dict[str, bool]]] = {
    # what was altered: (how, the aspects that must be named and whether they are severe)
    "layers": (config(num_hidden_layers=3), {"layers": True}),
    "hidden": (config(hidden_size=128), {"hidden size": True}),
    "heads": (config(num_attention_heads=8), {"attention heads": True}),
    "kv heads": (config(num_key_value_heads=4), {"key-value heads": True}),
    "kv heads by default": (config(num_key_value_heads=None), {"key-value heads": True}),
    "head width": (config(head_dim=32), {"head width": True}),
    "ffn": (config(intermediate_size=97), {"feed-forward size": True}),
    "experts": (config(num_local_experts=8, num_experts_per_tok=2), {"experts": True, "experts used": True}),
    "theta": (config(rope_theta=10001.0), {"rope theta": True}),
    "theta, the new way": (json_file("config.json", lambda said: (
        said.pop("rope_theta"), said.update(rope_parameters={"rope_type": "default", "rope_theta": 5e5}))),
        {"rope theta": True}),
    "scaling": (config(rope_scaling={"rope_type": "linear", "factor": 2.0}), {"rope scaling": True}),
    "dynamic scaling": (config(rope_scaling={"type": "dynamic", "factor": 2.0}), {"rope scaling": True}),
    "epsilon": (config(rms_norm_eps=1e-6), {"norm epsilon": True}),
    "softcap": (config(final_logit_softcapping=30.0), {"output softcap": True}),
    "context": (config(max_position_embeddings=256), {"context length": False}),
    "architecture": (config(model_type="qwen2"), {"architecture": True}),
    "one token": (tokenizer(renamed), {"vocabulary": True}),
    "an added token": (tokenizer(lambda said: said["added_tokens"][3].update(content="<other>")), {"vocabulary": True}),
    "a token more": (tokenizer(lambda said: said["added_tokens"].append({"id": TOKENS, "content": "<more>"})),
                     {"vocabulary": True}),
    "merges swapped": (tokenizer(swapped), {"merges": True}),
    "a merge less": (tokenizer(lambda said: said["model"]["merges"].pop()), {"merges": True}),
    "bos": (another("bos"), {"bos token": True}),
    "pad": (another("pad"), {"pad token": False}),
    "eos": (another("eos"), {"eos token": True}),
    "template": (lambda folder: (folder / "chat_template.jinja").write_text("{{ other }}"), {"chat template": False}),
    "no template": (lambda folder: (folder / "chat_template.jinja").unlink(), {"chat template": False}),
    "a tensor's shape": (stored(reshaped), {"tensor shapes": True}),
    "a tensor less": (stored(lambda said: said.pop("model.norm.weight")), {"tensors": True}),
    "a tensor more": (stored(lambda said: said.update({"model.x": {"dtype": "BF16", "shape": [2]}})),
                      {"tensors": True}),
    "an output": (lambda folder: (config(tie_word_embeddings=False)(folder), stored(lambda said: said.update(
        {"lm_head.weight": {"dtype": "BF16", "shape": [TOKENS, WIDTH]}}))(folder)), {"tied embeddings": True}),
}


@pytest.mark.parametrize("case", ALTERED_FOLDERS)
def test_an_altered_folder(case: str, model: Path, folder: Path) -> None:
    alter, expected = ALTERED_FOLDERS[case]
    alter(folder)
    found = {one.aspect: one.severe for one in compare(model, folder)}
    assert found == expected
    assert {one.aspect: one.severe for one in compare(folder, model)} == expected
    if any(expected.values()):
        with pytest.raises(Failure) as failed:
            presume_same(model, folder)
        assert failed.value.code == "not-the-same-model"
        assert failed.value.data["differences"] == [aspect for aspect, severe in expected.items() if severe]
        assert len(failed.value.detail) == len(failed.value.data["differences"])
    else:
        presume_same(model, folder)


ALTERED_FILES: dict[str, tuple[Callable[[Path], Path], dict[str, bool]]] = {
    "a token": (lambda path: altered(path, pair("tokenizer.ggml.tokens", "[string]", [
        *SAID["tokens"][:-1], "<other>"])), {"vocabulary": True}),
    "merges": (lambda path: altered(path, pair("tokenizer.ggml.merges", "[string]", SAID["merges"][::-1])),
               {"merges": True}),
    "theta": (lambda path: altered(path, rope__freq_base=20000.0), {"rope theta": True}),
    "epsilon": (lambda path: altered(path, attention__layer_norm_rms_epsilon=1e-6), {"norm epsilon": True}),
    "context": (lambda path: altered(path, context_length=256), {"context length": False}),
    "eos": (lambda path: altered(path, pair("tokenizer.ggml.eos_token_id", "uint32", 9)), {"eos token": True}),
    "eot": (lambda path: altered(path, pair("tokenizer.ggml.eot_token_id", "uint32", 9)), {"eot token": False}),
    "bos": (lambda path: altered(path, pair("tokenizer.ggml.bos_token_id", "uint32", 9)), {"bos token": True}),
    "bos rule": (lambda path: altered(path, pair("tokenizer.ggml.add_bos_token", "bool", True)), {"bos rule": True}),
    "template": (lambda path: altered(path, pair("tokenizer.chat_template", "string", "{{ other }}")),
                 {"chat template": False}),
    "spaces around the template": (lambda path: altered(path, pair(
        "tokenizer.chat_template", "string", "\n{% for m in messages %}{{ m.content }}{% endfor %}\n")), {}),
    "another quantization": (lambda path: altered(path, pair("general.file_type", "uint32", 7)), {}),
}


@pytest.mark.parametrize("case", ALTERED_FILES)
def test_an_altered_file(case: str, model: Path, folder: Path, tmp_path: Path) -> None:
    alter, expected = ALTERED_FILES[case]
    path = alter(tmp_path / "other.gguf")
    assert {one.aspect: one.severe for one in compare(path, folder)} == expected
    if case != "bos rule":  # a file that does not say is not another one
        assert {one.aspect: one.severe for one in compare(path, model)} == expected


def test_tokens_that_only_fill_the_vocabulary(folder: Path, tmp_path: Path) -> None:
    """Conversion to GGUF names the rows of the embedding that have no token."""
    types = [*TYPES[:-2], 5, 5]
    path = altered(tmp_path / "n.gguf", pair("tokenizer.ggml.token_type", "[int32]", types))
    tokenizer(lambda said: [said["model"]["vocab"].pop(word) for word in SAID["tokens"][-2:]])(folder)
    assert "vocabulary" not in {one.aspect for one in compare(path, folder)}
    assert "vocabulary" in {one.aspect for one in compare(tmp_path / "m.gguf", folder)}


@pytest.mark.parametrize(("rows", "expected"), [(TOKENS + 64, []), (TOKENS - 1, ["tensor shapes"])])
def test_rows_of_an_embedding_without_tokens(rows: int, expected: list[str], model: Path, folder: Path) -> None:
    stored(lambda said: said["model.embed_tokens.weight"].update(shape=[rows, WIDTH]))(folder)
    assert [one.aspect for one in compare(model, folder)] == expected


@pytest.mark.parametrize("prefix", ["model.language_model.", "language_model.model."])
def test_the_language_model_inside_another(prefix: str, model: Path, folder: Path) -> None:
    stored(lambda said: [said.update({name.replace("model.", prefix, 1): said.pop(name)})
                         for name in list(said) if name.startswith("model.")])(folder)
    stored(lambda said: said.update({"vision_tower.x": {"dtype": "BF16", "shape": [2]}}))(folder)
    whole = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"model_type": "llava", "text_config": whole}))
    assert compare(model, folder) == ()


def test_packed_weights_have_shapes_of_their_own(model: Path, folder: Path) -> None:
    def pack(said: dict[str, Any]) -> None:
        for name in [name for name in said if name.endswith("_proj.weight")]:
            one = said.pop(name)
            stem = name.removesuffix(".weight")
            said[f"{stem}.weight_packed"] = {"dtype": "BF16", "shape": [one["shape"][0], 8]}
            said[f"{stem}.weight_scale"] = {"dtype": "BF16", "shape": [one["shape"][0], 1]}

    stored(pack)(folder)
    assert compare(model, folder) == ()


def test_llama_3_positions(tmp_path: Path) -> None:
    rule = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    factors = divisors(rule, 10000.0, 16)
    assert factors is not None
    one = tensor("rope_freqs.weight", (8,), "F32")
    one = type(one)(one.name, one.shape, one.type, struct.pack("<8f", *factors[1:]))
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(pairs(), [*tensors(), one]))
    folder = folder_of(path, tmp_path)
    assert json.loads((folder / "config.json").read_text())["rope_scaling"]["rope_type"] == "llama3"
    assert compare(path, folder) == ()
    config(rope_scaling=rule | {"rope_type": "llama3", "factor": 32.0})(folder)
    assert [one.aspect for one in compare(path, folder)] == ["rope scaling"]
    config(rope_scaling=None)(folder)
    assert [one.aspect for one in compare(path, folder)] == ["rope scaling"]


def test_sentencepiece(tmp_path: Path) -> None:
    """Pieces are spelled the same in both forms; the ranks of merges are only in one."""
    path, folder = tmp_path / "m.gguf", tmp_path / "folder"
    path.write_bytes(small_spm(SAID["pieces"], True))
    folder.mkdir()
    (folder / "tokenizer.json").write_text(tokenizer_json(read_vocabulary(read_header(path))))
    (folder / "model.safetensors").write_bytes(raw("{}"))
    assert not {"vocabulary", "merges"} & {one.aspect for one in compare(path, folder)}
    tokenizer(renamed)(folder)
    assert "vocabulary" in {one.aspect for one in compare(path, folder)}


def test_an_architecture_without_names_for_its_tensors(model: Path, folder: Path, tmp_path: Path) -> None:
    path = altered(tmp_path / "other.gguf", architecture="unheard")
    found = {one.aspect: one for one in compare(path, folder)}
    assert not found["tensors"].severe
    assert "not compared" in found["tensors"].meaning


def test_both_spellings_of_merges() -> None:
    assert merges(["a b", "Ġ  x", ["Ġ", "b"], [" ", "b"], ["a"], 3]) == ["a b", "Ġ  x", "Ġ b", "Ġ b", "", ""]


@pytest.mark.parametrize(("name", "data", "code"), [
    ("config.json", b"[" * 100_000, "json-invalid"), ("tokenizer.json", b"{}", "tokenizer-unknown"),
    ("tokenizer.json", b'{"model":{"vocab":7}}', "tokenizer-unknown"),
    ("model.safetensors", b"", "safetensors-invalid"),
])
def test_what_can_t_be_read(name: str, data: bytes, code: str, model: Path, folder: Path) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(Failure) as failed:
        compare(model, folder)
    assert failed.value.code == code


def test_values_of_other_kinds_are_not_said(model: Path, folder: Path) -> None:
    config(num_hidden_layers="2", rope_theta=None, rope_scaling=[1], eos_token_id={"a": 1}, head_dim=True)(folder)
    tokenizer(lambda said: said.update(added_tokens=[3, {"id": "x"}, *said["added_tokens"]]))(folder)
    json_file("tokenizer_config.json", lambda said: said.update(bos_token=3, add_bos_token="yes"))(folder)
    assert not [one for one in compare(model, folder) if one.severe]


def test_access_is_all_that_is_needed(model: Path, folder: Path) -> None:
    class Far:
        name, size = "far.gguf", model.stat().st_size

        def read_at(self, offset: int, count: int) -> bytes:
            with model.open("rb") as file:
                file.seek(offset)
                return file.read(count)

    far: Access = Far()
    assert compare(far, folder) == ()


def test_a_split_model(folder: Path, tmp_path: Path) -> None:
    paths = small_split(tmp_path)
    parts = tuple(LocalFile(path) for path in paths)
    assert compare(paths[1], folder) == compare(folder, parts) == ()
    with pytest.raises(Failure) as failed:
        presume_same(parts, small_model(tmp_path / "n.gguf", rope__freq_base=5e5))
    assert "rope theta differs" in failed.value.message
    assert {one.aspect for one in compare(parts[0], folder)} == {"tensors"}
