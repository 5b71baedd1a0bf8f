"""What a benchmark asks: prompts of given lengths in tokens, or one's own."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from modelkit.failure import Failure
from modelkit.release.client import Answer

Body = dict[str, Any]

_TEXT = ("time year people way day man thing woman life child world school state family student group country problem "
          "hand part place case week company system program question work number night point home water room mother "
          "area money story fact month lot right study book eye job word business issue side kind head house service "
          "friend father power hour game line end member law car city name team minute idea body back parent face "
          "level office door health person art war history party result change morning reason research girl")
_WORDS = _TEXT.split()
_PROBES = (16, 144)  # words: far enough apart for the slope, short enough for any context
_MOST_BYTES = 64 * 1024 * 1024


class Chat(Protocol):
    """Asks a model; `modelkit.release.client.Client` does."""

    async def chat(self, body: Body) -> Answer: ...


class Workload(Protocol):
    """Requests by their number. `describe` is what two results must have in common to be compared."""

    async def ready(self, client: Chat) -> Workload:
        """The same, fitted to the model. Raises Failure when the model does not answer."""

    def body(self, index: int) -> Body: ...

    def describe(self) -> dict[str, Any]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Synthetic:
    """Words without sense: `prompt` tokens as the engine counts them (system prompt and template included), and
    answers of exactly `answer` tokens where the engine knows `ignore_eos`.

    Either is a number or a range to draw from. No two prompts begin alike, nor do those of another `seed`, so that no
    cache of prefixes helps beyond the system prompt.
    """

    prompt: tuple[int, int] = (128, 128)
    answer: tuple[int, int] = (64, 64)
    seed: int = 0
    overhead: float = 0.0  # tokens of a prompt without words; both are measured by `ready`
    per_word: float = 1.0
    ignore_eos: bool = True
    notes: tuple[str, ...] = ()

    async def ready(self, client: Chat) -> Synthetic:
        fitted, answers = self, list[Answer]()
        for words in _PROBES:
            answer = await client.chat(fitted._body(words, 1, f"probe {words}"))
            if answer.status == 400 and fitted.ignore_eos:
                fitted = replace(fitted, ignore_eos=False, notes=(
                    "the engine has no `ignore_eos`: answers end where the model ends them",))
                answer = await client.chat(fitted._body(words, 1, f"probe {words}"))
            if answer.error:
                raise Failure("no-answer", f"the model does not answer: {answer.error}",
                              hint="`modelkit ps` and `modelkit logs` say how it is")
            answers.append(answer)
        short, long = (answer.usage.get("prompt_tokens") for answer in answers)
        if not isinstance(short, int) or not isinstance(long, int) or long <= short:
            return replace(fitted, notes=(*fitted.notes, "the engine does not count tokens: lengths are in words"))
        per_word = (long - short) / (_PROBES[1] - _PROBES[0])
        overhead = short - per_word * _PROBES[0]
        if self.prompt[0] < overhead + per_word:
            note = f"prompts have {round(overhead + per_word)} tokens at least: the system prompt and template are long"
            fitted = replace(fitted, notes=(*fitted.notes, note))
        return replace(fitted, per_word=per_word, overhead=overhead)

    def body(self, index: int) -> Body:
        chance = random.Random(f"{self.seed}/{index}")
        prompt, answer = chance.randint(*self.prompt), chance.randint(*self.answer)
        return self._body(max(1, round((prompt - self.overhead) / self.per_word)), answer, f"{self.seed}/{index}")

    def _body(self, words: int, answer: int, seed: str) -> Body:
        chance = random.Random(f"words {seed}")
        text = " ".join(chance.choice(_WORDS) for _ in range(words))
        body: Body = {"messages": [{"role": "user", "content": text}], "max_tokens": answer}
        return body | {"ignore_eos": True} if self.ignore_eos else body

    def describe(self) -> dict[str, Any]:
        return {"kind": "synthetic", "prompt_tokens": list(self.prompt), "answer_tokens": list(self.answer),
                "ignore_eos": self.ignore_eos}


@dataclass(frozen=True)
class Prompts:
    """One's own conversations, asked in turn. `digest` says which they were."""

    bodies: tuple[Body, ...]
    digest: str
    notes: tuple[str, ...] = ()

    async def ready(self, client: Chat) -> Prompts:
        answer = await client.chat(self.bodies[0] | {"max_tokens": 1})
        if answer.error:
            raise Failure("no-answer", f"the model does not answer the first prompt: {answer.error}",
                          hint="`modelkit ps` and `modelkit logs` say how it is")
        return self

    def body(self, index: int) -> Body:
        return self.bodies[index % len(self.bodies)]

    def describe(self) -> dict[str, Any]:
        return {"kind": "prompts", "prompts": len(self.bodies), "digest": self.digest}


def own_prompts(path: Path, answer: int | None) -> Prompts:
    """Prompts of a file: JSON lines with `messages` or `prompt` (other keys go along), or text, one prompt a line.

    `answer` is the most tokens of an answer where a line does not say. Raises Failure, with the line.
    """
    import hashlib

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise Failure("too-large", f"{path} is larger than 64 MiB", hint="a few hundred prompts are enough")
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise Failure("unreadable", f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise Failure("unreadable", f"{path} is not UTF-8 text") from None
    as_json = path.suffix in (".jsonl", ".ndjson")
    bodies = [_line(line, f"{path}:{number}", as_json) for number, line in enumerate(text.splitlines(), 1)
              if line.strip()]
    if not bodies:
        raise Failure("no-prompts", f"{path} holds no prompt", hint="one a line")
    most = {} if answer is None else {"max_tokens": answer}
    return Prompts(tuple(most | body for body in bodies), "sha256:" + hashlib.sha256(data).hexdigest())


def _line(line: str, place: str, as_json: bool) -> Body:
    if not as_json:
        return {"messages": [{"role": "user", "content": line.strip()}]}
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Failure("bad-prompt", f"{place}: this is no JSON: {error}", detail=(line[:200],)) from None
    if isinstance(said, str):
        return {"messages": [{"role": "user", "content": said}]}
    if isinstance(said, dict) and isinstance(prompt := said.pop("prompt", None), str):
        return said | {"messages": [{"role": "user", "content": prompt}]}
    if not isinstance(said, dict) or not isinstance(said.get("messages"), list) or not said["messages"]:
        raise Failure("bad-prompt", f"{place}: a line is a string, or an object with `prompt` or `messages`",
                      detail=(line[:200],))
    for ours in ("model", "stream", "stream_options"):
        said.pop(ours, None)
    return said
