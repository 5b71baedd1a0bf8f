"""How an engine runs in a container, in words that every platform of containers can write down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelkit.engines.launch import File

if TYPE_CHECKING:
    from modelkit.planning.plan import ModelSource

CONFIG = "/etc/modelkit"
"""Where `Container.files` are found in the container."""

MODEL = "/models/base"
"""Where a model is found that the platform mounts (`oci` and `folder`)."""

ADAPTERS = "/models/adapters"
"""Where adapters are found that the platform mounts: each in a folder of its name."""


@dataclass(frozen=True)
class SecretVariable:
    """An environment variable whose value is a secret. `reference` is as in the Modelfile: `env:NAME`, `file:path`.

    `key` names it in the platform's store of secrets. `optional` ones may be missing there.
    """

    variable: str
    reference: str
    key: str
    optional: bool = False


@dataclass(frozen=True)
class Mount:
    """Something of the world that the container sees at `path`, read-only."""

    path: str
    source: ModelSource


@dataclass(frozen=True)
class Container:
    """One engine in its image, speaking the contract on `port`.

    `args` follow the image's own entry point, or `command` where that is not empty; `entry_point` is the image's own,
    for platforms that start a shell in it. `cache` is a folder that is worth keeping between two starts (weights that
    the engine fetches). Seconds are upper bounds: to ready after its start, to the end of the last request after
    SIGTERM.
    """

    image: str  # `repository@sha256:…`
    args: tuple[str, ...]
    command: tuple[str, ...] = ()
    entry_point: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[SecretVariable, ...] = ()
    files: tuple[File, ...] = ()
    mounts: tuple[Mount, ...] = ()
    cache: str | None = "/root/.cache/huggingface"
    port: int = 8000
    health: str = "/health"
    metrics: str | None = "/metrics"
    gpus: int = 1  # 0: it computes on CPUs
    shm_bytes: int = 0  # 0: what the platform gives anyway
    start_seconds: int = 1800
    drain_seconds: int = 60
