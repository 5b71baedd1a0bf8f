"""How long one step takes by cause: on a processor, on a GPU, on several, or divided between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit import rates
from modelkit.planning.fit.calibration import Terms
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.machines import CORE_FLOPS
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.work import Step, Work, work


def on_gpu(hardware: Hardware, serving: Serving) -> bool:
    """Whether any of it is computed by a GPU."""
    return bool(hardware.devices) and not serving.on_cpu and (serving.engine == "vllm" or serving.gpu_layers != 0)


def step_terms(anatomy: Anatomy, serving: Serving, hardware: Hardware, step: Step) -> Terms:
    """One step, by cause."""
    gpu = hardware.gpu
    if gpu is None or not on_gpu(hardware, serving):
        return _on_cpu(work(anatomy, serving, step), serving, hardware, step)
    if serving.engine != "vllm" and 0 <= serving.gpu_layers <= len(anatomy.layers):
        return _divided(anatomy, serving, hardware, step)
    return _on_gpus(work(anatomy, serving, step), anatomy, serving, gpu, step)


def prompt_terms(anatomy: Anatomy, serving: Serving, hardware: Hardware, prompt: int) -> Terms:
    """Reading a prompt, in as many steps as the engine takes; the last leaves the first token of the answer."""
    size = min(prompt, max(1, serving.batched_tokens or 2048 if serving.engine == "vllm" else serving.batch))
    full, rest = divmod(prompt, size)
    # full steps differ by what is behind them alone: the one in the middle stands for all
    whole = step_terms(anatomy, serving, hardware, Step(1, size, (full - 1) * size / 2)).times(full)
    return whole + step_terms(anatomy, serving, hardware, Step(1, rest, full * size)) if rest else whole


def _on_cpu(todo: Work, serving: Serving, hardware: Hardware, step: Step, *, whole: bool = True) -> Terms:
    """Weights that are unpacked for one token serve the step's others: what that costs falls with the width's root."""
    cores = min(serving.threads or hardware.cpus, hardware.cpus)
    flops = (hardware.cpu_flops or CORE_FLOPS * hardware.cpus) * cores / hardware.cpus
    reach = 1.0 if cores == hardware.cpus else min(1.0, rates.CPU_CORE_MOVES * cores)
    bandwidth = (hardware.cpu_bandwidth or math.inf) * reach
    few = _seconds(todo.multiplied, flops, rates.cpu_vector)
    many = _seconds(todo.multiplied, flops, rates.cpu_matrix)
    memory = todo.bytes / (bandwidth * rates.CPU_MOVED)
    once, layer = ((rates.VLLM_CPU_STEP, rates.VLLM_CPU_LAYER) if serving.engine == "vllm"
                   else (rates.CPU_STEP, rates.CPU_LAYER))
    fixed = layer * todo.layers + (once + rates.CPU_USER * step.users if whole else 0.0)
    if step.tokens == 1:
        share = 1 / math.sqrt(step.width)
        return Terms(fixed, memory, vector=max(few, many) * share + todo.attended / (flops * rates.CPU_ATTENDED_ONE),
                     matrix=many * (1 - share), overlap=True)
    return Terms(fixed, memory, matrix=many + todo.attended / (flops * rates.CPU_ATTENDED_MANY), overlap=True)


def _seconds(multiplied: Mapping[str, float], flops: float, rate: Callable[[str], float]) -> float:
    return sum(operations / (flops * rate(kind)) for kind, operations in multiplied.items())


def _on_gpus(todo: Work, anatomy: Anatomy, serving: Serving, gpu: Device, step: Step) -> Terms:
    own = rates.of_device(serving.engine, gpu)
    shards = max(1, serving.tensor_parallel) if serving.engine == "vllm" else 1
    moved = sum(size * rates.UNPACKED.get(kind, 1.0) for kind, size in todo.read.items()) / shards
    cached = todo.cache / min(shards, max((layer.kv_heads for layer in anatomy.layers), default=1) or 1)
    memory = (moved + cached) / ((gpu.bandwidth or math.inf) * own.moved)
    computed = (sum(operations / _arithmetic(gpu, kind, serving) for kind, operations in todo.multiplied.items())
                + todo.attended / (gpu.flops or math.inf)) / shards
    launches = rates.UNGRAPHED if 0 < own.few < step.width else 1.0
    fixed = own.step + own.user * step.users + (own.layer * todo.layers + own.routed * todo.routed) * launches
    link = _exchange(todo, anatomy, gpu, step, shards)
    if step.width <= own.few:
        return Terms(fixed, memory, vector=computed / own.vector, link=link)
    tiles = max(1.0, own.tile / step.width)  # what a product of matrices computes at least
    return Terms(fixed, memory, matrix=computed * tiles / own.matrix, link=link, overlap=True)


def _arithmetic(gpu: Device, kind: str, serving: Serving) -> float:
    """Operations a second with weights of this type: vLLM multiplies 8-bit weights as they are where a GPU can."""
    if serving.engine == "vllm" and kind.startswith("F8") and gpu.flops_fp8:
        return gpu.flops_fp8
    if serving.engine == "vllm" and kind == "I8" and (gpu.capability or 0) >= 75:
        return 2 * (gpu.flops or math.inf)
    return gpu.flops or math.inf


def _exchange(todo: Work, anatomy: Anatomy, gpu: Device, step: Step, shards: int) -> float:
    """Two sums over all GPUs in each layer, of one 16-bit number a token and column, each moving 2 (N - 1) / N of it.
    """
    if shards == 1:
        return 0.0
    latency, moved = rates.LINKS[gpu.link], 2 * (shards - 1) / shards * step.width * anatomy.width * 2
    return 2 * todo.layers * (latency + moved / ((gpu.link_bandwidth or rates.SLOWEST_LINK) * rates.LINK_MOVED))


def _divided(anatomy: Anatomy, serving: Serving, hardware: Hardware, step: Step) -> Terms:
    """The first layers on the processor, the last on the GPU, one after the other; the output is counted as one more
    layer behind them (llama.cpp, src/llama-model.cpp: the first layer on a GPU is `n_layer + 1 - n_gpu_layers`)."""
    split = max(0, len(anatomy.layers) + 1 - serving.gpu_layers)
    assert hardware.gpu is not None
    below = work(anatomy, serving, step, layers=range(split), output=False)
    above = work(anatomy, serving, step, layers=range(split, len(anatomy.layers)))
    return (_on_cpu(below, serving, hardware, step, whole=False)
            + _on_gpus(above, anatomy, serving, hardware.gpu, step))
