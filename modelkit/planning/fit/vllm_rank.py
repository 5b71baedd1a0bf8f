"""What one GPU of vLLM's has to hold, or the machine where vLLM computes on processors, and what that leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.interval import Interval
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.vllm_cache import Cache, cache
from modelkit.planning.fit.vllm_overhead import (
    GiB,
    activation,
    batched_tokens,
    graphs,
    in_flight,
    outside,
    share,
)
from modelkit.planning.fit.vllm_weights import Tally, stages

PROCESS = Interval(0.9 * GiB, 1.15 * GiB, 1.6 * GiB)
"""Resident memory of vLLM 0.32 for CPUs before it has a model: Python, PyTorch, transformers, the API's server."""

Case = Literal["low", "expected", "high"]
"""Of what is only known as a range."""


@dataclass(frozen=True)
class Rank:
    """One GPU of a stage of the pipeline, or the machine where `device` is None."""

    weighed: Tally
    serving: Serving
    device: Device | None
    hardware: Hardware
    stage: int

    @property
    def anatomy(self) -> Anatomy:
        return self.weighed.anatomy

    @cached_property
    def tokens(self) -> int:
        return batched_tokens(self.anatomy, self.serving, self.device)

    @cached_property
    def weights(self) -> int:
        return self.weighed.on(self.serving, self.stage)

    @cached_property
    def activation(self) -> Interval:
        return activation(self.weighed, self.serving, self.tokens, on_gpu=self.device is not None)

    @cached_property
    def graphs(self) -> Interval:
        none = Interval(0, 0, 0)
        return none if self.device is None else graphs(self.anatomy, self.serving, self.tokens, self.device)

    @cached_property
    def outside(self) -> Interval:
        return PROCESS if self.device is None else outside(self.serving)

    @cached_property
    def cache(self) -> Cache:
        here = stages(len(self.anatomy.layers), self.serving.pipeline_parallel)[self.stage]
        flight = in_flight(self.serving, self.tokens, self.device)
        return cache(self.anatomy, self.serving, flight, layers=here)

    @property
    def requested(self) -> int:
        """Bytes that vLLM allows itself in all."""
        whole = self.device.memory if self.device is not None else self.hardware.ram or 0
        return math.ceil(whole * share(self.serving))

    def room(self, case: Case = "expected") -> int:
        """Bytes for the cache when everything else takes as much as in that case; below 0 where that is too much."""
        if not self.cache.groups:
            return 0
        if self.serving.kv_cache_bytes is not None:
            return self.serving.kv_cache_bytes
        others = (self.outside,) if self.device is None else (self.outside, self.activation, self.graphs)
        return self.requested - self.weights - sum(math.ceil(float(getattr(one, case))) for one in others)
