"""Runs in a Python that has llama-cpp-python: the engine's promises, tried on the real model. Results go out as JSON.

    python trial.py MODEL.gguf
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import adapter_file

from modelkit.contract.errors import ContractError
from modelkit.llamacpp import engine
from modelkit.llamacpp.computing import LlamaError
from modelkit.llamacpp.config import Config
from modelkit.llamacpp.jobs import Job, Sampling

CONTEXT = 448
GREEDY = Sampling(temperature=0)
QUESTIONS = ("Name three fruits.", "What is the capital of France?", "Count from one to ten.", "Tell me about the sea.",
             "How do birds fly?", "Who wrote Hamlet?")
STORIES = ("Tell me about the sea.", "Tell me a story about a dog.", "How do birds fly?", "Why does it rain?")


@dataclass
class Said:
    """An answer, or as much of it as was waited for."""

    ids: dict[int, list[int]] = field(default_factory=dict)
    logprobs: list[list[float]] = field(default_factory=list)  # of choice 0: the drawn token's, and those likeliest
    texts: dict[int, str] = field(default_factory=dict)
    finish: dict[int, str] = field(default_factory=dict)
    gaps: list[float] = field(default_factory=list)  # seconds between deltas, the first one since the start
    cached: int = 0
    prompt_logprobs: list[float | None] = field(default_factory=list)


@contextmanager
def running(model: str, **settings: Any):
    given = {"context_length": CONTEXT, "max_concurrency": 6, "kv_tokens": 2048, "threads": 1, **settings}
    one = engine.start(Config(model=model, socket="", profile="", fingerprint="", **given))
    try:
        yield one
    finally:
        one.close()


def chat(one: engine.LlamaEngine, text: str) -> tuple[int, ...]:
    said = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    return tuple(one.vocabulary.tokenize(said, add_special=False))


async def ask(one: engine.LlamaEngine, job: Job) -> Said:
    answer, said, last = one.submit(job), Said(), time.monotonic()
    async for delta in answer:
        now = time.monotonic()
        said.gaps.append(now - last)
        last = now
        said.ids.setdefault(delta.choice, []).extend(token.id for token in delta.tokens)
        said.texts[delta.choice] = said.texts.get(delta.choice, "") + delta.text
        if delta.choice == 0 and job.logprobs is not None:
            said.logprobs += [[token.logprob, *(other.logprob for other in token.top)] for token in delta.tokens]
        if delta.finish:
            said.finish[delta.choice] = delta.finish
    said.cached = answer.cached_tokens
    said.prompt_logprobs = [token.logprob if token else None for token in answer.prompt_logprobs]
    return said


def apart(alone: Said, other: Said) -> float:
    """How sure the model was, alone, of the token where both part (nats before the second one); 0 when they do not."""
    for place, (mine, yours) in enumerate(zip(alone.ids[0], other.ids[0], strict=False)):
        if mine != yours:
            best, second = sorted(alone.logprobs[place][1:], reverse=True)[:2]
            return best - second
    return 0.0 if len(alone.ids[0]) == len(other.ids[0]) else 99.0


def compared(alone: list[Said], others: list[Said]) -> dict[str, Any]:
    distances = [apart(one, other) for one, other in zip(alone, others, strict=True)]
    return {"equal": distances.count(0.0), "of": len(distances), "surest": max(distances)}


async def together(model: str) -> dict[str, Any]:
    """Alone without caching is the measure of everything else."""
    found: dict[str, Any] = {}
    with running(model, prefix_caching=False) as one:
        jobs = [Job(chat(one, text), GREEDY, 24, logprobs=2) for text in QUESTIONS]
        alone = [await ask(one, job) for job in jobs]
        found["batch"] = compared(alone, await asyncio.gather(*(ask(one, job) for job in jobs)))
        found["kept"] = one.stats().kv_cached
    with running(model, speculative="ngram") as one:
        guessed = [await ask(one, job) for job in jobs]
        repeat = Job(chat(one, "Repeat ten times: the cat sat on the mat, the cat sat on the mat."), GREEDY, 64)
        await ask(one, repeat)
        found["guessed"] = compared(alone, guessed) | {"drafted": one.stats().drafted, "accepted": one.stats().accepted}
    with running(model, context_length=128, kv_tokens=256) as one:  # room for three of four
        long = [Job(chat(one, text), GREEDY, 64, logprobs=2) for text in STORIES]
        measure = [await ask(one, job) for job in long]
        squeezed = await asyncio.gather(*(ask(one, job) for job in long))
        found["squeezed"] = compared(measure, squeezed) | {"preemptions": one.stats().preemptions,
                                                           "busy": one.stats().kv_used}
    return found


async def adapters(model: str) -> dict[str, Any]:
    """Two adapters and the base, one after the other and all at once."""
    with TemporaryDirectory() as folder:
        names = [None, "one", "two"]
        paths = tuple((name, str(adapter_file.write(Path(folder) / name, seed)))
                      for seed, name in enumerate(names) if name)
        with running(model, adapters=paths) as one:
            jobs = [Job(chat(one, QUESTIONS[0]), GREEDY, 8, logprobs=2, adapter=name) for name in names]
            alone = [await ask(one, job) for job in jobs]
            mixed = await asyncio.gather(*(ask(one, job) for job in jobs))
        (Path(folder) / "bad").write_bytes((Path(folder) / "one").read_bytes()[:20_000])
        try:
            with running(model, adapters=(("bad", str(Path(folder) / "bad")),)):
                refused = ""
        except LlamaError as error:
            refused = str(error)
    return compared(alone, mixed) | {"texts": [said.texts[0] for said in alone], "refused": refused}


async def prefixes(one: engine.LlamaEngine) -> dict[str, Any]:
    long = "The sea is deep and the sky is high. " * 20
    job = Job(chat(one, long + "Which one is deep?"), GREEDY, 16, logprobs=2)
    first, again = await ask(one, job), await ask(one, job)
    turn = await ask(one, replace(job, prompt=(*job.prompt, *first.ids[0], *chat(one, "And the other?"))))
    other = await ask(one, replace(job, prompt=chat(one, long + "Which one is high?")))
    several = await ask(one, replace(job, sampling=Sampling(seed=5), choices=3, logprobs=None))
    singles = [await ask(one, replace(job, sampling=Sampling(seed=5 + choice), logprobs=None)) for choice in range(3)]
    return {"prompt": len(job.prompt), "cached": [first.cached, again.cached, other.cached, turn.cached],
            "same": apart(first, again), "choices": [several.ids[choice] for choice in range(3)],
            "singles": [single.ids[0] for single in singles], "seconds": [first.gaps[0], again.gaps[0]]}


async def leaving(one: engine.LlamaEngine) -> dict[str, Any]:
    """Clients that go away: while they are answered, and in the middle of a long step."""
    answer = one.submit(Job(chat(one, QUESTIONS[3]), Sampling(seed=1, ignore_eos=True)))
    async for _ in answer:
        answer.cancel()
    left = [delta async for delta in answer]
    running_after = await settled(one)
    answer = one.submit(Job(chat(one, "word " * 400), GREEDY))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    answer.cancel()
    await settled(one)
    seconds = time.monotonic() - began
    after = await ask(one, Job(chat(one, QUESTIONS[1]), GREEDY, 24, logprobs=2))
    return {"left": len(left), "running": running_after, "seconds": seconds, "after": after.texts[0]}


async def settled(one: engine.LlamaEngine) -> list[int]:
    for _ in range(4000):
        if not (one.stats().running or one.stats().kv_used):
            break
        await asyncio.sleep(0.005)
    return [one.stats().running, one.stats().kv_used]


async def limits(one: engine.LlamaEngine) -> dict[str, Any]:
    refused = []
    for prompt in ((1,) * CONTEXT, (1,) * (CONTEXT + 500), (), (1, 10**6), (-1,)):
        try:
            one.submit(Job(prompt, GREEDY))
        except ContractError as error:
            refused.append([error.status, error.code, error.message])
    last = await ask(one, Job((1,) * (CONTEXT - 1), Sampling(temperature=0, ignore_eos=True)))
    full = await ask(one, Job((1,) * (CONTEXT - 20), Sampling(temperature=0, ignore_eos=True)))
    return {"refused": refused, "drawn": [len(last.ids[0]), len(full.ids[0])], "finish": [last.finish, full.finish]}


async def scores(one: engine.LlamaEngine) -> dict[str, Any]:
    """What the model thinks of its own answer, as it drew it and as a prompt."""
    prompt = chat(one, QUESTIONS[1])
    drawn = await ask(one, Job(prompt, GREEDY, 12, logprobs=2))
    read = await ask(one, Job((*prompt, *drawn.ids[0]), GREEDY, 1, prompt_logprobs=0))
    return {"first": read.prompt_logprobs[0], "length": len(read.prompt_logprobs) - len(prompt) - len(drawn.ids[0]),
            "drawn": [one[0] for one in drawn.logprobs], "read": read.prompt_logprobs[len(prompt):]}


async def between(one: engine.LlamaEngine) -> dict[str, Any]:
    """A long prompt among streams: nobody waits until it is read."""
    streams = [asyncio.create_task(ask(one, Job(chat(one, text), Sampling(temperature=0, ignore_eos=True), 40)))
               for text in QUESTIONS[:3]]
    await asyncio.sleep(0.5)
    long = await ask(one, Job(chat(one, "One two three four five six seven. " * 50), GREEDY, 4))
    return {"first": long.gaps[0], "longest": max(max(stream.gaps[1:]) for stream in await asyncio.gather(*streams))}


async def main(model: str) -> dict[str, Any]:
    found = await together(model)
    found["adapters"] = await adapters(model)
    with running(model) as one:
        for trial in (prefixes, leaving, limits, scores, between):
            found[trial.__name__] = await trial(one)
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1]))))
