"""Makes a pinned requirement set anew, and the digests of its wheels. For maintainers; asks package indexes.

    python -m modelkit.runtime.pin vllm 0.31.0 cpu            resolve, then digests
    python -m modelkit.runtime.pin vllm 0.32.0 cpu --digests  keep the pins, digests only

The set must have its row in `modelkit.engines.requirements`. Beside the pins (`<name>.txt`) lies `<name>.sha256`: for
each pin the digests of the files that fit Linux on x86_64 and aarch64 with the Pythons of the set. A local version
(`torch==2.13.0+cpu`, a stub) has none: whoever builds it, its bytes are theirs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

import modelkit.engines.requirements as room
from modelkit.engines.requirements import RequirementSet, requirement_set, tool_set
from modelkit.runtime import stub_wheel
from modelkit.runtime.package_index import PackageIndex, users_index
from modelkit.runtime.venv_build import find_uv

_HERE = Path(room.__file__).parent
_PIN = re.compile(r"([\w.-]+)==(\S+)")


def main(argv: Sequence[str] | None = None) -> int:
    """Write `<name>.txt` and `<name>.sha256` beside the sets."""
    parser = argparse.ArgumentParser(prog="python -m modelkit.runtime.pin", description="Pin a requirement set.")
    parser.add_argument("engine")
    parser.add_argument("version", nargs="?")
    parser.add_argument("variant", nargs="?", default="")
    parser.add_argument("--digests", action="store_true", help="keep the pins that are there")
    said = parser.parse_args(argv)
    wanted = tool_set(said.engine) or requirement_set(said.engine, said.version, said.variant)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for stub in wanted.stubs:
            stub_wheel.write(stub, work)
        index = users_index()
        if wanted.variant == "cuda":  # builds for CPUs that lie at hand must not be taken
            index = replace(index, find_links=(), extra_index_url=())
        index = index.with_folder(work)
        pins = _HERE / f"{wanted.name}.txt"
        if not said.digests:
            pins.write_text(_resolved(wanted, index, work), "utf-8")
        rows = digests(wanted, index, work)
    (_HERE / f"{wanted.name}.sha256").write_text("".join(f"{row}\n" for row in rows), "utf-8")
    sys.stdout.write(f"{wanted.name}: {len(rows)} of {len(_PIN.findall(wanted.text))} pins have digests\n")
    return 0


def _resolved(wanted: RequirementSet, index: PackageIndex, work: Path) -> str:
    asked = work / "asked.txt"
    cpu = wanted.variant == "cpu"
    packages = [f"{wanted.engine}{'-cpu' if cpu else ''}=={wanted.version}",
                *(f"{stub.name}=={stub.version}" for stub in wanted.stubs)]
    asked.write_text("\n".join(packages), "utf-8")
    text = _uv(index, "pip", "compile", str(asked), "--python-version", "3.11", "--python-platform",
               "x86_64-manylinux_2_28", "--no-annotate", "--no-header")
    names = "CPUs" if cpu else "NVIDIA GPUs"
    return (f"# {wanted.engine} {wanted.version} for {names}: everything it needs, pinned; resolved for Python 3.11 on "
            f"Linux.\n" + "".join(f"{line}\n" for line in text.splitlines() if _PIN.match(line)))


def digests(wanted: RequirementSet, index: PackageIndex, work: Path) -> list[str]:
    """A line for each pin whose files have digests that an index tells: the pin, then the digests, sorted."""
    lines = [line for line in wanted.text.splitlines() if (pin := _PIN.match(line)) and "+" not in pin[2]]
    asked, lock = work / "pins.txt", work / "pylock.toml"
    asked.write_text("\n".join(lines), "utf-8")
    _uv(index, "pip", "compile", str(asked), "--no-deps", "--universal", "--python-version",
        ".".join(map(str, wanted.pythons[0])), "--format", "pylock.toml", "-o", str(lock))
    packages = tomllib.loads(lock.read_text("utf-8"))["packages"]
    found = {f"{package['name']}=={package['version']}": _of(package, wanted) for package in packages}
    pins = [f"{pin[1]}=={pin[2]}" for line in lines if (pin := _PIN.match(line))]
    return [f"{pin} {' '.join(found[pin])}" for pin in pins if found.get(pin)]


def _of(package: dict[str, Any], wanted: RequirementSet) -> list[str]:
    fitting = [file for file in package.get("wheels", ()) if fits(_name(file), wanted)]
    files: Iterable[dict[str, Any]] = fitting or filter(None, [package.get("sdist")])
    return sorted({f"sha256:{file['hashes']['sha256']}" for file in files})


def _name(file: dict[str, Any]) -> str:
    return str(file.get("name") or file["url"].rpartition("/")[2])


def fits(name: str, wanted: RequirementSet) -> bool:
    """Whether a wheel of that name can be installed where the set can: on Linux, or on macOS too."""
    try:
        tags = parse_wheel_filename(name)[3]
    except InvalidWheelFilename:
        return False
    (major, first), (_, last) = wanted.pythons
    pythons = {f"cp{major}{minor}" for minor in range(first, last + 1)}
    systems = ("manylinux", "linux", "any") if wanted.linux_only else ("manylinux", "linux", "macosx", "any")
    return any(tag.platform.startswith(systems) and tag.platform.endswith(("x86_64", "aarch64", "arm64", "any"))
               and (tag.interpreter in pythons or tag.abi == "abi3" or tag.interpreter.startswith("py3"))
               for tag in tags)


def _uv(index: PackageIndex, *words: str) -> str:
    uv = find_uv()
    assert uv is not None, "uv is needed"
    own = dict(os.environ)
    done = subprocess.run([*uv, *words], check=False, capture_output=True, text=True, env=own | index.for_uv(own))
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
