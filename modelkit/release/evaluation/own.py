"""Tasks of one's own: a file of questions with known answers, asked over chat and scored here.

    {"question": "What is the capital of France?", "answer": "Paris"}

A file of JSON lines is enough. A YAML file says more: how questions are put, how answers are scored, how long they may
be. Scoring is by rules that anybody can check; a model as judge is a matter of `modelkit test`.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modelkit.failure import Failure
from modelkit.release.testing.yaml_page import Page

SCHEMA = "modelkit.eval/1"

_KEYS = ("schema", "system", "prompt", "score", "max_tokens", "data", "questions")
_QUESTION, _ANSWER = ("question", "prompt", "input"), ("answer", "answers", "target")  # what data sets call them
_LETTERS = string.ascii_uppercase
_MOST_BYTES = 256 * 1024 * 1024
_BLANK = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True)
class OwnQuestion:
    """What is asked, and the texts that are right."""

    id: str
    text: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class OwnTask:
    """A file's questions. `digest` is of all its files."""

    name: str
    questions: tuple[OwnQuestion, ...]
    rule: str
    system: str | None
    max_tokens: int
    digest: str

    def body(self, question: OwnQuestion) -> dict[str, Any]:
        """The request: greedy, so that a second run asks for the same."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return {"messages": [*system, {"role": "user", "content": question.text}], "max_tokens": self.max_tokens,
                "temperature": 0, "seed": 0}

    def right(self, question: OwnQuestion, answer: str) -> bool:
        return any(RULES[self.rule].right(answer, one) for one in question.answers)


def read(path: Path, name: str) -> OwnTask:
    """The task in a file. Raises Failure (exit 1), with the place."""
    if path.suffix in (".yaml", ".yml"):
        return _of_yaml(path, name)
    rows, data = _rows(path)
    choices = any("choices" in row for _, row in rows)
    return _task(name, rows, {"score": "choice"} if choices else {}, hashlib.sha256(data))


def _of_yaml(path: Path, name: str) -> OwnTask:
    try:
        page = Page.read(path)
        root = page.root()
        said = page.mapping(root, _KEYS, ("schema",))
        page.one_of(said["schema"], (SCHEMA,))
        settings: dict[str, Any] = {key: page.text_of(said[key]) for key in ("system", "prompt") if key in said}
        if "score" in said:
            settings["score"] = page.one_of(said["score"], RULES)
        if "max_tokens" in said:
            settings["max_tokens"] = page.whole(said["max_tokens"], 1, 1_000_000)
        if ("data" in said) == ("questions" in said):
            raise page.wrong(root, "a task has `questions`, or `data` with the name of a file of them")
        digest = hashlib.sha256(page.text.encode())
        if "data" in said:
            rows, data = _rows(path.parent / page.text_of(said["data"]))
            digest.update(data)
        else:
            rows = _inline(page, page.sequence(said["questions"], "questions"))
    except Failure as failure:
        failure.code = "eval-file"
        raise
    return _task(name, rows, settings, digest)


def _inline(page: Page, nodes: Sequence[yaml.Node]) -> list[tuple[str, dict[str, Any]]]:
    rows = []
    for node in nodes:
        if not isinstance(row := page.value_of(node), dict):
            raise page.wrong(node, "a question has `question` and `answer`")
        rows.append((str(page.place(node)), row))
    return rows


def _rows(path: Path) -> tuple[list[tuple[str, dict[str, Any]]], bytes]:
    """The rows of JSON lines with their places, and the bytes."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise Failure("eval-file", f"{path} is larger than 256 MiB", exit_code=1)
        data = path.read_bytes()
        lines = data.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise Failure("eval-file", f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        raise Failure("eval-file", f"{path} is no UTF-8 (byte {error.start})", exit_code=1) from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Failure("eval-file", f"{path}:{number}: this is no JSON: {error}", detail=(line[:200],), exit_code=1
                          ) from None
        if not isinstance(row, dict):
            raise Failure("eval-file", f"{path}:{number}: a question has `question` and `answer`",
                          detail=(line[:200],), exit_code=1)
        rows.append((f"{path}:{number}", row))
    if not rows:
        raise Failure("eval-file", f"{path} holds no question", exit_code=1)
    return rows, data


def _task(name: str, rows: Sequence[tuple[str, dict[str, Any]]], settings: Mapping[str, Any], digest: Any) -> OwnTask:
    rule = settings.get("score", "includes")
    questions = dict[str, OwnQuestion]()
    for place, row in rows:
        one = _question(place, row, rule, settings.get("prompt"))
        if one.id in questions:
            raise Failure("eval-file", f"{place}: another question has the id `{one.id}` already", exit_code=1)
        questions[one.id] = one
    return OwnTask(name, tuple(questions.values()), rule, settings.get("system"),
                   settings.get("max_tokens", RULES[rule].tokens), f"sha256:{digest.hexdigest()}")


def _question(place: str, row: Mapping[str, Any], rule: str, prompt: str | None) -> OwnQuestion:
    asked = next((row[key] for key in _QUESTION if key in row), None)
    right = next((row[key] for key in _ANSWER if key in row), None)
    if not isinstance(asked, str) or right is None or right == []:
        missing = "question" if not isinstance(asked, str) else "answer"
        raise Failure("eval-file", f"{place}: there is no `{missing}`", exit_code=1,
                      hint=f"it may be called {', '.join(_QUESTION if missing == 'question' else _ANSWER)}")
    answers = [right] if not isinstance(right, list) else right
    choices = row.get("choices")
    if rule == "choice":
        if not isinstance(choices, list) or not 2 <= len(choices) <= len(_LETTERS):
            raise Failure("eval-file", f"{place}: `choices` must be a list of 2 to {len(_LETTERS)} texts", exit_code=1)
        answers = [_letter(place, one, choices) for one in answers]
        listed = "\n".join(f"{letter}) {one}" for letter, one in zip(_LETTERS, choices, strict=False))
        asked = f"{asked}\n\n{listed}\n\nAnswer with the letter alone."
    if rule == "number" and any(_number(str(one)) is None for one in answers):
        raise Failure("eval-file", f"{place}: `answer` must be a number where answers are scored as numbers",
                      exit_code=1)
    text = asked if prompt is None else _filled(place, prompt, {**row, "question": asked})
    known = row.get("id")
    identity = str(known) if known is not None else hashlib.sha256(text.encode()).hexdigest()[:16]
    return OwnQuestion(identity, text, tuple(str(one) for one in answers))


def _filled(place: str, prompt: str, row: Mapping[str, Any]) -> str:
    """The prompt with the row's values in the place of `{{name}}`."""
    def value(match: re.Match[str]) -> str:
        if match[1] not in row:
            raise Failure("eval-file", f"{place}: the prompt wants `{match[1]}`, and the question has none",
                          hint="it has " + ", ".join(sorted(row)), exit_code=1)
        return str(row[match[1]])

    return _BLANK.sub(value, prompt)


def _letter(place: str, answer: Any, choices: Sequence[Any]) -> str:
    """The letter of the right choice, which data sets say as its text, its letter or its number from 0."""
    if answer in choices:
        return _LETTERS[choices.index(answer)]
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return _LETTERS[answer]
    if isinstance(answer, str) and len(answer) == 1 and 0 <= _LETTERS.find(answer.upper()) < len(choices):
        return answer.upper()
    raise Failure("eval-file", f"{place}: `{answer}` is none of the choices", exit_code=1)


@dataclass(frozen=True)
class Rule:
    """How an answer is held against a right one; `tokens` is how long answers may be where nothing else is said."""

    doc: str
    right: Callable[[str, str], bool]
    tokens: int


def _plain(text: str) -> str:
    """Without capitals, punctuation at words' ends, and more than one blank."""
    return " ".join(bare for word in text.casefold().split() if (bare := word.strip(string.punctuation + "“”‘’«»¿¡")))


def _exact(answer: str, right: str) -> bool:
    return _plain(answer) == _plain(right)


def _includes(answer: str, right: str) -> bool:
    return bool(_plain(right)) and f" {_plain(right)} " in f" {_plain(answer)} "


_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def _number(text: str) -> float | None:
    found = _NUMBER.findall(text[-10_000:])
    return float(found[-1].replace(",", "")) if found else None


def _same_number(answer: str, right: str) -> bool:
    said, wanted = _number(answer), _number(right)
    return said is not None and wanted is not None and abs(said - wanted) <= 1e-6 * max(1.0, abs(wanted))


_SAID = re.compile(r"answer(?:\s+is)?\s*[:=]?\s*\W{0,4}([A-Z])\b", re.IGNORECASE)


def _choice(answer: str, right: str) -> bool:
    """The letter alone or first (`B`, `B)`, `(B) Paris`), else the last that follows the word `answer`."""
    text = answer.strip()
    if first := re.match(r"\W{0,3}([A-Za-z])(?:$|[\s).:*,\]])", text):
        lone = len(text) <= 3 or not first[0][-1:].isspace()
        if lone:
            return first[1].upper() == right
    said = _SAID.findall(text[-10_000:])
    return bool(said) and said[-1].upper() == right


RULES: dict[str, Rule] = {
    "exact": Rule("the answer is the right one, but for capitals, blanks and punctuation", _exact, 64),
    "includes": Rule("the right one stands in the answer, as whole words", _includes, 128),
    "number": Rule("the last number of the answer is the right one", _same_number, 512),
    "choice": Rule("the letter that the answer begins with, or says as its answer, is the right choice's", _choice, 64),
}
