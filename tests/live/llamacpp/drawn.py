"""Run by a Python that has llama-cpp-python: draws from the real model's logits, and says what numpy makes of them.

    python drawn.py MODEL     one JSON object on stdout
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from modelkit.llamacpp.context import Context
from modelkit.llamacpp.distribution import prompt_logprobs
from modelkit.llamacpp.grammar import Grammars, compiled
from modelkit.llamacpp.jobs import Sampling
from modelkit.llamacpp.library import Model
from modelkit.llamacpp.sampling import Sampler
from modelkit.llamacpp.speculation import Draft, NGram, expect_same
from modelkit.llamacpp.vocabulary import Vocabulary

PROMPT = "The capital of France is Paris. The capital of Italy is Rome. The capital of"


class Session:
    """One sequence of one model."""

    def __init__(self, path: Path, sequences: int = 1) -> None:
        self.model = Model(path)
        self.vocabulary = Vocabulary(self.model)
        self.context = Context(self.model, tokens=512, sequences=sequences, batch=512, threads=1)
        self.batch = self.context.batch()

    def compute(self, tokens: list[int], outputs: int = 1) -> int:
        """The index of the last token's logits."""
        self.batch.clear()
        first: int = self.batch.add(tokens, self.context.memory.end(0), 0, outputs)
        assert self.context.decode(self.batch) == 0
        return first + len(tokens) - 1

    def answer(self, prompt: list[int], sampler: Sampler, most: int) -> list[Any]:
        self.context.memory.clear()
        index, said = self.compute(prompt), []
        while len(said) < most:
            said.append(sampler.pick(self.context, index))
            if said[-1].id in self.vocabulary.ends:
                break
            index = self.compute([said[-1].id])
        return said


def logprobs(session: Session, prompt: list[int]) -> dict[str, Any]:
    """Of the first token drawn and of the prompt's, ours and numpy's in twice the precision."""
    session.context.memory.clear()
    last = session.compute(prompt, outputs=len(prompt))
    rows = np.stack([session.context.logits(index).astype(np.float64) for index in range(last + 1)])
    expected = rows - rows.max(1, keepdims=True)
    expected -= np.log(np.exp(expected).sum(1, keepdims=True))
    sampler = Sampler(Sampling(temperature=0.5, repetition_penalty=1.3), session.vocabulary, prompt, logprobs=20)
    token = sampler.pick(session.context, last)
    known = prompt_logprobs(rows[:-1].astype(np.float32), prompt[1:], 3, session.vocabulary.pieces)
    best = np.argsort(-rows[-1], kind="stable")[:20]
    return {"token": [token.logprob, float(expected[-1, token.id])],
            "top": [[one.id for one in token.top], best.tolist()],
            "likeliest": [[one.logprob for one in token.top], expected[-1][best].tolist()],
            "prompt": [[one.logprob for one in known],
                       [float(expected[place, one]) for place, one in enumerate(prompt[1:])]]}


def grammars(session: Session, prompt: list[int]) -> list[str]:
    """Answers under grammars that name special tokens, force texts, or do both."""
    known = Grammars(session.vocabulary)
    said = []
    for kind, value in (("regex", "[A-Z][a-z]{2,8} [0-9]{2}"), ("choice", ["maybe", "é🙂"]),
                        ("grammar", 'start: "<tool_call>" %json {"const": "a"} <|im_start|> "x"')):
        matcher = known.matcher(compiled(kind, value, "it", session.vocabulary))  # type: ignore[arg-type]
        tokens = session.answer(prompt, Sampler(Sampling(seed=1), session.vocabulary, prompt, matcher=matcher), 60)
        said.append(session.vocabulary.detokenize([one.id for one in tokens], show_special=True))
    known.close()
    return said


def guesses(session: Session, path: Path, looked_up: list[int]) -> dict[str, Any]:
    """What the model says next, and what a draft (the same model) and the sequence itself would have guessed."""
    prompt = session.vocabulary.tokenize("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,")
    other = Session(path, sequences=2)
    expect_same(other.vocabulary, session.vocabulary)
    greedy = [one.id for one in session.answer(prompt, Sampler(Sampling(temperature=0), session.vocabulary, prompt), 4)]
    draft = Draft(other.context, other.vocabulary, session.vocabulary).sequence()
    return {"said": greedy, "draft": draft.propose(prompt, 4), "again": draft.propose([*prompt, greedy[0]], 3),
            "ngram": [session.vocabulary.pieces[one].decode() for one in NGram().propose(looked_up, 3)]}


def main(path: Path) -> None:
    session = Session(path)
    prompt = session.vocabulary.tokenize(PROMPT)
    print(json.dumps({"logprobs": logprobs(session, prompt), "grammars": grammars(session, prompt),
                      "guesses": guesses(session, path, prompt)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
