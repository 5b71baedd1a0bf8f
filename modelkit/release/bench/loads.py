"""The two ways to load an engine: so many requests at a time, or so many a second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class Closed(BaseModel):
    """A closed loop: `concurrency` clients, each of which asks again as soon as it is answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["closed"] = "closed"
    concurrency: int = Field(ge=1, le=4096)

    def __str__(self) -> str:
        return f"{self.concurrency} at a time"


class Open(BaseModel):
    """An open loop: `rate` requests a second on average arrive whether or not the engine keeps up.

    `poisson` arrivals are those of many people who know nothing of each other; else they are evenly spaced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["open"] = "open"
    rate: float = Field(gt=0, le=100_000)
    poisson: bool = True

    def __str__(self) -> str:
        return f"{self.rate:g} a second"

    def arrivals(self, seed: int) -> Iterator[float]:
        """When requests are due, in seconds from the start; without end, and the same for the same seed."""
        generator, due = np.random.default_rng(seed), 0.0
        while True:
            yield due
            due += float(generator.exponential(1 / self.rate)) if self.poisson else 1 / self.rate


Load = Closed | Open
