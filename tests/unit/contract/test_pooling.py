"""Embeddings and reranking: what is filled, what is refused, and what an answer becomes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from modelkit.contract import pooling
from modelkit.contract.errors import ContractError
from modelkit.contract.middleware import Contract, card
from modelkit.contract.profile import Profile
from tests.unit.contract.asgi import Application, call
from tests.unit.contract.profiles import PLAIN, ask

EMBED, RANK = replace(PLAIN, task="embed"), replace(PLAIN, task="rerank")


def embeddings(profile: Profile = EMBED, **body: Any) -> dict[str, Any]:
    return pooling.embeddings({"model": "support", **body}, profile)


def rerank(**body: Any) -> dict[str, Any]:
    return pooling.rerank({"model": "support", "query": "q", "documents": ["a", "b"], **body}, RANK)


@pytest.mark.parametrize("text", ["one", ["one", "two"], [1, 2], [[1, 2], [3]]])
def test_an_input_is_texts_or_token_ids(text: Any) -> None:
    filled = embeddings(input=text, user="somebody")
    assert filled == {"model": "support", "input": text, "encoding_format": "float"}


def test_base64_is_passed_on() -> None:
    assert embeddings(input="x", encoding_format="base64")["encoding_format"] == "base64"


@pytest.mark.parametrize(("body", "param", "code"), [
    ({}, "input", "missing_required_parameter"), ({"input": None}, "input", "missing_required_parameter"),
    ({"input": ""}, "input", "invalid_value"), ({"input": []}, "input", "invalid_value"),
    ({"input": ["a", ""]}, "input[1]", "invalid_value"), ({"input": [[]]}, "input[0]", "invalid_value"),
    ({"input": ["a", [1]]}, "input[1]", "invalid_type"), ({"input": [1, -2]}, "input[1]", "invalid_value"),
    ({"input": 3}, "input", "invalid_type"), ({"input": {"a": 1}}, "input", "invalid_type"),
    ({"input": "x", "encoding_format": "int8"}, "encoding_format", "invalid_value"),
    ({"input": "x", "dimensions": 0}, "dimensions", "invalid_value"),
    ({"input": "x", "dimensions": "many"}, "dimensions", "invalid_type"),
    ({"input": "x", "truncate_prompt_tokens": 3}, "truncate_prompt_tokens", "unknown_parameter"),
    ({"input": "x", "messages": []}, "messages", "unknown_parameter"),
    ({"input": ["x"] * 2049}, "input", "invalid_value"),
])
def test_what_has_no_embedding_is_refused(body: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(ContractError) as caught:
        embeddings(**body)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@pytest.mark.parametrize(("matryoshka", "dimensions", "said"), [
    (False, 8, "SERVE matryoshka true"), (True, 8, None), ((8, 16), 8, None), ((8, 16), 9, "may have 8, 16")])
def test_vectors_are_cut_where_the_model_was_trained_for_it(matryoshka: Any, dimensions: int, said: str | None) -> None:
    profile = Profile.from_json(replace(EMBED, matryoshka=matryoshka).as_json())
    if said is None:
        assert embeddings(profile, input="x", dimensions=dimensions)["dimensions"] == dimensions
        return
    with pytest.raises(ContractError, match=said):
        embeddings(profile, input="x", dimensions=dimensions)


def test_documents_are_texts_for_every_engine() -> None:
    assert rerank(documents=[{"text": "a"}, "b"], top_n=1, return_documents=False, user="me") == {
        "model": "support", "query": "q", "documents": ["a", "b"], "top_n": 1}


@pytest.mark.parametrize(("body", "param"), [
    ({"query": None}, "query"), ({"query": ""}, "query"), ({"query": 3}, "query"),
    ({"query": {"text": ""}}, "query.text"),
    ({"documents": None}, "documents"), ({"documents": []}, "documents"), ({"documents": "a"}, "documents"),
    ({"documents": ["a", ""]}, "documents[1]"), ({"documents": [{"title": "a"}]}, "documents[0].title"),
    ({"documents": [{"text": None}]}, "documents[0].text"), ({"documents": ["a"] * 1025}, "documents"),
    ({"top_n": 0}, "top_n"), ({"top_n": 1.5}, "top_n"), ({"return_documents": 1}, "return_documents"),
    ({"max_tokens_per_doc": 4}, "max_tokens_per_doc"), ({"rank_fields": ["a"]}, "rank_fields"),
])
def test_what_can_not_be_ordered_is_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ContractError) as caught:
        rerank(**body)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(("profile", "path", "wanted"), [
    (PLAIN, "/v1/embeddings", "embed"), (PLAIN, "/v1/rerank", "rerank"), (EMBED, "/v1/chat/completions", "chat"),
    (EMBED, "/v1/completions", "chat"), (EMBED, "/v1/rerank", "rerank"), (RANK, "/v1/embeddings", "embed")])
def test_another_tasks_path_says_what_to_write(profile: Profile, path: str, wanted: str) -> None:
    app = Application()
    answer = call(Contract(app, profile), path=path, body=ask())
    assert answer.status == 400
    assert answer.error["code"] == "task_not_served"
    assert f"`SERVE task {wanted}`" in answer.error["message"]
    assert app.bodies == [b""], "the engine got the request"


def test_another_tasks_path_is_refused_where_the_engine_has_none() -> None:
    app = Application(status=404, reads=False, chunks=(b'{"detail": "Not Found"}',))
    assert call(Contract(app, EMBED), body=ask()).error["code"] == "task_not_served"


def test_whoever_has_no_key_is_told_nothing_about_tasks() -> None:
    app = Application(status=401, reads=False, chunks=(b'{"error": "Unauthorized"}',))
    assert call(Contract(app, EMBED), body=ask()).status == 401


@pytest.mark.parametrize(("wanted", "document"), [({}, True), ({"return_documents": True}, True),
                                                  ({"return_documents": False}, False)])
def test_documents_come_back_as_they_were_sent(wanted: dict[str, Any], document: bool) -> None:
    said = {"id": "score-1", "model": "support", "usage": {"prompt_tokens": 7, "total_tokens": 7}, "results": [
        {"index": 1, "relevance_score": 0.9, "document": {"text": "b", "multi_modal": None}},
        {"index": 0, "relevance_score": 0.1}]}
    app = Application(chunks=(json.dumps(said).encode(),))
    answer = call(Contract(app, RANK), path="/v1/rerank", body={
        "model": "support", "query": "q", "documents": ["ä", {"text": "b"}], **wanted})
    assert answer.status == 200
    assert answer.headers[b"content-length"] == str(len(answer.body)).encode()
    texts = ({"document": {"text": "b"}}, {"document": {"text": "ä"}}) if document else ({}, {})
    assert answer.json == {**said, "results": [{"index": 1, "relevance_score": 0.9, **texts[0]},
                                               {"index": 0, "relevance_score": 0.1, **texts[1]}]}


def test_a_list_of_models_says_what_they_are_for() -> None:
    assert card(EMBED, "support")["task"] == "embed"
    assert "task" not in card(PLAIN, "support")


def test_a_task_that_nobody_knows_ends_the_start() -> None:
    with pytest.raises(ValueError, match="`classify`"):
        Contract(Application(), replace(PLAIN, task="classify"))
