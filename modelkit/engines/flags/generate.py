"""Makes a flag table anew from an engine's own parser. For maintainers; needs the network, and is never run by users.

    python -m modelkit.engines.flags.generate vllm 0.33.0 --python ENVIRONMENT/bin/python
    python -m modelkit.engines.flags.generate llama-server 11549 --sources xllamacpp-2026.10.11549.tar.gz
    python -m modelkit.engines.flags.generate llama-server 10434 --binary ./llama-server

vLLM's Python files come from its source distribution; `--python` is one that has what they import (any environment
of modelkit's will do). llama-server is asked for its `--help`; where there is no binary, its README says the same: it
is made by that parser, and held against `common/arg.cpp`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from modelkit.engines.flags import read_help
from modelkit.engines.flags.table import FlagTable, parse

_HERE = Path(__file__).parent


def main(argv: list[str] | None = None) -> int:
    """Write `<engine>-<version>.json` beside this file."""
    parser = argparse.ArgumentParser(prog="python -m modelkit.engines.flags.generate", description="Make a flag table.")
    parser.add_argument("engine", choices=["vllm", "llama-server"])
    parser.add_argument("version", help="the engine's version; of llama.cpp the build number")
    parser.add_argument("--python", default=sys.executable, help="for vllm: a Python that has what it imports")
    parser.add_argument("--sources", type=Path, help="a source distribution (default for vllm: from pip's index)")
    parser.add_argument("--binary", type=Path, help="for llama-server: one that runs")
    parser.add_argument("--source", help="for --binary: where it is from, for the table's header")
    said = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work:
        if said.engine == "vllm":
            made = vllm(said.version, said.sources or fetch(f"vllm-{said.version}.tar.gz", Path(work)), said.python,
                        Path(work))
        elif said.binary:
            made = read_help.table(said.version, _help(said.binary), said.source or said.binary.name)
        else:
            made = llama_server(said.version, said.sources)
    target = _HERE / f"{made.engine}-{said.version}.json"
    target.write_text(made.text(), "utf-8")
    sys.stdout.write(f"{target.name}: {len(made.flags)} flags\n")
    return 0


def vllm(version: str, archive: Path, python: str, work: Path) -> FlagTable:
    """Unpack vLLM's Python files and ask its parser in a process of `python`."""
    sources = work / "sources"
    with tarfile.open(archive) as packed:
        for member in packed:
            _, _, inside = member.name.partition("/")
            if member.isfile() and inside.startswith("vllm/"):
                member.name = inside
                packed.extract(member, sources, filter="data")
    child = subprocess.run([python, "-P", str(_HERE / "children" / "vllm_child.py"), str(sources)], check=True,
                           stdout=subprocess.PIPE, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    said = json.loads(child.stdout)
    assert said["version"] == version, f"these are the sources of {said['version']}"
    rows = [{key: value for key, value in row.items() if value is not None} for row in said["flags"]]
    return parse(json.dumps({"engine": "vllm", "version": version, "read": "parser", "source": _named(archive),
                             "lists": {name: said[name] for name in ("tool_parsers", "reasoning_parsers")},
                             "flags": rows}))


def fetch(name: str, work: Path) -> Path:
    """A file of pip's package index, held against the digest that the index gives for it."""
    project, index = name.partition("-")[0], _index()
    with urllib.request.urlopen(f"{index}/{project}/", timeout=60) as answer:
        page = answer.read().decode()
    found = re.search(rf'href="([^"#]+)#sha256=([0-9a-f]{{64}})"[^>]*>{re.escape(name)}<', page)
    if found is None:
        raise SystemExit(f"there is no {name} on {index}")
    target = work / name
    with urllib.request.urlopen(found[1], timeout=600) as answer:
        target.write_bytes(answer.read())
    if _digest(target) != found[2]:
        raise SystemExit(f"{name} is not what the index says it is")
    return target


def _index() -> str:
    """The package index that pip is told to use."""
    said = os.environ.get("PIP_INDEX_URL") or subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()
    if not said:
        raise SystemExit("set PIP_INDEX_URL to a package index, or give the source distribution by --sources")
    return said.rstrip("/")


def llama_server(version: str, archive: Path) -> FlagTable:
    """The table of the README in a source distribution that carries llama.cpp's."""
    wanted = ("common/arg.cpp", "tools/server/README.md")
    with tarfile.open(archive) as packed:
        texts = {next(name for name in wanted if member.name.endswith("/" + name)): file.read().decode()
                 for member in packed if member.name.endswith(tuple("/" + name for name in wanted))
                 and (file := packed.extractfile(member))}
    made = read_help.table(version, texts[wanted[1]], _named(archive))
    strange = [word for word in made.by_word if f'"{word}"' not in texts[wanted[0]]]
    assert not strange, f"the README is not of these sources: {strange}"
    return made


def _help(binary: Path) -> str:
    said = subprocess.run([str(binary), "--help"], check=True, capture_output=True, text=True,
                          env={**os.environ, "LD_LIBRARY_PATH": str(binary.parent), "COLUMNS": "200"})
    return said.stdout


def _named(archive: Path) -> str:
    return f"{archive.name} sha256:{_digest(archive)}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
