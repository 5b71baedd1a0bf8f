"""How fast a download is beside curl: the same file from the same loopback server, in turns, first one then the other.

    python benchmarks/download.py [--size MiB] [--pairs N] [--folder DIR]

modelkit hashes the file, writes it and has it on the disk before it says that it is there; curl only writes. So each
pair has two baselines: `curl -o` as it is, and followed by a sync of the file. On a folder in memory (`/dev/shm`) both
are the same, and what is measured is the link and the processor; on a disk, whatever is slowest.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from modelkit.models.sources.download import Remote, download
from modelkit.models.store import Store, quiet

SERVER = """
import contextlib, os, re, socket, sys, threading

def answer(connection, file):
    size = os.fstat(file).st_size
    with connection, contextlib.suppress(OSError):
        while head := connection.recv(65536):
            asked = re.search(rb"(?i)range: bytes=(\\d+)-(\\d*)", head)
            start, end = (int(asked[1]), int(asked[2] or size - 1) + 1) if asked else (0, size)
            connection.sendall(b"HTTP/1.1 206 Partial Content\\r\\nContent-Range: bytes %d-%d/%d\\r\\n" % (
                start, end - 1, size) if asked else b"HTTP/1.1 200 OK\\r\\n")
            connection.sendall(b'ETag: "1"\\r\\nContent-Length: %d\\r\\n\\r\\n' % (end - start))
            while start < end:
                start += os.sendfile(connection.fileno(), file, start, min(end - start, 1 << 22))

file = os.open(sys.argv[1], os.O_RDONLY)
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=answer, args=(server.accept()[0], file), daemon=True).start()
"""


def made(path: Path, size: int) -> str:
    """A file of noise, and its digest."""
    sha256, block = hashlib.sha256(), os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(size):
            part = number.to_bytes(8, "big") + block[8:]
            file.write(part)
            sha256.update(part)
    return "sha256:" + sha256.hexdigest()


def seconds_of_curl(url: str, folder: Path, *, sync: bool) -> float:
    target = folder / "curl"
    begun = time.perf_counter()
    subprocess.run(["curl", "-sS", "--noproxy", "*", "-o", target, url], check=True)
    if sync:
        with target.open("rb") as file:
            os.fsync(file.fileno())
    took = time.perf_counter() - begun
    target.unlink()
    return took


def seconds_of_modelkit(url: str, folder: Path, digest: str, size: int) -> float:
    store = Store(folder / "store")
    begun = time.perf_counter()
    download(Remote(url, digest, size), store, quiet, label="downloading")
    took = time.perf_counter() - begun
    shutil.rmtree(store.root)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write; a folder on a disk or in memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder, source = Path(name), Path(name) / "source"
        digest = made(source, arguments.size)
        size = source.stat().st_size
        server = subprocess.Popen([sys.executable, "-c", SERVER, source], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = f"http://{socket.gethostbyname('localhost')}:{int(server.stdout.readline())}/model.gguf"
            seconds_of_modelkit(url, folder, digest, size)  # so that everything is imported and the source is read
            took = [(seconds_of_curl(url, folder, sync=False), seconds_of_modelkit(url, folder, digest, size),
                     seconds_of_curl(url, folder, sync=True)) for _ in range(arguments.pairs)]
        finally:
            server.kill()
            server.wait()
    print(f"{arguments.size} MiB, {arguments.pairs} rounds, MiB/s (median): "
          + ", ".join(f"{name} {arguments.size / statistics.median(column):.0f}" for name, column in
                      zip(("curl", "modelkit", "curl and sync"), zip(*took, strict=True), strict=True)))
    for name, number in (("curl", 0), ("curl and sync", 2)):
        ratios = [round_[1] / round_[number] for round_ in took]
        print(f"modelkit's time as a part of that of {name}: median {statistics.median(ratios):.2f}, "
              f"from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
