"""How several GPUs can share a model under vLLM: every way to deal it out, what each is good for, why some are refused.

Rules of vLLM 0.32: heads of attention (`config/model.py`), the padded vocabulary (`vocab_parallel_embedding.py`),
feed-forward widths and the groups of quantized ones (`layers/linear.py`, `layers/quantization/utils`) must divide by
tensor parallelism; experts are dealt over tensor and data parallelism together (`layers/fused_moe/config.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.vllm import Pool, budget, pool
from modelkit.planning.fit.vllm_weights import Tally, padded, tally

_GROUPS = {"fp8": 128, "awq": 128, "gptq": 128, "w4a16": 128, "mxfp4": 32, "nvfp4": 16}
"""Columns that share a scale, where a checkpoint does not say it: no GPU's part may cut through one."""

_FAST = ("nvlink", "xgmi", "unified")


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
        """As a Modelfile says it; a copy of the model is a replica there."""
        said = [f"SERVE {name} {number}" for name, number in (("tensor_parallel", self.tensor_parallel), (
            "pipeline_parallel", self.pipeline_parallel), ("replicas", self.data_parallel)) if number > 1]
        return ", ".join(said) or "one GPU"


def layouts(anatomy: Anatomy, serving: Serving, hardware: Hardware) -> list[Layout]:
    """Every way to use one or more of the machine's GPUs, the best first: those that fit, on the fewest GPUs that
    talk fast enough, then by conversations at full length; refused ones last. Empty where there is no GPU."""
    if serving.on_cpu or hardware.gpu is None or hardware.gpu.kind == "metal":
        return []
    weighed = tally(anatomy, serving.dtype)
    found = [_layout(weighed, serving, hardware, shape) for shape in _shapes(len(hardware.devices))]
    return sorted(found, key=lambda one: (bool(one.refused), one.fits is False, bool(one.warning), -one.gpus,
                                          -one.conversations, one.pipeline_parallel))


def refusal(anatomy: Anatomy, tensor: int, pipeline: int) -> str:
    """Why a model cannot be dealt out like this; "" where it can."""
    for heads in sorted({layer.heads for layer in anatomy.layers if layer.heads % tensor}):
        return f"{heads} attention heads do not divide by {tensor}"
    for kv_heads in sorted({layer.kv_heads for layer in anatomy.layers if layer.kv_heads and layer.attention != "mla"}):
        if kv_heads % tensor and tensor % kv_heads:
            return f"{kv_heads} heads of keys and values neither divide by {tensor} nor divide it"
    if (words := padded(anatomy.vocabulary)) % tensor:
        return f"the vocabulary of {words:,} (padded) does not divide by {tensor}"
    if anatomy.feed_forward % tensor:
        return f"feed-forward layers {anatomy.feed_forward:,} wide do not divide by {tensor}"
    part, group = anatomy.feed_forward // tensor, _GROUPS.get(anatomy.quantization.lower())
    if tensor > 1 and group and part % group:
        return f"{anatomy.quantization} has a scale for each {group} columns, and {part:,} of a GPU cut through one"
    if pipeline > len(anatomy.layers):
        return f"{len(anatomy.layers)} layers are too few for {pipeline} groups of GPUs"
    return ""


def warning(anatomy: Anatomy, device: Device, tensor: int, pipeline: int) -> str:
    """What a way costs that can be had; "" where nothing is known against it."""
    kv_heads = min((layer.kv_heads for layer in anatomy.layers if layer.kv_heads and layer.attention != "mla"),
                   default=0)
    latent = any(layer.attention == "mla" for layer in anatomy.layers)
    if tensor > 1 and device.link not in _FAST:
        return ("over PCIe two sums a layer wait for each other: pipeline parallelism, or a copy on each GPU, is "
                "faster where the model fits so")
    if tensor > 1 and latent:
        return f"the latent of attention is kept on each of {tensor} GPUs: the cache does not grow with them"
    if 0 < kv_heads < tensor:
        return f"{kv_heads} heads of keys and values are kept more than once by {tensor} GPUs"
    return "one user is served no faster by it, more users are" if pipeline > 1 else ""


def _shapes(gpus: int) -> Iterator[tuple[int, int, int]]:
    """Tensor, pipeline and data parallelism of all products up to the number of GPUs."""
    for tensor in range(1, gpus + 1):
        for pipeline in range(1, gpus // tensor + 1):
            for data in range(1, gpus // (tensor * pipeline) + 1):
                yield tensor, pipeline, data


def _layout(weighed: Tally, serving: Serving, hardware: Hardware, shape: tuple[int, int, int]) -> Layout:
    (tensor, pipeline, data), anatomy = shape, weighed.anatomy
    if reason := refusal(anatomy, tensor, pipeline):
        return Layout(tensor, pipeline, data, refused=reason)
    assert hardware.gpu is not None, "layouts are of GPUs"
    asked = replace(serving, tensor_parallel=tensor, pipeline_parallel=pipeline, data_parallel=data)
    return Layout(tensor, pipeline, data, warning=warning(anatomy, hardware.gpu, tensor, pipeline),
                  pool=pool(anatomy, asked, hardware, weighed=weighed),
                  fits=budget(anatomy, asked, hardware, weighed=weighed).fits)
