"""How long one step takes by cause, on a processor, on a GPU, on several, or divided between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.calibration import Terms
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.rates import (
    CPU_LAYER,
    CPU_MOVED,
    CPU_STEP,
    DECODING_BOUND,
    cpu_matrix,
    cpu_vector,
    of_device,
)
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.work import Step, Work, work

CORE_FLOPS = 16.8e9
ATTENDED = 0.4  # of what a core computes of weights, it computes of attention (llama.cpp, f16 cache, AVX2)


def on_gpu(hardware: Hardware, serving: Serving) -> bool:
    """Whether any of it is computed by a GPU."""
    return bool(hardware.devices) and not serving.on_cpu and (serving.engine == "vllm" or serving.gpu_layers != 0)


def step_terms(anatomy: Anatomy, serving: Serving, hardware: Hardware, step: Step) -> Terms:
    """One step, by cause."""
    if not on_gpu(hardware, serving):
        return _on_cpu(work(anatomy, serving, step), hardware, step)
    if serving.engine != "vllm" and 0 <= serving.gpu_layers <= len(anatomy.layers):
        return _divided(anatomy, serving, hardware, step)
    assert hardware.gpu is not None
    return _on_gpus(work(anatomy, serving, step), anatomy, serving, hardware.gpu, step)


def prompt_terms(anatomy: Anatomy, serving: Serving, hardware: Hardware, prompt: int) -> Terms:
    """Reading a prompt, in as many steps as the engine takes, and the first token of its answer."""
    size = (serving.batched_tokens or 2048) if serving.engine == "vllm" else serving.batch
    whole, start = Terms(), 0
    sizes = min(size, prompt)
    full, rest = divmod(prompt, sizes)
    if full:  # steps differ by what is behind them alone: the one in the middle stands for all
        one = step_terms(anatomy, serving, hardware, Step(1, sizes, (full - 1) * sizes / 2))
        whole, start = one.times(full), full * sizes
    if rest:
        whole = whole + step_terms(anatomy, serving, hardware, Step(1, rest, start))
    return whole


def _on_cpu(todo: Work, hardware: Hardware, step: Step, *, whole: bool = True) -> Terms:
    """What is unpacked for one token serves the step's others, too: what that costs falls with the root of the width.
    """
    flops = hardware.cpu_flops or CORE_FLOPS * hardware.cpus
    few, many = _seconds(todo.multiplied, flops, cpu_vector), _seconds(todo.multiplied, flops, cpu_matrix)
    attended = todo.attended / (flops * ATTENDED)
    shared = max(0.0, few - many) / math.sqrt(step.width)
    memory = todo.bytes / ((hardware.cpu_bandwidth or math.inf) * CPU_MOVED)
    fixed = CPU_LAYER * todo.layers + (CPU_STEP if whole else 0.0)
    if step.width == 1:
        return Terms(fixed, memory, vector=few + attended, overlap=True)
    return Terms(fixed, memory, vector=shared, matrix=many + attended, overlap=True)


def _seconds(multiplied: Mapping[str, float], flops: float, rate: Callable[[str], float]) -> float:
    return sum(operations / (flops * rate(kind)) for kind, operations in multiplied.items())


def _on_gpus(todo: Work, anatomy: Anatomy, serving: Serving, gpu: Device, step: Step) -> Terms:
    rates = of_device(serving.engine, gpu)
    bandwidth, flops = gpu.bandwidth or 1.0, gpu.flops or 1.0
    shards = max(1, serving.tensor_parallel) if serving.engine == "vllm" else 1
    moved = sum(size * DECODING_BOUND.get(kind, 1.0) for kind, size in todo.read.items()) / shards
    cache = todo.cache / min(shards, max((layer.kv_heads for layer in anatomy.layers), default=1) or 1)
    memory = (moved + cache) / (bandwidth * rates.moved)
    operations = (todo.operations + todo.attended) / shards
    vector, matrix = operations / (flops * rates.vector), operations / (flops * rates.matrix)
    fixed = rates.layer * todo.layers + rates.routed * todo.routed + (
        rates.step + rates.user * step.users)
    if rates.few and step.width <= rates.few:
        return Terms(fixed, memory, vector=vector)
    return Terms(fixed, max(0.0, memory - matrix) if step.width > 64 else memory, matrix=matrix)


def _divided(anatomy: Anatomy, serving: Serving, hardware: Hardware, step: Step) -> Terms:
    """The last layers on the GPU, the first on the processor, one after the other: llama.cpp counts the output as a
    layer behind the last."""
    split = max(0, len(anatomy.layers) + 1 - serving.gpu_layers)
    assert hardware.gpu is not None
    below = work(anatomy, serving, step, layers=range(0, split), output=False)
    above = work(anatomy, serving, step, layers=range(split, len(anatomy.layers)))
    return (_on_cpu(below, hardware, step, whole=False)
            + _on_gpus(above, anatomy, serving, hardware.gpu, step))
