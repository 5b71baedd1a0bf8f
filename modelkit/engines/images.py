"""The container images of engines: which one, of which version. Digests are looked up and locked, never listed here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.planning.plan import Engine


@dataclass(frozen=True)
class Image:
    """`name` with `{version}` where the tag has it; `versions` that this release writes flags for, the newest first."""

    name: str
    variant: str
    versions: tuple[str, ...]


_VLLM = ("0.32.0", "0.33.0", "0.31.0", "0.30.0", "0.29.0")

IMAGES: dict[str, tuple[Image, ...]] = {
    "vllm": (Image("docker.io/vllm/vllm-openai:v{version}", "cuda", _VLLM),
             Image("docker.io/vllm/vllm-openai-cpu:v{version}", "cpu", _VLLM)),
    "sglang": (Image("docker.io/lmsysorg/sglang:v{version}", "cuda", ("0.5.23",)),),
    "tensorrt-llm": (Image("nvcr.io/nvidia/tensorrt-llm/release:{version}", "cuda", ("1.2.1",)),),
    "vllm on ray": (Image("docker.io/rayproject/ray-llm:2.60.0-py312-cu130", "cuda", ("0.29.0",)),
                    Image("", "cpu", ("0.29.0",))),  # Ray publishes none for CPUs that has vLLM in it
}
"""The first version of each is the one that this release was tried with, and what is taken where nobody asks."""

_TAGGED_VERSION = re.compile(r":v?(\d+\.\d+(?:\.\d+)?(?:rc\d+)?)")


def image_engine(engine: str, specifier: str, said: str | None, accelerator: str | None,
                 platform: str = "") -> tuple[Engine, str]:
    """The engine in its image, and the image: what `SERVE image` says, else the engine's own of a fitting version.

    A platform that brings the engine in images of its own (`ray`) has rows of its own. Raises Failure for an engine
    that has no image, and for a version that none has.
    """
    own = f"{engine} on {platform}" in IMAGES
    rows = IMAGES.get(f"{engine} on {platform}" if own else engine)
    if rows is None:
        raise Failure("engine-without-image", f"{engine} runs as a process of this machine, not in a container",
                      hint="write `ENGINE vllm` in this stage, or `PLATFORM process` or `systemd`")
    variant = "cpu" if (accelerator or "").lower() == "cpu" or (said and "-cpu" in said) else "cuda"
    row = next((one for one in rows if one.variant == variant), None)
    if row is None or not (said or row.name):
        raise Failure("engine-without-image", f"{engine} has no image for CPUs",
                      hint="name a GPU: `SERVE accelerator L4`, or an image that runs on CPUs: `SERVE image`")
    if said is not None and not own and (tagged := _TAGGED_VERSION.search(said)) is not None:
        version = tagged[1]
    else:
        version = _newest(row, engine, specifier)
    from modelkit.planning.plan import Engine

    return (Engine(name=engine, provider="image", version=version, variant=variant, command=()),
            said or row.name.format(version=version))


def _newest(row: Image, engine: str, specifier: str) -> str:
    from packaging.specifiers import SpecifierSet

    allowed = SpecifierSet(specifier)
    for version in row.versions:
        if allowed.contains(version, prereleases=True):
            return version
    raise Failure("engine-version-unknown", f"no image of {engine} that this release knows is {specifier}",
                  hint=f"it knows {', '.join(row.versions)}")
