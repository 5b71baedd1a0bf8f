"""What the edge counts, in Prometheus' text format. Labels come from tables, never from a client's words."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

BUCKETS = (0.005, *(0.01 * 2 ** n for n in range(14)))  # 5 ms, then OpenTelemetry's for generation: 10 ms … 81.92 s
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]


class Series(NamedTuple):
    """The labels of one counter of requests."""

    stage: str
    model: str
    version: str
    route: str
    code: int


class Histogram:
    """Counts by bucket, and the sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


class Counter:
    """The requests of one series. Its histograms are shared by all models and codes of a route."""

    __slots__ = ("_duration", "_ttft", "count")

    def __init__(self, duration: Histogram, ttft: Histogram) -> None:
        self.count = 0
        self._duration, self._ttft = duration, ttft

    def answered(self, seconds: float | None, first_byte: float | None) -> None:
        """One request is over, after `seconds` if an engine worked on it; a stream began after `first_byte`."""
        self.count += 1
        if seconds is not None:
            self._duration.observe(seconds)
        if first_byte is not None:
            self._ttft.observe(first_byte)


class Metrics:
    """Counters and histograms of one edge. `extra` may add whole lines: the supervisor's gauges."""

    def __init__(self) -> None:
        self.extra: Callable[[], Iterable[str]] | None = None
        self._requests: dict[Series, Counter] = {}
        self._durations: dict[tuple[str, str, str], Histogram] = {}
        self._ttft: dict[tuple[str, str, str], Histogram] = {}
        self._rejected: dict[str, int] = {}
        self._broken: dict[str, int] = {}

    def counter(self, series: Series) -> Counter:
        """Where requests of this series are counted; to be kept, since it never changes."""
        known = self._requests.get(series)
        if known is None:
            key = (series.stage, series.version, series.route)
            known = self._requests[series] = Counter(self._durations.setdefault(key, Histogram()),
                                                     self._ttft.setdefault(key, Histogram()))
        return known

    def rejected(self, reason: str) -> None:
        """The edge itself said no; `reason` is the code of its envelope."""
        self._rejected[reason] = self._rejected.get(reason, 0) + 1

    def broken(self, reason: str) -> None:
        """An answer that had begun did not end: `client_gone`, `engine_stopped`, `cut`, `stalled`."""
        self._broken[reason] = self._broken.get(reason, 0) + 1

    def render(self, in_flight: Mapping[Labels, int], info: Iterable[Labels], connections: int) -> str:
        """The whole exposition; `in_flight` and `info` come with their labels, the rest is known here."""
        lines = [*family("modelkit_requests_total", "counter", "Requests answered.", (
                     (tuple(zip(Series._fields, map(str, series), strict=True)), counter.count)
                     for series, counter in self._requests.items())),
                 *_histograms("modelkit_request_duration_seconds", "From a request's head to its answer's end.",
                              self._durations),
                 *_histograms("modelkit_ttft_seconds", "From a request's head to the first byte of its stream.",
                              self._ttft),
                 *family("modelkit_inflight", "gauge", "Requests that an engine is working on.", in_flight.items()),
                 *family("modelkit_connections", "gauge", "Open client connections.", [((), connections)]),
                 *family("modelkit_rejected_total", "counter", "Requests that the edge itself refused.",
                         (((("reason", reason),), count) for reason, count in self._rejected.items())),
                 *family("modelkit_broken_total", "counter", "Answers that began and did not end.",
                         (((("reason", reason),), count) for reason, count in self._broken.items())),
                 *family("modelkit_info", "gauge", "What is behind the edge.", ((labels, 1) for labels in info))]
        if self.extra is not None:
            lines += self.extra()
        return "\n".join(lines) + "\n"


def family(name: str, kind: str, about: str, samples: Iterable[tuple[Labels, float]]) -> list[str]:
    """The lines of one metric, for `Metrics.extra` too.

    >>> family("up", "gauge", "Whether.", [((("engine", "a\\"b"),), 1)])
    ['# HELP up Whether.', '# TYPE up gauge', 'up{engine="a\\\\"b"} 1']
    """
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}",
            *(f"{name}{_braces(labels)} {value:g}" if isinstance(value, float) else f"{name}{_braces(labels)} {value}"
              for labels, value in samples)]


def _histograms(name: str, about: str, series: Mapping[tuple[str, str, str], Histogram]) -> list[str]:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} histogram"]
    for key, histogram in series.items():
        if not any(histogram.counts):
            continue
        labels = tuple(zip(("stage", "version", "route"), key, strict=True))
        below = 0
        for bound, count in zip((*BUCKETS, float("inf")), histogram.counts, strict=True):
            below += count
            le = "+Inf" if bound == float("inf") else f"{bound:g}"
            lines.append(f"{name}_bucket{_braces((*labels, ('le', le)))} {below}")
        lines += (f"{name}_sum{_braces(labels)} {histogram.total!r}", f"{name}_count{_braces(labels)} {below}")
    return lines


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels) + "}" if labels else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
