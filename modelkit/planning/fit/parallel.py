"""How several GPUs can share a model under vLLM: every way to deal it out, what each holds, why some are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.vllm import Pool, budget, pool
from modelkit.planning.fit.vllm_sharing import refusal, warning
from modelkit.planning.fit.vllm_weights import Tally, tally


@dataclass(frozen=True)
class Layout:
    """One way. `refused` says why it cannot be had, `warning` what it costs where it can. `pool` is of one copy."""

    tensor_parallel: int
    pipeline_parallel: int
    data_parallel: int
    refused: str = ""
    warning: str = ""
    pool: Pool | None = None
    fits: bool | None = None
    experts: bool = False  # are dealt over all copies: they are not independent of each other

    @property
    def gpus(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel

    @property
    def conversations(self) -> float:
        """At full length at once, of all copies together."""
        return 0.0 if self.pool is None else self.pool.concurrency * self.data_parallel

    @property
    def verdict(self) -> str:
        """In one phrase: why not, what it costs, or how much room it has."""
        if self.refused:
            return f"no: {self.refused}"
        if self.fits is False:
            return "no: it does not fit"
        return self.warning or "yes"

    @property
    def words(self) -> str:
        """As a Modelfile says it; a copy of the model is a replica there, where it has all of its experts."""
        copies = "FLAG --data-parallel-size" if self.experts else "SERVE replicas"
        said = [f"{words} {number}" for words, number in (("SERVE tensor_parallel", self.tensor_parallel), (
            "SERVE pipeline_parallel", self.pipeline_parallel), (copies, self.data_parallel)) if number > 1]
        return ", ".join(said) or "one GPU"


def layouts(anatomy: Anatomy, serving: Serving, hardware: Hardware) -> list[Layout]:
    """Every way to use one or more of the machine's GPUs, the best first: those that fit and cost nothing, on most
    GPUs, then by conversations at full length; refused ones last. Empty where there is no GPU."""
    if serving.on_cpu or hardware.gpu is None or hardware.gpu.kind == "metal":
        return []
    weighed = tally(anatomy, serving.dtype)
    found = [_layout(weighed, serving, hardware, shape) for shape in _shapes(len(hardware.devices))]
    return sorted(found, key=lambda one: (bool(one.refused), one.fits is False, bool(one.warning), -one.gpus,
                                          -one.conversations, one.pipeline_parallel))


def _shapes(gpus: int) -> Iterator[tuple[int, int, int]]:
    """Tensor, pipeline and data parallelism of all products up to the number of GPUs."""
    for tensor in range(1, gpus + 1):
        for pipeline in range(1, gpus // tensor + 1):
            for data in range(1, gpus // (tensor * pipeline) + 1):
                yield tensor, pipeline, data


def _layout(weighed: Tally, serving: Serving, hardware: Hardware, shape: tuple[int, int, int]) -> Layout:
    (tensor, pipeline, data), anatomy = shape, weighed.anatomy
    if reason := refusal(weighed, tensor, pipeline, data):
        return Layout(tensor, pipeline, data, refused=reason)
    assert hardware.gpu is not None, "layouts are of GPUs"
    asked = replace(serving, tensor_parallel=tensor, pipeline_parallel=pipeline, data_parallel=data)
    return Layout(tensor, pipeline, data, warning=warning(anatomy, hardware.gpu, tensor, pipeline),
                  pool=pool(anatomy, asked, hardware, weighed=weighed),
                  fits=budget(anatomy, asked, hardware, weighed=weighed).fits, experts=bool(anatomy.experts))
