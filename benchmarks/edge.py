"""How much the edge moves, against the same load without it.

    python benchmarks/edge.py [--seconds 4] [--json] [--profile FILE]

Method: a null engine (edge_upstream.py), the edge and the load (edge_load.py) are three processes, all Python on
uvloop, all on the cores of this machine together; 64 kept-alive connections, each with one request out at a time.
First the load goes to the engine's Unix socket, then through the edge; this twice over, and the better of two
counts. The edge asks for a key, counts, and writes its access log to a file. `requests` are small JSON bodies both
ways, of several lengths under the same headers, as from a client library; in `traced` each has a header of its own.
`streams` are answers of 500 server-sent events of 250 bytes, each written by itself; `chunks a read` says how many
of them the load then found in one read, so how much was coalesced on the way. `latency` is one connection alone.

On a machine that does other work too, look at the last columns: the processor time that the edge itself used for one
request or chunk, and what the three processes together would reach on this machine's cores if they had them alone.
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
from typing import Any, TextIO

HERE = Path(__file__).parent
TARGETS = {"requests": ("requests_per_s", 15_000), "traced": ("requests_per_s", None),
           "streams": ("chunks_per_s", 100_000)}
CONNECTIONS = 64
Result = dict[str, Any]


async def serve(socket_path: str, log: TextIO) -> None:
    """The edge as the supervisor runs it."""
    from modelkit.runtime.edge import Access, Edge, Upstream, bind, key_hash

    lines: list[str] = []

    def flush() -> None:
        log.write("\n".join([*lines, ""]))
        lines.clear()
        asyncio.get_running_loop().call_later(0.25, flush)

    sockets = bind("127.0.0.1", 0)
    edge = Edge(sockets=sockets, access=Access((key_hash("benchmark-key"),)), log=lines.append)
    await edge.start()
    flush()
    edge.route(Upstream(socket_path, "0123456789ab", "bench", "null"), models=frozenset({"null"}))
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await edge.close(1)


def start(stack: ExitStack, *words: str) -> tuple[int, str]:
    """Start a server that ends when this program closes its input: its pid and its first line of output."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    stack.callback(process.wait)
    stack.callback(process.stdin.close)
    return process.pid, process.stdout.readline().strip()


def measure(kind: str, target: str, connections: int, seconds: float, *pids: int) -> Result:
    words = [str(HERE / "edge_load.py"), kind, target, str(connections), str(seconds), *map(str, pids)]
    return dict(json.loads(subprocess.check_output([sys.executable, *words], text=True)))


def compare(socket_path: str, address: str, seconds: float, pids: tuple[int, int]) -> list[Result]:
    rows = []
    for kind, (unit, wanted) in TARGETS.items():
        runs = [[measure(kind, target, CONNECTIONS, seconds, *pids) for target in (socket_path, address)]
                for _ in range(2)]
        direct, edge = (max((run[side] for run in runs), key=lambda run: float(run[unit])) for side in (0, 1))
        used = edge["cpu_per_s"]
        rows.append({"kind": kind, "unit": unit, "direct": round(direct[unit]), "edge": round(edge[unit]),
                     "ratio": round(edge[unit] / direct[unit], 3), "wanted": wanted,
                     "chunks_a_read": round(edge["chunks_per_read"], 1),
                     "edge_cpu_us": round(used[2] / edge[unit] * 1e6, 2),
                     "alone": round((os.cpu_count() or 1) / max(sum(used), 1e-9) * edge[unit])})
    direct, edge = (measure("requests", target, 1, seconds / 2)["median_ms"] for target in (socket_path, address))
    rows.append({"kind": "latency", "unit": "median_ms", "direct": round(direct, 3), "edge": round(edge, 3),
                 "ratio": round(edge / direct, 2)})
    return rows


def line(row: Result) -> str:
    text = "{kind:8} direct {direct:>8}  edge {edge:>8} {unit:14} ratio {ratio:<6}".format(**row)
    if "wanted" in row:
        text += f"wanted {row['wanted'] or '-':>6}  edge's own {row['edge_cpu_us']} µs  alone {row['alone']}"
    return text + (f"  chunks a read {row['chunks_a_read']}" if row["kind"] == "streams" else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument("--profile", metavar="FILE", help="write the edge's cProfile data here (it is slower then)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = f"{folder}/engine.sock"
        engine, _ = start(stack, str(HERE / "edge_upstream.py"), path)
        profile = ["-m", "cProfile", "-o", arguments.profile] if arguments.profile else []
        edge, port = start(stack, *profile, str(HERE / "edge.py"), "--serve", path, f"{folder}/access.log")
        rows = compare(path, f"127.0.0.1:{port}", arguments.seconds, (engine, edge))
    if not arguments.json:
        print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    for row in rows:
        print(json.dumps(row) if arguments.json else line(row))
    return 0 if all(row["edge"] >= (row.get("wanted") or 0) for row in rows) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        import uvloop

        with Path(sys.argv[3]).open("a", buffering=64 * 1024) as log_file:
            uvloop.run(serve(sys.argv[2], log_file))
    else:
        sys.exit(main())
