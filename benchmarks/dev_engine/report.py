"""The results as a table of ratios, for people and for docs/benchmarks.md."""

from __future__ import annotations

import statistics
from typing import Any

OURS = "modelkit"


def report(found: dict[str, Any]) -> None:
    """Print everything; a ratio is the median of the rounds' ratios, with the smallest and the largest."""
    table = found["throughput"]
    print("tokens/s (median of the rounds)")
    for level in found["levels"]:
        row = [f"{name} {statistics.median(r['speed'] for r in rows[level]):.1f}"
               for name, rows in table.items() if level in rows]
        ceiling = found.get("ceiling", {}).get(level)
        print(f"  {level:3} streams: " + ", ".join(row) + (f", ceiling {ceiling:.1f}" if ceiling else ""))
    for peer in (name for name in table if name != OURS):
        for level in table[peer]:
            pairs = [a["speed"] / b["speed"] for a, b in zip(table[OURS][level], table[peer][level], strict=True)]
            print(f"ratio to {peer}, {level} streams: {_spread(pairs)}")
    print("first token p50/p95 and between tokens p50/p95, ms")
    for name, rows in table.items():
        for level, each in rows.items():
            if "first50" in each[0]:
                said = " ".join(f"{statistics.median(r[key] for r in each) * 1e3:.0f}"
                                for key in ("first50", "first95", "between50", "between95"))
                print(f"  {name}, {level} streams: {said}")
    for name, each in found["long"].items():
        said = ", ".join(f"{key} {statistics.median(r[key] for r in each) * 1e3:.0f} ms"
                         for key in ("stall", "median", "first"))
        print(f"a long prompt among seven streams, {name}: {said}")
    for name, seconds in found["again"].items():
        print(f"a long prompt again, {name}: first token after {statistics.median(seconds) * 1e3:.0f} ms")
    for name, seconds in found["start"].items():
        print(f"start to first token, {name}: {statistics.median(seconds):.2f} s ({min(seconds):.2f} to "
              f"{max(seconds):.2f}); memory {found['memory'][name] / 1e6:.0f} MB")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f}, {len(values)} rounds)"
