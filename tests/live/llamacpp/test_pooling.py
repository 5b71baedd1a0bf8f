"""Embeddings and reranking by the real engine, through its socket."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelkit.contract.profile import Profile
from tests.live.llamacpp.process import CONTEXT, NAME, Process, eventually, running
from tests.live.tiny_reranker import DOCUMENTS, POSITIONS, QUERY, write_gguf

pytestmark = [pytest.mark.live_llamacpp, pytest.mark.timeout(300)]

LENGTH = 64
"""Tokens of an input, and of a batch: CI's processors are slow."""

TEXTS = ["The cat sat on the mat.", "A kitten rests on a rug.", "Stock markets fell today.", "Wie spät ist es?"]
SCORES = (0.3520, 0.5544, 0.4608, 0.4903)  # transformers 5 with the same numbers


@pytest.fixture(scope="module")
def embedder() -> Iterator[Process]:
    profile = Profile(NAME, "llamacpp", LENGTH, task="embed", matryoshka=True)
    with running(profile, task="embed", pooling="mean", context_length=LENGTH, batch_tokens=LENGTH) as process:
        yield process.ready()


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    model = write_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf")
    profile = Profile(NAME, "llamacpp", POSITIONS, task="rerank")
    with running(profile, task="rerank", model=str(model), context_length=POSITIONS) as process:
        yield process.ready()


def test_openais_client_gets_unit_vectors_in_its_own_encoding(embedder: Process) -> None:
    answer = embedder.openai.embeddings.create(model=NAME, input=TEXTS)  # asks for base64
    vectors = np.array([one.embedding for one in answer.data])
    assert vectors.shape == (4, 576) and [one.index for one in answer.data] == [0, 1, 2, 3]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    floats = embedder.openai.embeddings.create(model=NAME, input=TEXTS, encoding_format="float")
    assert np.array_equal(np.array([one.embedding for one in floats.data], np.float32), vectors.astype(np.float32))
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(
        embedder.post("/tokenize", prompt=text)["count"] for text in TEXTS)


def test_base64_is_32_bit_floats_lowest_byte_first(embedder: Process) -> None:
    raw = embedder.post("/v1/embeddings", input="x", encoding_format="base64")["data"][0]["embedding"]
    floats = embedder.post("/v1/embeddings", input="x")["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(raw), "<f4").tolist() == floats


def test_a_text_and_its_token_ids_have_one_embedding(embedder: Process) -> None:
    ids = embedder.post("/tokenize", prompt=TEXTS[0])["tokens"]
    answers = [embedder.post("/v1/embeddings", input=said)["data"] for said in (TEXTS[0], ids, [TEXTS[0]], [ids])]
    assert all(answer == answers[0] for answer in answers)


def test_what_is_beside_a_text_in_its_batch_hardly_shows(embedder: Process) -> None:
    """Kernels for one and for many columns round differently: measured up to 7e-4 with 4-bit weights."""
    alone = embedder.post("/v1/embeddings", input=TEXTS[0])["data"][0]["embedding"]
    crowd = embedder.post("/v1/embeddings", input=[TEXTS[0], *TEXTS * 4])["data"][0]["embedding"]
    assert np.dot(alone, crowd) > 0.998


def test_a_shortened_vector_is_the_begin_of_the_whole_one(embedder: Process) -> None:
    whole = np.array(embedder.post("/v1/embeddings", input="x")["data"][0]["embedding"])
    short = np.array(embedder.post("/v1/embeddings", input="x", dimensions=64)["data"][0]["embedding"])
    assert np.allclose(short, whole[:64] / np.linalg.norm(whole[:64]), atol=1e-6)
    assert "have 576" in embedder.refused("/v1/embeddings", input="x", dimensions=577)["message"]


def test_nothing_is_cut_silently(embedder: Process) -> None:
    assert len(embedder.post("/v1/embeddings", input=[5] * LENGTH)["data"]) == 1
    error = embedder.refused("/v1/embeddings", input=["fine", " word" * LENGTH * 2])
    assert error["code"] == "context_length_exceeded" and error["param"] == "input"
    assert str(2 * LENGTH) in error["message"] and str(LENGTH) in error["message"]
    assert "vocabulary" in embedder.refused("/v1/embeddings", input=[[1], [10**6]])["message"]


def test_a_chat_is_told_what_to_write(embedder: Process) -> None:
    error = embedder.refused("/v1/chat/completions", messages=[{"role": "user", "content": "Hi"}])
    assert (error["code"], "`SERVE task chat`" in error["message"]) == ("task_not_served", True)


def test_a_client_that_leaves_is_not_computed_for(embedder: Process) -> None:
    with pytest.raises(Exception, match=r"(?i)timed? ?out"):
        embedder.http.post("/v1/embeddings", json={"model": NAME, "input": [" word" * 50] * 500}, timeout=0.5)
    eventually(lambda: embedder.metric("num_requests_running") == 0, 20)


def test_documents_are_ordered_by_the_scores_that_the_model_was_trained_to_give(reranker: Process) -> None:
    answer = reranker.post("/v1/rerank", query=QUERY, documents=[DOCUMENTS[0], *({"text": d} for d in DOCUMENTS[1:])])
    assert [one["index"] for one in answer["results"]] == [1, 3, 2, 0]
    for one in answer["results"]:
        assert one["relevance_score"] == pytest.approx(SCORES[one["index"]], abs=2e-3)
        assert one["document"] == {"text": DOCUMENTS[one["index"]]}
    first = reranker.post("/v1/rerank", query=QUERY, documents=DOCUMENTS, top_n=1, return_documents=False)
    assert first["results"] == [{"index": 1, "relevance_score": answer["results"][0]["relevance_score"]}]
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0


def test_a_pair_that_is_too_long_is_refused_with_both_numbers(reranker: Process) -> None:
    error = reranker.refused("/v1/rerank", query=QUERY, documents=["x", "cat " * POSITIONS])
    assert (error["code"], error["param"]) == ("context_length_exceeded", "documents")
    assert str(POSITIONS) in error["message"]


@pytest.mark.parametrize(("types", "length", "said"), [
    (None, CONTEXT, "cannot rerank with"), (2, POSITIONS, "token types"), (1, 4 * POSITIONS, "not trained for")])
def test_a_model_that_would_rank_wrongly_ends_the_start_with_one_sentence(
        types: int | None, length: int, said: str, tmp_path: Path) -> None:
    model = {} if types is None else {"model": str(write_gguf(tmp_path / "t.gguf", token_types=types))}
    profile = Profile(NAME, "llamacpp", length, task="rerank")
    with running(profile, task="rerank", context_length=length, **model) as process:
        assert process.process.wait(60) == 1
        assert said in process.said.splitlines()[-1] and "Traceback" not in process.said
