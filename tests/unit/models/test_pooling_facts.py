"""What a model's files say about embeddings and reranking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelkit.models.convert.folder import files_of
from modelkit.models.formats.access import LocalFile
from modelkit.models.pooling_facts import PoolingFacts, of_folder

BERT = {"model_type": "bert", "max_position_embeddings": 512, "architectures": ["BertModel"]}
STEPS = [{"path": "", "type": "sentence_transformers.models.Transformer"},
         {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
         {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]


def facts(config: dict[str, Any], **files: Any) -> PoolingFacts:
    here = {name.replace("__", "/") + ".json": value for name, value in files.items()}

    class Said:
        def __init__(self, value: Any) -> None:
            self.raw = json.dumps(value).encode()
            self.name, self.size = "file.json", len(self.raw)

        def read_at(self, offset: int, count: int) -> bytes:
            return self.raw[offset:offset + count]

    return of_folder(lambda name: Said(here[name]) if name in here else None, config)


@pytest.mark.parametrize(("said", "pooling"), [
    ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
    ({"pooling_mode_cls_token": True}, "cls"), ({"pooling_mode_lasttoken": True}, "last"),
    ({"pooling_mode": "mean"}, "mean"), ({"pooling_mode": "lasttoken"}, "last"),
    ({"pooling_mode_max_tokens": True}, None), ({"pooling_mode": ["mean"]}, None), ([], None)])
def test_pooling_is_as_sentence_transformers_writes_it(said: Any, pooling: str | None) -> None:
    assert facts(BERT, modules=STEPS, **{"1_Pooling__config": said}).pooling == pooling


def test_an_input_is_as_long_as_its_maker_allows() -> None:
    assert facts(BERT).max_input == 512
    assert facts(BERT, sentence_bert_config={"max_seq_length": 256}).max_input == 256
    assert facts(BERT, sentence_bert_config={"max_seq_length": 1024}).max_input == 512
    assert facts(BERT, sentence_bert_config={"max_seq_length": None}).max_input == 512


def test_some_models_count_positions_from_behind_their_padding() -> None:
    roberta = {"model_type": "xlm-roberta", "max_position_embeddings": 8194, "pad_token_id": 1}
    assert facts(roberta).max_input == 8192


@pytest.mark.parametrize(("config", "matryoshka"), [
    ({}, False), ({"is_matryoshka": True}, True), ({"is_matryoshka": "yes"}, False),
    ({"matryoshka_dimensions": [64, 128]}, (64, 128)), ({"matryoshka_dimensions": []}, False)])
def test_which_vectors_may_be_cut(config: dict[str, Any], matryoshka: Any) -> None:
    assert facts(BERT | config).matryoshka == matryoshka


def test_steps_that_nothing_carries_are_named() -> None:
    steps = [*STEPS[:2], {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]
    assert facts(BERT, modules=steps).modules == ("Dense",)
    assert facts(BERT, modules=STEPS).modules == ()


@pytest.mark.parametrize(("config", "encoder", "classifier"), [
    (BERT, True, False), (BERT | {"architectures": ["XLMRobertaForSequenceClassification"]}, True, True),
    ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, False, False),
    ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, True, False),
    ({"model_type": "llama", "architectures": None}, False, False)])
def test_what_kind_of_model_it_is(config: dict[str, Any], encoder: bool, classifier: bool) -> None:
    assert (facts(config).encoder, facts(config).classifier) == (encoder, classifier)


def test_the_pooling_of_a_folder_is_part_of_the_model(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "1_Pooling/config.json", "onnx/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    names = [file.relative_to(tmp_path).as_posix() for file in files_of(tmp_path)]
    assert names == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    assert LocalFile(tmp_path / names[0]).size == 2
