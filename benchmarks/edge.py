"""How much the edge moves, against the same load without it.

    python benchmarks/edge.py [--seconds 4] [--profile]

Method: a null engine (edge_upstream.py), the edge and the load (edge_load.py) are three processes, all Python on
uvloop, all on the cores of this machine together; 64 kept-alive connections, each with one request out at a time.
First the load goes to the engine's Unix socket, then through the edge, twice over; the better of two counts. The
edge asks for a key, counts, and writes its access log to a file. `requests` are small JSON bodies both ways.
`streams` are answers of 500 server-sent events of 250 bytes, each written by itself; `chunks per read` says how
many of them the load then found in one read, so how much was coalesced on the way. `latency` is one connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

HERE = Path(__file__).parent
TARGETS = {"requests": ("requests_per_s", 15_000), "streams": ("chunks_per_s", 100_000)}
CONNECTIONS = 64


async def serve(socket_path: str, log: TextIO) -> None:
    """The edge as the supervisor runs it."""
    from modelkit.runtime.edge import Access, Edge, Upstream, bind, key_hash

    sockets = bind("127.0.0.1", 0)
    edge = Edge(sockets=sockets, access=Access((key_hash("benchmark-key"),)), log=lambda line: log.write(line + "\n"))
    await edge.start()
    edge.route(Upstream(socket_path, "0123456789ab", "bench", "null"), models=frozenset({"null"}))
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await edge.close(1)


def start(stack: ExitStack, *words: str) -> str:
    """Start a server that ends with this program; its first line of output."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    stack.callback(process.wait)
    stack.callback(process.terminate if "edge_upstream.py" in words[0] else process.stdin.close)
    return process.stdout.readline().strip()


def measure(kind: str, target: str, connections: int, seconds: float) -> dict[str, float]:
    done = subprocess.run([sys.executable, str(HERE / "edge_load.py"), kind, target, str(connections), str(seconds)],
                          stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def compare(socket_path: str, address: str, seconds: float) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for kind, (unit, wanted) in TARGETS.items():
        direct = {"": 0.0}, {"": 0.0}
        runs = [(measure(kind, socket_path, CONNECTIONS, seconds), measure(kind, address, CONNECTIONS, seconds))
                for _ in range(2)]
        direct, edge = (max((run[side] for run in runs), key=lambda run: run[unit]) for side in (0, 1))
        rows.append({"kind": kind, "unit": unit, "direct": round(direct[unit]), "edge": round(edge[unit]),
                     "ratio": round(edge[unit] / direct[unit], 3), "wanted": wanted,
                     "chunks_per_read": round(edge["chunks_per_read"], 1)})
    direct, edge = (measure("requests", target, 1, seconds / 2)["median_ms"] for target in (socket_path, address))
    rows.append({"kind": "latency", "unit": "median_ms", "direct": round(direct, 3), "edge": round(edge, 3),
                 "ratio": round(edge / direct, 2)})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument("--profile", metavar="FILE", help="write the edge's cProfile data here (and run slower)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = f"{folder}/engine.sock"
        start(stack, str(HERE / "edge_upstream.py"), path)
        profile = ["-m", "cProfile", "-o", arguments.profile] if arguments.profile else []
        port = start(stack, *profile, str(HERE / "edge.py"), "--serve", path, f"{folder}/access.log")
        rows = compare(path, f"127.0.0.1:{port}", arguments.seconds)
    if not arguments.json:
        print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    for row in rows:
        print(json.dumps(row) if arguments.json else "{kind:9} direct {direct:>10}  edge {edge:>10} {unit:15}"
              " ratio {ratio}".format(**row) + (f"  wanted {row['wanted']}" if "wanted" in row else "")
              + (f"  chunks per read {row['chunks_per_read']}" if row["kind"] == "streams" else ""))
    return 0 if all(row["edge"] >= row.get("wanted", 0) for row in rows) else 1  # type: ignore[operator]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        import uvloop

        with Path(sys.argv[3]).open("a", buffering=64 * 1024) as log_file:
            uvloop.run(serve(sys.argv[2], log_file))
    else:
        sys.exit(main())
