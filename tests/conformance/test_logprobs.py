"""Log-probabilities, of chats and of completions"""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.conformance.client import Server, text
from tests.conformance.meaning import CONTEXT

FEW: dict[str, Any] = {"max_tokens": 4, "stop": [], "ignore_eos": True}


def content(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return list(answer["choices"][0]["logprobs"]["content"])


@pytest.mark.parametrize("top", [0, 1, 5, 20])
def test_as_many_alternatives_as_asked(engine: Server, top: int) -> None:
    for token in content(engine.chat(**FEW, logprobs=True, top_logprobs=top)):
        assert len(token["top_logprobs"]) == top
        assert set(token) == {"token", "logprob", "bytes", "top_logprobs"}


def test_they_are_in_order_and_probabilities(engine: Server) -> None:
    for token in content(engine.chat(**FEW, logprobs=True, top_logprobs=20)):
        said = [one["logprob"] for one in token["top_logprobs"]]
        assert said == sorted(said, reverse=True)
        assert 0 < sum(map(math.exp, said)) <= 1.0001
        assert len({one["token"] for one in token["top_logprobs"]}) >= 18  # two may be spelled alike


def test_the_greedy_token_is_the_first_alternative(engine: Server) -> None:
    for token in content(engine.chat(**FEW, logprobs=True, top_logprobs=2)):
        assert (token["token"], token["logprob"]) == (token["top_logprobs"][0]["token"],
                                                      token["top_logprobs"][0]["logprob"])


@pytest.mark.parametrize("fields", [{"temperature": 1.7, "seed": 3}, {"presence_penalty": 2}, {"repetition_penalty": 2},
                                    {"top_k": 1, "temperature": 1}, {"top_p": 0.1, "temperature": 1},
                                    {"min_p": 0.5, "temperature": 1}], ids=str)
def test_they_are_the_models_own_before_sampling(engine: Server, fields: dict[str, Any]) -> None:
    """`raw`: neither temperature nor penalties nor cuts change what the first token's alternatives are said to be."""
    plain = content(engine.chat(**FEW, logprobs=True, top_logprobs=5))[0]["top_logprobs"]
    found = content(engine.chat(**FEW, logprobs=True, top_logprobs=5, **fields))[0]["top_logprobs"]
    known = {one["token"]: one["logprob"] for one in plain}
    both = {one["token"]: one["logprob"] for one in found if one["token"] in known}
    assert len(both) >= 4  # the drawn one may stand among them
    for token, logprob in both.items():
        assert logprob == pytest.approx(known[token], abs=0.03)


def test_a_bias_is_not_part_of_them(engine: Server) -> None:
    (token,) = engine.tokenize(prompt="Zebra", add_special_tokens=False)["tokens"][:1]
    asked = {**FEW, "max_tokens": 1, "logprobs": True, "top_logprobs": 1}
    biased = content(engine.chat(**asked, logit_bias={str(token): 100}))[0]
    assert biased["logprob"] < -1
    likeliest = content(engine.chat(**asked))[0]["token"]
    assert biased["top_logprobs"][0]["token"] in (likeliest, biased["token"])
    engine.seen.note("the one alternative is the likeliest token, not the drawn one",
                     biased["top_logprobs"][0]["token"] == likeliest)


def test_bytes_spell_tokens(engine: Server) -> None:
    for token in content(engine.chat(**FEW, logprobs=True, top_logprobs=5)):
        for one in (token, *token["top_logprobs"]):
            assert bytes(one["bytes"]).decode("utf-8", "replace") == one["token"] or "\ufffd" in one["token"]


def test_bytes_of_split_characters_join(engine: Server) -> None:
    answer = engine.chat(structured_outputs={"choice": ["漢字"]}, max_tokens=20, logprobs=True)
    said = b"".join(bytes(token["bytes"]) for token in content(answer))
    assert said.decode().startswith("漢字")


def test_every_choice_has_its_own(engine: Server) -> None:
    answer = engine.chat(**FEW, n=2, temperature=1.3, seed=2, logprobs=True, top_logprobs=0)
    for choice in answer["choices"]:
        assert "".join(t["token"] for t in choice["logprobs"]["content"]) == choice["message"]["content"]


def test_streamed_chunks_carry_those_of_their_text(engine: Server) -> None:
    whole = content(engine.chat(**FEW, logprobs=True, top_logprobs=1))
    streamed = []
    for chunk in engine.streamed(**FEW, logprobs=True, top_logprobs=1):
        for choice in chunk["choices"]:
            said = (choice.get("logprobs") or {}).get("content") or []
            assert "".join(token["token"] for token in said) == (choice["delta"].get("content") or "")
            streamed += said
    assert [token["token"] for token in streamed] == [token["token"] for token in whole]
    for one, other in zip(streamed, whole, strict=True):
        assert one["logprob"] == pytest.approx(other["logprob"], abs=0.03)


@pytest.mark.parametrize("count", [0, 1, 5, 20])
def test_a_completions_alternatives(engine: Server, count: int) -> None:
    said = engine.complete(**FEW, logprobs=count)["choices"][0]["logprobs"]
    assert {len(said[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")} == {4}
    for top in said["top_logprobs"]:
        assert max(1, count) - 2 <= len(top) <= count + 1  # two may be spelled alike
    assert said["text_offset"][0] == 0
    for before, token, after in zip(said["text_offset"], said["tokens"], said["text_offset"][1:], strict=False):
        assert after == before + len(token)


def test_streamed_offsets_go_on(engine: Server) -> None:
    whole = engine.complete(**FEW, logprobs=1)["choices"][0]["logprobs"]
    found: dict[str, list[Any]] = {"tokens": [], "text_offset": []}
    for chunk in engine.streamed("/v1/completions", prompt="Once upon a time", **FEW, logprobs=1):
        for choice in chunk["choices"]:
            for name in found:
                found[name] += (choice.get("logprobs") or {}).get(name) or []
    assert found == {name: whole[name] for name in found}


@pytest.mark.parametrize("fields", [{}, {"logprobs": 1}, {"logprobs": 2, "max_tokens": 1}, {"stream": True}], ids=str)
def test_an_echo_where_the_engine_can(engine: Server, fields: dict[str, Any]) -> None:
    """The prompt stands before the answer, and its first token has no probability."""
    asked = {"model": "conformance", "prompt": "One two three", "max_tokens": 2, "stop": [], "echo": True, **fields}
    answer = engine.post("/v1/completions", asked)
    if answer.status_code == 400:
        assert answer.json()["error"]["param"] == "echo"
    elif not fields.get("stream"):
        (choice,) = answer.json()["choices"]
        assert choice["text"].startswith("One two three")
        if "logprobs" in fields:
            said = choice["logprobs"]
            assert "".join(said["tokens"]) == choice["text"]
            assert said["token_logprobs"][0] is None and said["top_logprobs"][0] is None
            assert all(value <= 0 for value in said["token_logprobs"][1:])
            assert len(said["tokens"]) == answer.json()["usage"]["total_tokens"]


def test_they_cost_the_answer_nothing(engine: Server) -> None:
    plain = engine.chat(**FEW)
    with_them = engine.chat(**FEW, logprobs=True, top_logprobs=5)
    assert text(plain) == text(with_them)
    assert plain["usage"]["total_tokens"] == with_them["usage"]["total_tokens"] < CONTEXT
