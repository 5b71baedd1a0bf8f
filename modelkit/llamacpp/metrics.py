"""What Prometheus reads: vLLM's metrics by vLLM's names, labels and buckets (0.32), so that one dashboard fits both.

Everything is counted on the event loop when a delta arrives there; the engine's thread is asked for nothing but plain
numbers, when somebody reads.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from modelkit.llamacpp.jobs import Delta

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# vLLM 0.32, v1/metrics/buckets.py. Seconds.
TO_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
            80.0, 160.0, 640.0, 2560.0)
BETWEEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
WHOLE = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
         1920.0, 7680.0)

REASONS = ("stop", "length", "abort", "error")
"""How an answer can end: `abort` is a client that left."""


class Counted(Protocol):
    """What the engine's thread counts. Cells are places of the attention cache, each for one token."""

    running: int  # sequences in the batch
    waiting: int
    kv_used: int  # cells
    kv_tokens: int  # all cells
    prefix_queries: int  # prompt tokens that were looked for in the cache, and those found
    prefix_hits: int
    preemptions: int


class Histogram:
    """Counts by bucket, and the sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """The counters of one engine."""

    def __init__(self, model: str) -> None:
        self._labels = f'engine="0",model_name="{_escaped(model)}"'
        self.to_first, self.between, self.queued = Histogram(TO_FIRST), Histogram(BETWEEN), Histogram(WHOLE)
        self.whole = Histogram(WHOLE)
        self.prompt_tokens = self.generation_tokens = 0
        self.ended = dict.fromkeys(REASONS, 0)

    def watch(self, choices: int) -> Watch:
        """To be told of one job's deltas, from now on."""
        return Watch(self, choices)

    def render(self, counted: Counted) -> str:
        """The whole exposition."""
        return "\n".join(self._lines(counted)) + "\n"

    def _lines(self, now: Counted) -> Iterator[str]:
        for name, about, value in (
                ("num_requests_running", "Requests that are being computed.", now.running),
                ("num_requests_waiting", "Requests that wait for a place.", now.waiting),
                ("kv_cache_usage_perc", "Part of the attention cache in use; 1 is all.",
                 now.kv_used / now.kv_tokens if now.kv_tokens else 0.0)):
            yield from self._family(name, "gauge", about, {"": value})
        for name, about, value in (
                ("prefix_cache_queries_total", "Prompt tokens looked for in the cache.", now.prefix_queries),
                ("prefix_cache_hits_total", "Prompt tokens found in the cache.", now.prefix_hits),
                ("num_preemptions_total", "Requests put off for want of cache.", now.preemptions),
                ("prompt_tokens_total", "Prompt tokens read.", self.prompt_tokens),
                ("generation_tokens_total", "Tokens written.", self.generation_tokens)):
            yield from self._family(name, "counter", about, {"": value})
        yield from self._family("request_success_total", "counter", "Answers, by how they ended.",
                                {f'finished_reason="{reason}",': count for reason, count in self.ended.items()})
        for name, about, histogram in (
                ("time_to_first_token_seconds", "From a request to its first token.", self.to_first),
                ("inter_token_latency_seconds", "Between two tokens of an answer.", self.between),
                ("request_queue_time_seconds", "Until a request got a place.", self.queued),
                ("e2e_request_latency_seconds", "From a request to its answer's end.", self.whole)):
            yield from self._histogram(name, about, histogram)
        yield from _process()

    def _family(self, name: str, kind: str, about: str, samples: Mapping[str, float]) -> Iterator[str]:
        yield from _head(f"vllm:{name}", kind, about)
        for labels, value in samples.items():
            yield f"vllm:{name}{{{labels}{self._labels}}} {value}"

    def _histogram(self, name: str, about: str, histogram: Histogram) -> Iterator[str]:
        yield from _head(f"vllm:{name}", "histogram", about)
        below = 0
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            below += count
            yield f'vllm:{name}_bucket{{{self._labels},le="{bound}"}} {below}'
        yield f"vllm:{name}_sum{{{self._labels}}} {histogram.total}"
        yield f"vllm:{name}_count{{{self._labels}}} {below}"


class Watch:
    """The times of one job. Each choice counts as a request, as vLLM counts them."""

    __slots__ = ("_began", "_last", "_metrics", "_open")

    def __init__(self, metrics: Metrics, choices: int) -> None:
        self._metrics = metrics
        self._began = time.monotonic()
        self._last: dict[int, float] = {}
        self._open = choices

    def admitted(self, prompt_tokens: int, queued: float | None) -> None:
        """The first delta is here, after `queued` seconds of waiting for a place."""
        self._metrics.prompt_tokens += prompt_tokens
        if queued is not None:
            self._metrics.queued.observe(queued)

    def delta(self, delta: Delta) -> None:
        now, metrics = time.monotonic(), self._metrics
        if delta.tokens:
            metrics.generation_tokens += len(delta.tokens)
            last = self._last.get(delta.choice)
            if last is None:
                metrics.to_first.observe(now - self._began)
            else:
                metrics.between.observe(now - last)
            self._last[delta.choice] = now
        if delta.finish is not None:
            self._open -= 1
            metrics.ended[delta.finish] += 1
            metrics.whole.observe(now - self._began)

    def over(self, reason: str) -> None:
        """Whatever has not finished never will: `abort` or `error`."""
        self._metrics.ended[reason] += self._open
        self._open = 0


def _process() -> Iterable[str]:
    """The process itself, by the names that Prometheus' own clients use."""
    yield from _head("process_cpu_seconds_total", "counter", "Processor time spent.")
    yield f"process_cpu_seconds_total {time.process_time()}"
    if sys.platform == "linux":
        yield from _head("process_resident_memory_bytes", "gauge", "Memory in use.")
        yield f"process_resident_memory_bytes {_resident()}"


def _resident() -> int:
    import resource

    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()


def _head(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
