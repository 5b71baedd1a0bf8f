"""How long an editor waits for `modelkit lsp`: from an edit to its findings, over stdin and stdout.

    python benchmarks/language_server.py [EDITS]

One server, a client of the standard library alone, one edit after another: the text is sent whole, a parameter's value
changes and an error comes and goes. An ordinary Modelfile is `examples/support`; the long one has a system prompt of
100 kB besides. Processor time is the server's own, without what the machine does beside it.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import psutil

EXAMPLE = Path(__file__).parents[1] / "examples" / "support" / "Modelfile"
PROMPT = 'SYSTEM """' + ("You answer briefly, kindly and truthfully. " * 2 + "\n") * 1160 + '"""\n'
POSITION = {"line": 10, "character": 12}


class Editor:
    """A client that has one file open."""

    def __init__(self) -> None:
        began = time.perf_counter()
        self._server = Popen([sys.executable, "-m", "modelkit", "lsp"], stdin=PIPE, stdout=PIPE)
        self._process = psutil.Process(self._server.pid)
        self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        self.started = time.perf_counter() - began
        self._send({"method": "initialized", "params": {}})
        self._version = 0

    def ask(self, method: str, params: Any) -> float:
        """Seconds until the answer."""
        began = time.perf_counter()
        self._send({"id": 1, "method": method, "params": params})
        assert "error" not in self._receive()
        return time.perf_counter() - began

    def type(self, text: str) -> float:
        """Seconds until the findings of this text."""
        self._version += 1
        document = {"uri": EXAMPLE.as_uri(), "version": self._version}
        began = time.perf_counter()
        if self._version == 1:
            self._send({"method": "textDocument/didOpen",
                        "params": {"textDocument": {**document, "languageId": "modelfile", "text": text}}})
        else:
            self._send({"method": "textDocument/didChange",
                        "params": {"textDocument": document, "contentChanges": [{"text": text}]}})
        assert self._receive()["params"]["version"] == self._version
        return time.perf_counter() - began

    @property
    def processor(self) -> float:
        """Seconds of processor time so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def leave(self) -> None:
        self.ask("shutdown", None)
        self._send({"method": "exit"})
        self._server.wait()

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._server.stdin is not None
        self._server.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._server.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._server.stdout is not None
        length = 0
        while (line := self._server.stdout.readline().strip()) or not length:
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(self._server.stdout.read(length))
        return message


def measure(title: str, text: str, edits: int) -> None:
    editor = Editor()
    first = editor.type(text)
    before = editor.processor
    waits = [editor.type(f"{text}PARAMETER {'top_k' if number % 2 else 'topk'} {number}\n") for number in range(edits)]
    work = (editor.processor - before) / edits
    place = {"textDocument": {"uri": EXAMPLE.as_uri()}, "position": POSITION}
    asked = [statistics.median(editor.ask(f"textDocument/{what}", place) for _ in range(20))
             for what in ("completion", "hover")]
    editor.leave()
    waits.sort()
    print(f"{title:<10}{editor.started:>8.2f} s{first:>8.2f} s{1000 * statistics.median(waits):>10.1f} ms"
          f"{1000 * waits[int(len(waits) * 0.95)]:>10.1f} ms{1000 * work:>10.1f} ms"
          + "".join(f"{1000 * one:>12.1f} ms" for one in asked))


def main() -> None:
    edits = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{'':<10}{'started':>10}{'opened':>10}{'edit p50':>13}{'edit p95':>13}{'processor':>13}{'completion':>15}"
          f"{'hover':>15}")
    text = EXAMPLE.read_text("utf-8")
    measure("ordinary", text, edits)
    measure("long", text + PROMPT, edits)


if __name__ == "__main__":
    main()
