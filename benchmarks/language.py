"""How long checking takes, beside `owist-modelfile-lint` on the same files where both do the same work.

    python benchmarks/language.py [ROUNDS]        (the linter: pip install owist-modelfile-lint)

One process, the tools in turn, so that all see the same machine; seconds of the processor, so that its other work does
not count; imports and the first round are not counted. 1,000 ordinary Modelfiles: half in Ollama's own words, which the
linter reads too, half with stages and tests. The edit is a letter typed into a file of 400 lines, diagnosed as the
language server does it; through the server itself, over its pipe, the same is measured on the clock.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import IO, Any

from modelkit.findings.examine import examine
from modelkit.language.format import formatted
from modelkit.language.source import Source

FILES, EDITS = 1000, 30
SENTENCES = ("You are a careful assistant for a library.", "Answer in the reader's own language, briefly.",
             "Say so when you do not know, and never make up a title.", "Use a list only for several things.")
TEMPLATE = ('TEMPLATE """{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}<|im_start|>user\n'
            '{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n"""\n')


def ollamas(random: Random) -> str:
    """A Modelfile as people write them for Ollama: about 15 lines."""
    lines = "\n".join(random.sample(SENTENCES, random.randint(1, 4)))
    return (f'# For the desk, version {random.randint(1, 99)}.\nFROM llama3.2:{random.choice(("1b", "3b"))}\n\n'
            f'SYSTEM """\n{lines}\n"""\n{TEMPLATE if random.random() < 0.3 else ""}'
            f"PARAMETER temperature {random.randint(0, 10) / 10}\nPARAMETER top_p 0.9\nPARAMETER top_k 40\n"
            f'PARAMETER num_ctx {random.choice((2048, 4096, 8192))}\nPARAMETER stop "<|im_end|>"\n'
            f"MESSAGE user Where is shelf {random.randint(1, 99)}?\nMESSAGE assistant On the left.\n"
            "LICENSE Apache-2.0\n")


def ours(random: Random) -> str:
    """One with stages and a test: about 35 lines."""
    return f"""NAME desk-{random.randint(1, 99)}
{ollamas(random)}
STAGE dev {{
  QUANTIZE Q4_K_M
  SERVE max_concurrency {random.randint(1, 8)}
}}

STAGE prod {{
  ENGINE vllm >=0.32,<0.34
  SERVE max_concurrency 64
  SERVE api_key env:DESK_API_KEY
  EXPECT ttft.p95 <= 500ms
}}

TEST "finds the shelf" {{
  USER Where is shelf 7?
  EXPECT contains "left"
}}
"""


def apart(text: str, part: int) -> str:
    """The file as a part of a longer one: its stages and tests have names of their own."""
    for word, instead in (("STAGE prod", f"STAGE s{part} EXTENDS prod"), ("STAGE dev", f"STAGE d{part} EXTENDS dev"),
                          ('TEST "', f'TEST "{part} '), ("NAME", "# NAME")):
        text = text.replace(word, instead)
    return text


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def row(name: str, taken: list[float], unit: float, wanted: str = "") -> None:
    print(f"| {name} | {statistics.median(taken) * unit:.2f} | {min(taken) * unit:.2f} | {wanted} |", flush=True)


def served(texts: list[str]) -> Iterator[float]:
    """The time from each text's arrival at a language server to its findings."""
    command = [sys.executable, "-m", "modelkit", "lsp"]
    with suppress(ImportError), subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin and server.stdout
        send(server.stdin, {"id": 1, "method": "initialize", "params": {"capabilities": {}, "rootUri": None}})
        until(server.stdout, lambda said: said.get("id") == 1)
        send(server.stdin, {"method": "initialized", "params": {}})
        document = {"uri": "file:///bench/Modelfile", "languageId": "modelfile", "version": 0, "text": texts[0]}
        send(server.stdin, {"method": "textDocument/didOpen", "params": {"textDocument": document}})
        until(server.stdout, published)
        for version, text in enumerate(texts[1:], 1):
            start = time.perf_counter()
            send(server.stdin, {"method": "textDocument/didChange", "params": {
                "textDocument": {"uri": document["uri"], "version": version}, "contentChanges": [{"text": text}]}})
            until(server.stdout, published)
            yield time.perf_counter() - start
        send(server.stdin, {"id": 2, "method": "shutdown"})
        until(server.stdout, lambda said: said.get("id") == 2)
        send(server.stdin, {"method": "exit"})


def published(said: dict[str, Any]) -> bool:
    return said.get("method") == "textDocument/publishDiagnostics"


def send(pipe: IO[bytes], message: dict[str, Any]) -> None:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    pipe.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    pipe.flush()


def until(pipe: IO[bytes], wanted: Callable[[dict[str, Any]], bool]) -> None:
    while True:
        length = 0
        while (line := pipe.readline().strip()) or not length:
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if wanted(json.loads(pipe.read(length))):
            return


def main(rounds: int) -> None:
    random = Random(1)
    plain = [Source("Modelfile", ollamas(random)) for _ in range(FILES // 2)]
    staged = [Source("Modelfile", ours(random)) for _ in range(FILES // 2)]
    works: dict[str, Callable[[], object]] = {
        "modelkit, 500 of Ollama's": lambda: [examine(source) for source in plain],
        "modelkit, 500 with stages and tests": lambda: [examine(source) for source in staged],
        "modelkit fmt, the 1,000": lambda: [formatted(source) for source in (*plain, *staged)],
    }
    if importlib.util.find_spec("owist_modelfile_lint"):
        from owist_modelfile_lint import lint_text

        works["owist-modelfile-lint, 500 of Ollama's"] = lambda: [
            lint_text(source.text, estimate_resources=False) for source in plain]
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            taken[name].append(seconds(work))
    print("| what | median | best | wanted |\n|---|---|---|---|")
    for name, all_of_them in taken.items():
        row(f"{name}, s", all_of_them[1:], 1)
    checked = [a + b for a, b in zip(*list(taken.values())[:2], strict=True)]
    row("**modelkit check, 1,000 files, s**", checked[1:], 1, "< 2")
    base = "\n".join(apart(ours(random), part) for part in range(11))
    edits = [base + f"\nSYSTEM {'a' * n}" for n in range(EDITS)]
    print(f"\nAn edit in a file of {base.count(chr(10))} lines, {len(base) // 1000} KB:\n")
    print("| what | median | best | wanted |\n|---|---|---|---|")
    row("findings, ms", [seconds(lambda text=text: examine(Source("Modelfile", text))) for text in edits], 1e3, "< 50")
    if importlib.util.find_spec("pygls"):
        row("through the language server, on the clock, ms", list(served(edits)), 1e3, "< 50")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
