"""What is measured. In every round each server has its turn, in another order each time; the others are idle."""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time

from benchmarks.dev_engine.client import Heard, ask, asked
from benchmarks.dev_engine.servers import Server

STREAMS = 7
"""Answers that are running when a long prompt arrives."""

LONG = 2700
"""Tokens of that prompt, about."""


async def throughput(running: dict[str, Server], levels: list[int], tokens: int, rounds: int, slow: str,
                     ) -> dict[str, dict[int, list[dict[str, float]]]]:
    """Per server and level, one row a round; the first round warms up and is not kept."""
    found: dict[str, dict[int, list[dict[str, float]]]] = {name: {} for name in running}
    for level in levels:
        for number in range(rounds + 1):
            for name in _order(list(running), number):
                if name == slow and level not in (1, 16):
                    continue
                row = await _burst(running[name], level, tokens, number)
                if number:
                    found[name].setdefault(level, []).append(row)
                    print(f"{level:3} streams, {name}: {row['speed']:.1f} tokens/s", file=sys.stderr)
    return found


async def _burst(server: Server, level: int, tokens: int, number: int) -> dict[str, float]:
    streams = server.target.streams
    prompts = [f"{number}.{one}: tell me a long story about ship number {one * 7919 % 1000}." for one in range(level)]
    used, began = server.processor(), time.perf_counter()
    heard = await asyncio.gather(*(ask(server.target, asked(text, tokens, stream=streams)) for text in prompts))
    seconds, count = time.perf_counter() - began, sum(one.tokens for one in heard)
    row = {"speed": count / seconds, "cpu": (server.processor() - used) / count}
    if streams:
        gaps = [gap for one in heard for gap in one.gaps]
        row |= {"first50": _quantile([one.first for one in heard], 50),
                "first95": _quantile([one.first for one in heard], 95),
                "between50": _quantile(gaps, 50), "between95": _quantile(gaps, 95)}
    return row


async def long_prompt(running: dict[str, Server], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Seven streams are running; a long prompt that nobody has seen comes. Seconds."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in running}
    for number in range(rounds):
        for name in _order(list(running), number):
            target = running[name].target
            streams = [asyncio.create_task(ask(target, asked(f"Story {one} of {number}", 400)))
                       for one in range(STREAMS)]
            await asyncio.sleep(1.5)
            late = await ask(target, asked(words(f"{name}{number}", LONG), 4))
            heard: list[Heard] = await asyncio.gather(*streams)
            around = [gap for one in heard for gap in one.gaps]
            during = [b - a for one in heard for a, b in zip(one.events, one.events[1:], strict=False)
                      if late.began <= b and a <= late.events[0]]
            found[name].append({"stall": max(during), "median": statistics.median(around), "first": late.first})
            print(f"long prompt, {name}: {found[name][-1]}", file=sys.stderr)
    return found


async def prefix_again(running: dict[str, Server], rounds: int) -> dict[str, list[float]]:
    """Seconds to the first token of a long prompt that was answered just before."""
    found: dict[str, list[float]] = {name: [] for name in running}
    for number in range(rounds):
        for name in _order(list(running), number):
            request = asked(words(f"again{name}{number}", LONG), 2)
            await ask(running[name].target, request)
            found[name].append((await ask(running[name].target, request)).first)
    return found


def words(seed: str, tokens: int) -> str:
    """About so many tokens of text that begins like no other."""
    draw = random.Random(seed)
    known = ["river", "stone", "cloud", "house", "green", "seven", "quiet", "paper", "light", "train"]
    return f"{seed} " + " ".join(draw.choice(known) for _ in range(tokens - 40)) + ". What is this about?"


def _order(names: list[str], number: int) -> list[str]:
    turn = number % len(names)
    return names[turn:] + names[:turn]


def _quantile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0
