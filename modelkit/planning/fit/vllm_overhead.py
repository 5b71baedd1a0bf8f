"""What vLLM takes beside weights and cache: computing, CUDA graphs, and what lies outside of PyTorch.

None of it can be computed exactly: it depends on kernels that are chosen at the start, on compilers and drivers. So
each figure is an interval; its width is that of the starts that people have published (docs/fit-vllm.md has them), and
`fit --verify` replaces it by what this machine's vLLM says. Rules of vLLM 0.32 (`engine/arg_utils.py`,
`config/vllm.py`, `v1/worker/gpu_worker.py`).
"""

from __future__ import annotations

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.interval import Interval
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.vllm_weights import Tally

GiB, MiB = 1024**3, 1024**2

DEFAULT_SHARE = 0.92
"""`--gpu-memory-utilization` where nobody says it (0.32)."""

_SAMPLED = Interval(2, 6, 14)
"""Bytes for each number of a step's logits: themselves in 16 bits, gathered from all GPUs, and copies in 32 bits."""

_COUNTED = 4 + 1 / 8
"""Bytes for each conversation and word of the vocabulary that penalties count in, whether any is asked for or not
(`v1/worker/gpu/sample/penalties.py`; on CPUs it counts when it is asked to)."""

_OUTSIDE = Interval(0.05 * GiB, 0.25 * GiB, 0.6 * GiB)
_OUTSIDE_SHARED = Interval(0.15 * GiB, 0.6 * GiB, 1.8 * GiB)
"""Outside of PyTorch on each GPU: handles and workspaces of libraries; where GPUs talk, NCCL's buffers too."""

_WORKSPACE = Interval(0, 0.1 * GiB, 0.5 * GiB)
"""Attention kernels' own."""


def batched_tokens(anatomy: Anatomy, serving: Serving, device: Device | None) -> int:
    """Tokens of a step (`max_num_batched_tokens`): said, or the default of an API server on that device."""
    if serving.batched_tokens is not None:
        return serving.batched_tokens
    if device is None:
        tokens = 2048 * serving.tensor_parallel * serving.pipeline_parallel
        if any(layer.attention == "mla" for layer in anatomy.layers):  # prompts are not cut there
            return max(serving.context_length, 2048)
    elif device.memory >= 160 * GiB:
        tokens = 16384
    else:
        tokens = 8192 if device.memory >= 70 * GiB and "a100" not in device.name.lower() else 2048
    if serving.task != "chat" and all(layer.attention == "none" for layer in anatomy.layers):
        tokens = max(tokens, serving.context_length)  # encoders read a text in one step
    return min(tokens, serving.concurrency * serving.context_length)


def in_flight(serving: Serving, tokens: int, device: Device | None) -> int:
    """Tokens that are computed and not settled: GPUs get the next step before the last one is done."""
    return tokens * (serving.pipeline_parallel + (0 if device is None else 1))


def outside(serving: Serving) -> Interval:
    """Bytes on each GPU that PyTorch knows nothing of."""
    return _OUTSIDE_SHARED if serving.tensor_parallel * serving.pipeline_parallel > 1 else _OUTSIDE


def activation(weighed: Tally, serving: Serving, tokens: int, *, on_gpu: bool = True) -> Interval:
    """The peak of a step of so many tokens, on each GPU: its widest layer, or its logits where they take more.

    With it what penalties count in, which is there all the time.
    """
    anatomy, width = weighed.anatomy, 4 if serving.dtype == "float32" else 2
    step = tokens * _widest(weighed, serving.tensor_parallel) * width
    logits = serving.concurrency * anatomy.vocabulary if serving.task == "chat" else 0
    kept = tokens * anatomy.width * width
    space, counts = (_WORKSPACE, logits * _COUNTED) if on_gpu else (Interval(0, 0, 0), 0.0)

    def peak(computed: float, sampled: float) -> float:
        return max(step * computed, logits * sampled + kept) + counts

    return Interval(peak(0.6, _SAMPLED.low) + space.low, peak(1.0, _SAMPLED.expected) + space.expected,
                    peak(1.8, _SAMPLED.high) + space.high)


def _widest(weighed: Tally, tensor: int) -> float:
    """Numbers that a token needs at once: the residual stream, what goes in and out, and the widest layer's middle."""
    anatomy = weighed.anatomy
    inner = 3 * anatomy.feed_forward / tensor
    if anatomy.experts:
        expert = weighed.expert_width or anatomy.feed_forward
        inner = max(inner, anatomy.experts_used * (3 * expert / tensor + 2 * anatomy.width))
    attention = max((layer.heads * layer.key_width / max(1, layer.kv_heads) + layer.key_width + layer.value_width
                     for layer in anatomy.layers if layer.attention != "mla"), default=0.0) / tensor
    return 4 * anatomy.width + max(inner, attention)


def capture_sizes(serving: Serving, tokens: int, device: Device) -> int:
    """How many batch sizes CUDA graphs are captured for."""
    most = min(serving.concurrency * 2, 1024 if device.capability in (100, 103) else 512, tokens)
    sizes = {size for size in (1, 2, 4) if size <= most} | set(range(8, min(most + 1, 256), 8))
    return len(sizes | set(range(256, most + 1, 16)))


def graphs(anatomy: Anatomy, serving: Serving, tokens: int, device: Device) -> Interval:
    """Bytes of CUDA graphs on each GPU, as vLLM estimates them before it makes them."""
    if serving.eager or device.kind not in ("cuda", "rocm"):
        return Interval(0, 0, 0)
    sizes = capture_sizes(serving, tokens, device)
    return Interval(0.04 * GiB, (0.2 + 0.006 * sizes) * GiB, (0.5 + 0.02 * sizes) * GiB)


def share(serving: Serving) -> float:
    """Of each GPU's memory that vLLM takes."""
    return DEFAULT_SHARE if serving.gpu_memory is None else serving.gpu_memory


def used(serving: Serving, hardware: Hardware) -> tuple[Device | None, ...]:
    """The GPUs that it needs, in order; None for those that the machine does not have. Empty on CPUs, which is where
    it computes on a machine of Apple, too."""
    if serving.on_cpu or not hardware.devices or hardware.devices[0].kind == "metal":
        return ()
    number = serving.tensor_parallel * serving.pipeline_parallel * serving.data_parallel
    return tuple(hardware.devices[at] if at < len(hardware.devices) else None for at in range(number))
