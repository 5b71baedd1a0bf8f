"""Many clients at once: nobody is lost, mixed up or kept waiting by one who left"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.conformance.client import Server, joined, text, user
from tests.conformance.meaning import CONCURRENCY

NAMES = ("France", "Italy", "Spain", "Japan", "Egypt", "Peru", "Kenya", "Norway")
QUESTIONS = [f"What is the capital of {name}?" for name in NAMES]


def asked(question: str) -> dict[str, Any]:
    return {"messages": user(question), "max_tokens": 6, "stop": []}


def test_more_clients_than_slots_all_get_their_own_answer(engine: Server) -> None:
    """Batches round differently, so that a close call may fall the other way: most answers are those given alone."""
    assert len(QUESTIONS) > CONCURRENCY
    alone = [text(engine.chat(**asked(question))) for question in QUESTIONS]
    with ThreadPoolExecutor(len(QUESTIONS)) as pool:
        together = list(pool.map(lambda q: text(engine.chat(fresh=True, **asked(q))), QUESTIONS))
    same = sum(one == other for one, other in zip(alone, together, strict=True))
    assert same >= len(QUESTIONS) - 2, list(zip(alone, together, strict=True))
    for name, said in zip(NAMES, together, strict=True):
        assert not any(other in said for other in NAMES if other != name), (name, said)


def test_streams_beside_each_other_are_not_mixed_up(engine: Server) -> None:
    alone = [text(engine.chat(**asked(question))) for question in QUESTIONS[:4]]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda q: joined(engine.streamed(**asked(q))), QUESTIONS[:4]))
    assert sum(one == other for one, other in zip(alone, together, strict=True)) >= 3


def test_every_kind_of_request_at_once(engine: Server) -> None:
    """Mistakes, streams, forced answers, log-probabilities, tokenizations and clients that leave, beside each other."""
    def mistake() -> bool:
        return engine.post("/v1/chat/completions", engine.asked({"temperature": 9})).status_code == 400

    def too_long() -> bool:
        return engine.post("/v1/completions", {"model": "conformance", "prompt": [300] * 3000}).status_code == 400

    def stream() -> bool:
        return bool(joined(engine.streamed(**asked(QUESTIONS[0]))))

    def forced() -> bool:
        return text(engine.chat(fresh=True, structured_outputs={"choice": ["yes", "no"]}, max_tokens=4)) in ("yes",
            "no")

    def explained() -> bool:
        answer = engine.chat(fresh=True, **asked(QUESTIONS[1]), logprobs=True, top_logprobs=2)
        return len(answer["choices"][0]["logprobs"]["content"]) > 0

    def counted() -> bool:
        return engine.tokenize(prompt="Once upon a time")["count"] == 4

    def leaver() -> bool:
        with engine.stream(max_tokens=200, stop=[], ignore_eos=True) as chunks:
            return bool(next(chunks))

    kinds = [mistake, too_long, stream, forced, explained, counted, leaver]
    with ThreadPoolExecutor(len(kinds)) as pool:
        done = [pool.submit(kind) for _ in range(2) for kind in kinds]
        assert all(one.result(timeout=120) for one in done)


def test_seeds_hold_beside_others(engine: Server) -> None:
    wild = {"temperature": 1.5, "top_p": 1, "top_k": 0, "max_tokens": 4, "stop": []}
    alone = {seed: text(engine.complete(**wild, seed=seed)) for seed in range(4)}
    with ThreadPoolExecutor(4) as pool:
        together = dict(zip(alone, pool.map(lambda s: text(engine.complete(fresh=True, **wild, seed=s)), alone),
                            strict=True))
    assert sum(alone[seed] == together[seed] for seed in alone) >= 3


def test_a_shared_beginning_changes_no_answer(engine: Server) -> None:
    """Its keys and values may be kept from one request to the next; the answers may not show it."""
    first = engine.chat(fresh=True, **asked(QUESTIONS[5]))
    again = engine.chat(fresh=True, **asked(QUESTIONS[5]))
    assert text(first) == text(again)
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [first["usage"][name] for name in counts] == [again["usage"][name] for name in counts]


def test_the_models_are_listed_while_it_is_busy(engine: Server) -> None:
    with engine.stream(max_tokens=200, stop=[], ignore_eos=True) as chunks:
        next(chunks)
        assert engine.http.get("/v1/models", timeout=10).status_code == 200
        assert engine.post("/v1/chat/completions", engine.asked({"temperature": 9})).status_code == 400
