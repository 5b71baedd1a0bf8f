"""Tasks, rules, scores, and the difference of two."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.release.client import Answer
from modelkit.release.evaluation import Question, Score, Task, find_task, not_worse, paired
from modelkit.release.evaluation.own import RULES, read
from modelkit.release.evaluation.run import ask
from modelkit.release.evaluation.score import mean_interval, scored
from modelkit.release.evaluation.tasks import CHAT, REFUSED
from tests.unit.release.virtual_time import run

_FRANCE = '{"question": "What is the capital of France?", "answer": "Paris"}\n'


def score(values: list[float | None], name: str = "t") -> Score:
    return scored(name, "exact", [Question(id=str(at), score=value, error=None if value is not None else "503")
                                  for at, value in enumerate(values)], tool="test")


class Knows:
    """Answers what it was told, after failing so often."""

    def __init__(self, answers: dict[str, str], failures: int = 0, status: int | None = 503) -> None:
        self.answers, self.failures, self.status = answers, failures, status
        self.underway = self.most = self.asked = 0
        self.bodies = list[dict[str, Any]]()

    async def chat(self, body: dict[str, Any]) -> Answer:
        self.bodies.append(body)
        self.asked, self.underway = self.asked + 1, self.underway + 1
        self.most = max(self.most, self.underway)
        await asyncio.sleep(1)
        self.underway -= 1
        if self.asked <= self.failures:
            return Answer(status=self.status, error="503: busy")
        return Answer(self.answers.get(body["messages"][-1]["content"], "I do not know."), status=200)


@pytest.mark.parametrize(("rule", "answer", "right", "expected"), [
    ("exact", " paris. ", "Paris", True), ("exact", "It is Paris", "Paris", False), ("exact", "", "Paris", False),
    ("includes", "It is **Paris**, of course.", "Paris", True), ("includes", "Parisian", "Paris", False),
    ("includes", "New York City", "new york", True), ("includes", "anything", ".", False),
    ("number", "So 3 + 4 = 7.", "7", True), ("number", "1,234.50 dollars", "1234.5", True),
    ("number", "-7", "7", False), ("number", "none", "7", False), ("number", "7 of 10", "7", False),
    ("choice", "B", "B", True), ("choice", "b) Paris", "B", True), ("choice", "(B) Paris", "B", True),
    ("choice", "B.", "B", True), ("choice", "A", "B", False), ("choice", "The answer is B.", "B", True),
    ("choice", "A good question. The answer is: **C**", "C", True), ("choice", "A good question.", "A", False),
    ("choice", "Answer: D, not A", "D", True), ("choice", "", "A", False)])
def test_rules(rule: str, answer: str, right: str, expected: bool) -> None:
    assert RULES[rule].right(answer, right) is expected


def test_a_file_of_questions_is_a_task(tmp_path: Path) -> None:
    (tmp_path / "capitals.jsonl").write_text(_FRANCE + '{"input": "And of Italy?", "target": ["Rome", "Roma"]}\n')
    task = read(tmp_path / "capitals.jsonl", "capitals")
    assert [(one.text, one.answers) for one in task.questions] == [
        ("What is the capital of France?", ("Paris",)), ("And of Italy?", ("Rome", "Roma"))]
    assert task.rule == "includes" and task.right(task.questions[1], "Roma!")
    assert task.body(task.questions[0]) == {
        "messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 128,
        "temperature": 0, "seed": 0}


def test_a_page_says_how_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"id": 7, "question": "2 + 2?", "answer": 4, "hint": "add"}\n')
    (tmp_path / "sums.eval.yaml").write_text("schema: modelkit.eval/1\nsystem: Be brief.\nprompt: 'Q: {{question}} "
                                             "({{ hint }})'\nscore: number\nmax_tokens: 9\ndata: q.jsonl\n")
    task = read(tmp_path / "sums.eval.yaml", "sums")
    assert task.body(task.questions[0]) == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q: 2 + 2? (add)"}],
        "max_tokens": 9, "temperature": 0, "seed": 0}
    assert task.questions[0].id == "7" and task.right(task.questions[0], "It is 4.")
    before = task.digest
    (tmp_path / "q.jsonl").write_text('{"id": 7, "question": "2 + 3?", "answer": 5, "hint": "add"}\n')
    assert read(tmp_path / "sums.eval.yaml", "sums").digest != before


@pytest.mark.parametrize("answer", ['"Paris"', '"B"', "1"])
def test_choices_have_letters(tmp_path: Path, answer: str) -> None:
    (tmp_path / "c.jsonl").write_text(f'{{"question": "France?", "choices": ["Rome", "Paris"], "answer": {answer}}}')
    task = read(tmp_path / "c.jsonl", "c")
    assert task.questions[0].answers == ("B",) and task.rule == "choice"
    assert task.questions[0].text == "France?\n\nA) Rome\nB) Paris\n\nAnswer with the letter alone."


@pytest.mark.parametrize(("name", "content", "said"), [
    ("t.jsonl", "", "holds no question"), ("t.jsonl", "{", "t.jsonl:1: this is no JSON"),
    ("t.jsonl", _FRANCE + "[]", "t.jsonl:2: a question has"), ("t.jsonl", '{"question": "x"}', "there is no `answer`"),
    ("t.jsonl", '{"answer": "x"}', "there is no `question`"),
    ("t.jsonl", '{"question": "x", "answer": "C", "choices": ["a", "b"]}', "`C` is none of the choices"),
    ("t.jsonl", '{"question": "x", "answer": "a", "choices": ["a"]}', "must be a list of 2"),
    ("t.jsonl", _FRANCE + _FRANCE, "another question has the id"),
    ("t.yaml", "schema: modelkit.eval/2\nquestions: []", "t.yaml:1:9: `modelkit.eval/2` is none of"),
    ("t.yaml", "schema: modelkit.eval/1\nscroe: exact", "t.yaml:2:1: there is no `scroe` here"),
    ("t.yaml", "schema: modelkit.eval/1\nscore: right\nquestions: [a]", "t.yaml:2:8: `right` is none of"),
    ("t.yaml", "schema: modelkit.eval/1", "has `questions`, or `data`"),
    ("t.yaml", "schema: modelkit.eval/1\nquestions: [3]", "t.yaml:2:13: a question has"),
    ("t.yaml", "schema: modelkit.eval/1\nprompt: '{{topic}}'\nquestions: [{question: q, answer: a}]", "wants `topic`"),
    ("t.yaml", "schema: modelkit.eval/1\nscore: number\nquestions: [{question: q, answer: a}]", "must be a number"),
    ("t.yaml", "schema: modelkit.eval/1\ndata: no.jsonl", "no.jsonl cannot be read")])
def test_mistakes_have_places(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(Failure) as caught:
        read(tmp_path / name, "t")
    assert said in caught.value.message and caught.value.code == "eval-file"


def test_questions_are_asked_so_many_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("".join(f'{{"question": "q{n}", "answer": "a{n}"}}\n' for n in range(20)))
    model, seen = Knows({f"q{n}": f"It is a{n}." for n in range(0, 20, 2)}), list[int]()
    done: Score = run(ask(read(tmp_path / "t.jsonl", "t"), model, limit=10, concurrency=3,
                          on_progress=lambda at, total, label: seen.append(at)))
    assert (done.value, done.answered, model.most, seen) == (0.5, 10, 3, list(range(1, 11)))
    assert [one.score for one in done.questions] == [1, 0] * 5 and done.verdict == "pass"
    assert done.metric == "includes" and done.task is not None and len(done.samples) == 10


@pytest.mark.parametrize(("failures", "status", "asked", "verdict"), [
    (2, 503, 3, "pass"), (3, 503, 3, "error"), (1, None, 2, "pass"), (1, 400, 1, "error")])
def test_what_is_not_answered_is_not_wrong(tmp_path: Path, failures: int, status: int | None, asked: int,
                                           verdict: str) -> None:
    (tmp_path / "t.jsonl").write_text(_FRANCE)
    model = Knows({"What is the capital of France?": "Paris"}, failures, status)
    done: Score = run(ask(read(tmp_path / "t.jsonl", "t"), model))
    assert (model.asked, done.verdict, done.unscored) == (asked, verdict, int(verdict == "error"))
    assert verdict == "pass" or done.questions[0].error == "503: busy"


def test_intervals_hold_the_truth() -> None:
    chance, held = random.Random(3), 0
    for _ in range(1000):
        truth = chance.random()
        low, high = mean_interval([float(chance.random() < truth) for _ in range(40)])
        held += low <= truth <= high
    assert held >= 0.93 * 1000
    assert mean_interval([]) == (0, 1) and mean_interval([1.0] * 6)[0] == pytest.approx(0.6097, abs=1e-3)


def test_differences_are_taken_question_by_question() -> None:
    before, after = score([1, 1, 0, 0, 1, None]), score([1, 0, 1, 0, None, 1])
    found = paired(before, after)
    assert found is not None and (found.count, found.better, found.worse, found.difference) == (4, 1, 1, 0)
    assert found.verdict == "same" and paired(score([None]), score([1])) is None


@pytest.mark.parametrize(("before", "after", "said"), [
    ([1.0] * 100, [1.0] * 100, "pass"), ([1.0] * 100, [1.0] * 70 + [0.0] * 30, "fail"),
    ([1.0] * 10, [1.0] * 10, "inconclusive"), ([1.0] * 5, [1.0, 1.0, 1.0, 1.0, None], "error")])
def test_not_worse_needs_evidence(before: list[float], after: list[float | None], said: str) -> None:
    assert not_worse(score([*before]), score(after)) == said


@pytest.mark.parametrize(("word", "task"), [
    ("gsm8k", Task("gsm8k", "lm-eval", "gsm8k")), ("lm-eval:anything", Task("anything", "lm-eval", "anything")),
    ("inspect:inspect_evals/gsm8k", Task("gsm8k", "inspect", "inspect_evals/gsm8k")),
    ("q.jsonl", Task("q", "modelkit", "q.jsonl")), ("sums", Task("sums", "modelkit", "sums.eval.yaml"))])
def test_words_mean_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, task: Task) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.jsonl").write_text(_FRANCE)
    Path("sums.eval.yaml").write_text("schema: modelkit.eval/1\n")
    assert find_task(word, Path()) == task


def test_files_of_others_are_theirs(tmp_path: Path) -> None:
    (tmp_path / "l.yaml").write_text("task: local\nprocess: !function utils.f\n")
    (tmp_path / "i.py").write_text("")
    assert find_task(str(tmp_path / "l.yaml"), tmp_path) == Task("local", "lm-eval", str(tmp_path / "l.yaml"))
    assert find_task(f"{tmp_path / 'i.py'}@one", tmp_path) == Task("one", "inspect", f"{tmp_path / 'i.py'}@one")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_needs_likelihoods_is_refused(name: str) -> None:
    with pytest.raises(Failure, match=f"`{name}` cannot be asked over chat") as caught:
        find_task(name, Path())
    assert caught.value.hint and all(one in caught.value.hint and one in CHAT for one in REFUSED[name].instead)


def test_nothing_is_both() -> None:
    assert not CHAT.keys() & REFUSED.keys()
