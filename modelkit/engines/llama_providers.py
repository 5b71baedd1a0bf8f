"""Who provides llama.cpp on this machine, and whom a stage takes. Nothing is imported to find out.

`ENGINE llama.cpp` takes the first of: the llama-server that `$LLAMA_SERVER` names; modelkit's own engine on the
llama-cpp-python of our Python; the same in an environment of `modelkit engine install llama.cpp`; a `llama-server` on
PATH; the `xllamacpp` wheel. `ENGINE llama-server` takes the first that speaks llama-server's protocol.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import site
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelkit.failure import Failure
from modelkit.llamacpp.config import KNOWN
from modelkit.planning.forms import OWN
from modelkit.planning.plan import Engine

NEEDS = ("llguidance", "fastapi", "uvicorn", "uvloop", "httptools", "pydantic", "jinja2", "numpy")
"""What our engine imports beside llama_cpp."""

EXTRA = "pip install 'modelkit-llm[llama-cpp-python]'"


class Environment(Protocol):
    """What is known of an installed llama-cpp-python."""

    @property
    def version(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def command(self) -> str: ...


@dataclass(frozen=True)
class Provider:
    """One llama.cpp of this machine, and where it was found, in words."""

    engine: Engine
    where: str

    @property
    def protocol(self) -> bool:
        """Does it speak llama-server's protocol?"""
        return self.engine.provider != OWN

    def __str__(self) -> str:
        return f"{self.engine.provider} {self.engine.version} {self.where}"


def providers(environments: Iterable[Environment] = ()) -> tuple[Provider, ...]:
    """All that are here, in the order in which `ENGINE llama.cpp` takes them.

    Raises Failure when `$LLAMA_SERVER` names something else than a llama-server.
    """
    return tuple(_found(environments))


def taken(found: Sequence[Provider], word: str, specifier: str = "") -> Provider | None:
    """The one that a stage with that engine takes; the first whose version the specifier allows, if any is allowed."""
    able = [one for one in found if word == "llama.cpp" or one.protocol]
    if specifier:
        from packaging.specifiers import SpecifierSet

        allowed = SpecifierSet(specifier)
        able = [one for one in able if allowed.contains(one.engine.version, prereleases=True)] or able
    return able[0] if able else None


def why(found: Sequence[Provider], one: Provider, word: str) -> str:
    """Why it is the one, and which others are here."""
    if word != "llama.cpp":
        because = f"`ENGINE {word}` asks for its protocol"
    elif one.where == _NAMED:
        because = "LLAMA_SERVER names it"
    elif not one.protocol:
        because = "modelkit's own engine goes first"
    elif any(not other.protocol for other in found):
        because = "its version is asked for"
    else:
        missing = ", ".join(lacking())
        because = (f"modelkit's own engine lacks {missing}: {EXTRA}" if missing else
                   "modelkit's own engine is not here: modelkit engine install llama.cpp")
    others = ", ".join(str(other) for other in found if other is not one)
    return f"{because}; also here: {others}" if others else because


def version_here() -> str | None:
    """Of the llama-cpp-python that our Python sees as its children do: not the user's own packages."""
    if _folder() is None:
        return None
    try:
        return importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError:
        return None


def lacking() -> tuple[str, ...]:
    """What our Python lacks to run our engine, although it has llama-cpp-python; the version that fits among it."""
    version = version_here()
    if version is None:
        return ()
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    return (*(() if known(version) else (f"llama-cpp-python {'.'.join(map(str, KNOWN[0]))}",)), *missing)


def known(version: str) -> bool:
    """Whether our engine was written for that version of llama-cpp-python."""
    from packaging.version import Version

    return KNOWN[0] <= Version(version).release < KNOWN[1]


_NAMED = "named by LLAMA_SERVER"


def _found(environments: Iterable[Environment]) -> Iterator[Provider]:
    named = os.environ.get("LLAMA_SERVER")
    if named:
        if (version := _version(named)) is None:
            raise Failure("not-llama-server", f"LLAMA_SERVER names {named}, which is no llama-server that runs",
                          hint="name one that answers --version, or unset it")
        yield Provider(Engine(name="llama.cpp", provider="llama-server", version=version, command=(named,)), _NAMED)
    if (own := version_here()) is not None and not lacking():
        yield Provider(Engine(name="llama.cpp", provider=OWN, version=own, command=(sys.executable,),
                              variant=_variant(_folder())), "in modelkit's own Python")
    for one in environments:
        if known(one.version):
            yield Provider(Engine(name="llama.cpp", provider=OWN, version=one.version, command=(one.command,),
                                  variant=one.variant), "in its environment")
    binary = None if named else shutil.which("llama-server")
    if binary and (version := _version(binary)) is not None:
        yield Provider(Engine(name="llama.cpp", provider="llama-server", version=version, command=(binary,)),
                       "on PATH")
    if importlib.util.find_spec("xllamacpp") is not None:
        yield Provider(Engine(name="llama.cpp", provider="xllamacpp", command=(sys.executable,),
                              version=importlib.metadata.version("xllamacpp")), "in modelkit's own Python")


def _folder() -> Path | None:
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None or spec.origin.startswith(str(site.getusersitepackages())):
        return None
    return Path(spec.origin).parent


def _variant(folder: Path | None) -> str:
    """What it was built for, as its libraries' names say."""
    libraries = " ".join(path.name for path in (folder / "lib").glob("*ggml-*")) if folder else ""
    return next((name for name in ("cuda", "hip", "metal", "vulkan", "sycl") if f"ggml-{name}" in libraries), "cpu")


def _version(binary: str) -> str | None:
    """The build number that `--version` tells, as a version; None when it is not llama-server."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=False,
                              stdin=subprocess.DEVNULL, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
    # "version: 6123 (abcdef0)", since 2026 "version: 0.5.0 (build 11434, commit abcdef0)"
    found = (re.search(r"^version: \S+ \(build (\d+)", said.stdout + said.stderr, re.M)
             or re.search(r"^version: (\d+)", said.stdout + said.stderr, re.M))
    return found[1] if found else None
