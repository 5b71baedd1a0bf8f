"""The results of a run as pictures: `python -m benchmarks.dev_engine.plot RESULTS.json FOLDER` (needs matplotlib)."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    results, folder = Path(sys.argv[1]), Path(sys.argv[2])
    found = json.loads(results.read_text())
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "modelkit", "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)
    _throughput(found, folder / "dev-engine-throughput.svg")
    _long(found, folder / "dev-engine-long-prompt.svg")
    return 0


def _throughput(found: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for name, rows in found["throughput"].items():
        levels = sorted(rows, key=int)
        axes.plot([int(level) for level in levels],
                  [statistics.median(row["speed"] for row in rows[level]) for level in levels], "o-", label=name)
    if ceiling := found.get("ceiling"):
        levels = sorted(ceiling, key=int)
        axes.plot([int(level) for level in levels], [ceiling[level] for level in levels], "k:",
                  label="batched-bench, decode only")
    axes.set(xscale="log", xlabel="streams", ylabel="tokens/s", ylim=(0, None))
    axes.set_xticks(found["levels"], [str(level) for level in found["levels"]])
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _long(found: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot

    names = list(found["long"])
    figure, sides = pyplot.subplots(1, 2, figsize=(6, 2.6))
    for axes, key, title in zip(sides, ("stall", "first"), (
            "longest gap of seven streams, s", "the long prompt's first token, s"), strict=True):
        axes.bar(names, [statistics.median(row[key] for row in found["long"][name]) for name in names])
        axes.set_title(title)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
