"""Facts of adapters, what vLLM refuses in them, and whether they fit their base; how they are found and fetched."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelkit import models
from modelkit.failure import Failure
from modelkit.models import upkeep
from modelkit.models.adapter_files import adapter_of, fetch_adapter, is_adapter_at, locate_adapter
from modelkit.models.adapters import adapter_facts, presume_fits, refusals
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.convert.folder import huggingface_folder
from modelkit.models.formats.safetensors_writer import SafetensorsWriter
from modelkit.models.reference import Reference
from modelkit.models.store import Store
from modelkit.models.weights import Weights
from tests.unit.models.gguf_files import gguf
from tests.unit.models.small_model import HEAD, HEADS, KV_HEADS, LAYERS, TOKENS, WIDTH, small_model
from tests.unit.models.test_lora import ADAPTER, ALPHA, change

Shapes = dict[str, tuple[int, int]]

QUERIES: Shapes = {f"model.layers.{layer}.self_attn.q_proj": (HEADS * HEAD, WIDTH) for layer in range(LAYERS)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def bases(tmp_path: Path, store: Store) -> dict[str, Weights]:
    base = models.acquire(str(small_model(tmp_path / "m.gguf")), tmp_path, store=store)
    return {"gguf": base, "safetensors": huggingface_folder(base, store)}


def peft(folder: Path, shapes: Shapes, *, rank: int = 4, more: dict[str, tuple[int, ...]] | None = None,
         **config: Any) -> Path:
    """A PEFT folder of zeros."""
    folder.mkdir(parents=True)
    tensors: dict[str, tuple[int, ...]] = dict(more or {})
    for module, (rows, columns) in shapes.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = (rank, columns)
        tensors[f"base_model.model.{module}.lora_B.weight"] = (rows, rank)
    with SafetensorsWriter(folder / "adapter_model.safetensors", {n: ("F32", s) for n, s in tensors.items()}) as out:
        for shape in tensors.values():
            out.write(np.zeros(shape, "<f4").tobytes())
    (folder / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "base_model_name_or_path": "acme/small", **config}))
    return folder


def in_gguf(path: Path, *names: str, **how: Any) -> Path:
    path.write_bytes(gguf([*ADAPTER, ALPHA], [one for name in names for one in change(name, **how)]))
    return path


def here(path: Path, store: Store) -> Weights:
    return fetch_adapter(Reference.parse(str(path), path.parent), store)[1]


def test_the_facts_of_both_forms(tmp_path: Path, store: Store) -> None:
    folder = adapter_facts(here(peft(tmp_path / "a", QUERIES, rank_pattern={"k_proj": 32}), store))
    assert (folder.rank, folder.base, set(folder.changes)) == (32, "acme/small", set(QUERIES))
    file = adapter_facts(here(in_gguf(tmp_path / "a.gguf", "blk.0.attn_q.weight", rank=6), store))
    assert (file.rank, file.architecture) == (6, "llama") and set(file.changes) == {"blk.0.attn_q.weight"}


@pytest.mark.parametrize("adapter", ["gguf", "safetensors"])
@pytest.mark.parametrize("base", ["gguf", "safetensors"])
def test_an_adapter_of_either_form_fits_its_base_in_either_form(
        tmp_path: Path, store: Store, bases: dict[str, Weights], adapter: str, base: str) -> None:
    path = (in_gguf(tmp_path / "a.gguf", "blk.1.attn_q.weight", rows=HEADS * HEAD) if adapter == "gguf"
            else peft(tmp_path / "a", QUERIES))
    presume_fits(adapter_facts(here(path, store)), bases[base], "the adapter")


@pytest.mark.parametrize(("shapes", "says"), [
    ({"model.layers.9.self_attn.q_proj": (HEADS * HEAD, WIDTH)}, "which the base does not have"),
    ({"model.layers.0.mixer.in_proj": (WIDTH, WIDTH)}, "which the base does not have"),
    ({"model.layers.0.self_attn.q_proj": (2048, 2048)}, f"2048 × 2048, and the base's is {HEADS * HEAD} × {WIDTH}"),
    ({"model.layers.0.self_attn.k_proj": (HEADS * HEAD, WIDTH)}, f"the base's is {KV_HEADS * HEAD} × {WIDTH}"),
])
def test_an_adapter_for_another_base_is_refused_with_the_base_that_it_names(
        tmp_path: Path, store: Store, bases: dict[str, Weights], shapes: Shapes, says: str) -> None:
    facts = adapter_facts(here(peft(tmp_path / "a", shapes), store))
    for base in bases.values():
        with pytest.raises(Failure) as caught:
            presume_fits(facts, base, "the adapter ./a (Modelfile:2)")
        assert caught.value.code == "adapter-not-for-base" and says in caught.value.message
        assert "Modelfile:2" in caught.value.message and "acme/small" in str(caught.value.hint)


def test_modules_may_stand_below_another_name_and_a_tied_head_is_the_embedding(
        tmp_path: Path, store: Store, bases: dict[str, Weights]) -> None:
    shapes = {"model.language_model.layers.0.self_attn.q_proj": (HEADS * HEAD, WIDTH), "lm_head": (TOKENS, WIDTH)}
    presume_fits(adapter_facts(here(peft(tmp_path / "a", shapes), store)), bases["safetensors"], "it")


@pytest.mark.parametrize(("rows", "fits"), [(TOKENS, True), (TOKENS + 64, False)])
def test_resized_embeddings_are_refused(tmp_path: Path, store: Store, bases: dict[str, Weights], rows: int,
                                        fits: bool) -> None:
    table = {"base_model.model.model.embed_tokens.weight": (rows, WIDTH)}
    facts = adapter_facts(here(peft(tmp_path / "a", QUERIES, more=table), store))
    assert facts.tables == {"model.embed_tokens": rows}
    if fits:
        presume_fits(facts, bases["safetensors"], "it")
        return
    with pytest.raises(Failure, match="tokens") as caught:
        presume_fits(facts, bases["safetensors"], "it")
    assert "merge" in str(caught.value.hint)


@pytest.mark.parametrize(("config", "says"), [
    ({}, None), ({"use_rslora": True}, None), ({"init_lora_weights": "gaussian"}, None),
    ({"modules_to_save": ["score"]}, None), ({"bias": "none", "use_dora": False}, None),
    ({"use_dora": True}, "DoRA"), ({"bias": "lora_only"}, "biases"), ({"lora_bias": True}, "biases"),
    ({"modules_to_save": ["embed_tokens", "lm_head"]}, "embed_tokens, lm_head"),
    ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"), ({"init_lora_weights": "olora"}, "olora"),
    ({"alora_invocation_tokens": [1, 2]}, "certain tokens"), ({"layer_replication": [[0, 1]]}, "repeats layers"),
    ({"use_qalora": True}, "QALoRA"), ({"use_bdlora": {"x": 1}}, "block-diagonal"),
])
def test_what_vllm_refuses_is_said_before(tmp_path: Path, store: Store, config: dict[str, Any],
                                          says: str | None) -> None:
    found = list(refusals(adapter_facts(here(peft(tmp_path / "a", QUERIES, **config), store))))
    assert len(found) == (says is not None) and all(says in one for one in found if says)


@pytest.mark.parametrize(("damage", "code"), [
    (lambda path: (path / "adapter_config.json").write_text("{}"), "adapter-invalid"),
    (lambda path: (path / "adapter_config.json").write_text('{"r": 4, "peft_type": "IA3"}'), "adapter-invalid"),
    (lambda path: (path / "adapter_config.json").write_text("[" * 100_000), "json-invalid"),
    (lambda path: (path / "adapter_config.json").unlink(), "adapter-missing"),
    (lambda path: (path / "adapter_model.safetensors").unlink(), "adapter-missing"),
    (lambda path: (path / "adapter_model.safetensors").write_bytes(pickle.dumps([0] * 99, 2)), "supply-pickle"),
    (lambda path: (path / "adapter_model.safetensors").write_bytes(b"\x00" * 64), None),
])
def test_a_broken_adapter_is_one_clear_error(tmp_path: Path, store: Store, damage: Any, code: str | None) -> None:
    path = peft(tmp_path / "a", QUERIES)
    damage(path)
    with pytest.raises(Failure) as caught:
        adapter_facts(here(path, store))
    assert code is None or caught.value.code == code


@pytest.mark.parametrize(("shapes", "more"), [
    ({}, {}), ({}, {"base_model.model.x.lora_A.weight": (4, 8)}), (QUERIES, {"base_model.model.x.bias": (4,)}),
    ({}, {"base_model.model.x.lora_A.weight": (4, 8), "base_model.model.x.lora_B.weight": (8, 3)}),
])
def test_tensors_that_are_no_pairs_are_refused(tmp_path: Path, store: Store, shapes: Shapes, more: Any) -> None:
    with pytest.raises(Failure) as caught:
        adapter_facts(here(peft(tmp_path / "a", shapes, more=more), store))
    assert caught.value.code == "adapter-invalid"


def test_a_model_is_no_adapter(tmp_path: Path, store: Store, bases: dict[str, Weights]) -> None:
    for base in bases.values():
        path = Path(base.path)
        assert not is_adapter_at(path)
        with pytest.raises(Failure) as caught:
            here(path, store)
        assert caught.value.code == "adapter-missing"
    assert is_adapter_at(peft(tmp_path / "a", QUERIES)) and is_adapter_at(in_gguf(tmp_path / "a.gguf", "blk.0.x"))


def test_an_adapter_is_no_model(tmp_path: Path, store: Store) -> None:
    paths = [peft(tmp_path / "a", QUERIES), in_gguf(tmp_path / "a.gguf", "blk.0.attn_q.weight")]
    for reference in (*map(str, paths), remembered(paths[0], store, "one").reference):
        with pytest.raises(Failure, match="is a LoRA adapter") as caught:
            models.acquire(reference, tmp_path, store=store)
        assert caught.value.code == "model-is-adapter" and "ADAPTER" in str(caught.value.hint)


def remembered(folder: Path, store: Store, name: str, prefix: str = "") -> Artifact:
    pieces = []
    for file in sorted(folder.iterdir()):
        digest = store.digest(file)
        store.adopt(file, digest)
        pieces.append(Piece(prefix + file.name, digest, file.stat().st_size,
                            "config" if file.suffix == ".json" else "adapter"))
    artifact = Artifact(f"hf://acme/{name}", f"hf://acme/{name}@{'a' * 40}", "adapter", tuple(pieces), "a" * 40)
    store.remember(artifact)
    return artifact


@pytest.mark.parametrize("prefix", ["", "checkpoint-9/"])
def test_an_adapter_of_the_store_is_the_same_as_at_a_path(tmp_path: Path, store: Store, prefix: str) -> None:
    path = peft(tmp_path / "a", QUERIES)
    artifact = remembered(path, store, "one", prefix)
    found = locate_adapter(Reference.parse("hf.co/acme/one", tmp_path), store)
    assert found is not None and found[1].digest == here(path, store).digest == adapter_of(artifact, store).digest
    assert adapter_facts(found[1]) == adapter_facts(here(path, store))
    assert locate_adapter(Reference.parse("hf.co/acme/two", tmp_path), store) is None


def test_each_adapter_of_the_store_is_its_own(tmp_path: Path, store: Store) -> None:
    one = remembered(peft(tmp_path / "a", QUERIES), store, "one")
    two = remembered(peft(tmp_path / "b", QUERIES, rank=8), store, "two")
    assert upkeep.identity(one) == adapter_of(one, store).digest != upkeep.identity(two)
