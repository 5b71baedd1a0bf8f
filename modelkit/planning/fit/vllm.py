"""How vLLM divides a GPU's memory, or a machine's: weights, what computing takes, and all the rest for the cache.

vLLM does not ask what a model needs: it takes its share of the memory (`--gpu-memory-utilization`) and fills it. So a
budget of it leaves nothing free on purpose, and what a reader wants to know is the pool: how many tokens, and how many
conversations at full length. Facts of vLLM 0.32 (`v1/worker/{gpu,cpu}_worker.py`, `v1/core/kv_cache_utils.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.budget import Budget, Line, Source
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.interval import Interval
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.vllm_overhead import GiB, MiB, share, used
from modelkit.planning.fit.vllm_rank import Case, Rank
from modelkit.planning.fit.vllm_sharing import refusal
from modelkit.planning.fit.vllm_weights import Tally, stages, tally


@dataclass(frozen=True)
class Pool:
    """vLLM's attention cache as its log announces it."""

    blocks: int
    tokens: int  # of all conversations together, at full length
    concurrency: float  # conversations at full length at once
    size: int = 0  # bytes on each GPU; of the machine on CPUs
    longest: int = 0  # tokens of context that one conversation could have, as `--max-model-len -1` finds them


def budget(anatomy: Anatomy, serving: Serving, hardware: Hardware, *, weighed: Tally | None = None) -> Budget:
    """Line by line, for each GPU that is used, or for the machine where vLLM computes on CPUs.

    The line `attention cache` is what vLLM takes for it, all that the others leave; where that is less than one
    conversation needs it is what is needed, and the budget does not fit: vLLM would refuse to start.
    """
    weighed = weighed or tally(anatomy, serving.dtype)
    devices = used(serving, hardware)
    if not devices:
        rank = Rank(weighed, serving, None, hardware, 0)
        capacity = {} if hardware.ram is None or _apple(hardware) else {"ram": hardware.ram}
        return Budget(tuple(_cpu_lines(rank)), capacity, tuple(_notes(rank)))
    lines: list[Line] = []
    for at, device in enumerate(devices):
        lines += _gpu_lines(Rank(weighed, serving, device or hardware.devices[0], hardware, _stage(serving, at)),
                            f"gpu{at}")
    capacity = {f"gpu{at}": 0 if device is None else device.memory for at, device in enumerate(devices)}
    notes = _notes(Rank(weighed, serving, hardware.devices[0], hardware, 0))
    return Budget(tuple(lines), capacity, tuple(notes))


def pool(anatomy: Anatomy, serving: Serving, hardware: Hardware, *, weighed: Tally | None = None) -> Pool:
    """The attention cache as the log announces it. All ranks have as many blocks as the one that has fewest."""
    return _pool(weighed or tally(anatomy, serving.dtype), serving, hardware, "expected")


def pool_between(anatomy: Anatomy, serving: Serving, hardware: Hardware) -> tuple[Pool, Pool]:
    """The least and the most that it will be; the same twice where its size is said outright, as on CPUs."""
    weighed = tally(anatomy, serving.dtype)
    return _pool(weighed, serving, hardware, "high"), _pool(weighed, serving, hardware, "low")


def context_advice(anatomy: Anatomy, serving: Serving, hardware: Hardware) -> str | None:
    """What to write where not even one conversation fits at full length; None where it does."""
    found = pool(anatomy, serving, hardware)
    return None if found.longest >= serving.context_length else _shorter(found.longest)


def _shorter(longest: int) -> str:
    if longest < 1:
        return "the weights leave no room for any conversation"
    rounded = longest // 1024 * 1024 or longest
    return f"one conversation has room for {longest:,} tokens: write `PARAMETER num_ctx {rounded}` or less"


def _pool(weighed: Tally, serving: Serving, hardware: Hardware, case: Case) -> Pool:
    devices = used(serving, hardware)
    spare = hardware.gpu if devices else None  # as large as one that is not there is taken to be
    stages_on = {_stage(serving, at): device for at, device in enumerate(devices or (None,))}
    ranks = [Rank(weighed, serving, device or spare, hardware, stage) for stage, device in stages_on.items()]
    rank = min(ranks, key=lambda one: one.cache.blocks(one.room(case)) if one.cache.groups else math.inf)
    if not rank.cache.groups:  # nothing is kept of the past
        return Pool(0, 0, float(serving.concurrency), 0, serving.context_length)
    blocks = rank.cache.blocks(rank.room(case))
    concurrency = blocks / rank.cache.needs(serving.context_length)
    longest = rank.cache.longest(rank.room(case), max(weighed.anatomy.context_length or 0, serving.context_length))
    return Pool(blocks, int(concurrency * serving.context_length), concurrency, blocks * rank.cache.block_bytes,
                longest)


def _stage(serving: Serving, device: int) -> int:
    """Which stage of the pipeline a GPU belongs to: ranks of tensor parallelism are neighbours."""
    return device // serving.tensor_parallel % serving.pipeline_parallel


def _gpu_lines(rank: Rank, place: str) -> Iterator[Line]:
    device, serving = rank.device, rank.serving
    assert device is not None, "a line of a GPU wants one"
    yield Line("weights", place, rank.weights, _weights_how(rank), "file")
    yield _band("compute", place, rank.activation,
                f"the peak of a step of {rank.tokens:,} tokens, and of {serving.concurrency} rows of "
                f"{rank.anatomy.vocabulary:,} logits")
    if rank.graphs.high:
        yield _band("graphs", place, rank.graphs, "CUDA graphs, as vLLM estimates them before it makes them")
    yield _band("engine", place, rank.outside, "outside of PyTorch: libraries' own, and what GPUs talk through"
                if serving.tensor_parallel > 1 else "outside of PyTorch: libraries' own", "reserve")
    if rank.cache.groups:
        yield _cache_line(rank, place)
    if serving.kv_cache_bytes is None:
        yield Line("reserve", place, device.memory - rank.requested,
                   f"vLLM takes {share(serving):.0%} of the GPU, and leaves the rest", "reserve")


def _cpu_lines(rank: Rank) -> Iterator[Line]:
    yield Line("weights", "ram", rank.weights, _weights_how(rank), "file")
    yield _band("compute", "ram", rank.activation, f"the peak of a step of {rank.tokens:,} tokens")
    yield _band("engine", "ram", rank.outside, "vLLM's processes before they have a model", "reserve")
    if rank.cache.groups:
        yield _cache_line(rank, "ram")


def _cache_line(rank: Rank, place: str) -> Line:
    """What is taken for the cache, or what is needed at least where that is more."""
    cached, serving = rank.cache, rank.serving
    room, least = rank.room(), rank.cache.least(serving.context_length)
    needs = cached.needs(serving.context_length)
    if room < least:
        return Line("attention cache", place, least, f"one conversation of {serving.context_length:,} tokens: "
                    f"{needs:,} blocks of {cached.block_bytes:,} bytes, and one that vLLM holds back")
    blocks = cached.blocks(room)
    how = (f"{blocks:,} blocks of {cached.block_bytes:,} bytes ({_kept(rank)}): "
           f"{blocks / needs:.2f} conversations of {serving.context_length:,} tokens")
    if serving.kv_cache_bytes is not None:
        return Line("attention cache", place, blocks * cached.block_bytes, how)
    between = (max(0, rank.room("high")), max(0, rank.room("low")))
    return Line("attention cache", place, room, f"all that is left, {how}", between=between)


def _kept(rank: Rank) -> str:
    """What a block holds, in words: `16 tokens`, or by group where a conversation holds blocks of several."""
    groups = rank.cache.groups
    if len(groups) == 1 and groups[0].page.keeps == "tokens":
        return f"{groups[0].page.tokens} tokens of {len(groups[0].pages)} layers"
    names = {"tokens": "of {} tokens", "window": "of {} tokens in windows of {}", "state": "a state"}
    each = dict.fromkeys(names[group.page.keeps].format(group.page.tokens, group.page.window) for group in groups)
    return f"{len(groups)} groups of {max(len(group.pages) for group in groups)} layers: {', '.join(each)}"


def _weights_how(rank: Rank) -> str:
    serving = rank.serving
    parts = [f"in {serving.dtype}" if rank.anatomy.form == "gguf" else "as they are stored"
             if serving.dtype != "float32" else "plain ones in float32"]
    if serving.tensor_parallel > 1:
        parts.append(f"this GPU's part of {serving.tensor_parallel}")
    if serving.pipeline_parallel > 1:
        here = stages(len(rank.anatomy.layers), serving.pipeline_parallel)[rank.stage]
        parts.append(f"layers {here.start} to {here.stop - 1}")
    return f"{len(rank.anatomy.weights)} tensors, " + ", ".join(parts)


def _band(name: str, place: str, size: Interval, how: str, source: Source = "formula") -> Line:
    return Line(name, place, math.ceil(size.expected), how, source, (math.floor(size.low), math.ceil(size.high)))


def _apple(hardware: Hardware) -> bool:
    return hardware.gpu is not None and hardware.gpu.kind == "metal"


def _notes(rank: Rank) -> Iterator[str]:
    """How sure it is, and what a reader should know."""
    device, serving = rank.device, rank.serving
    if device is None and _apple(rank.hardware):
        yield "vLLM 0.32 does not compute on GPUs of Apple: it would on the processor, which was not tried"
    if device is not None and serving.kv_cache_bytes is None:
        low, high = max(0, rank.room("high")), max(0, rank.room("low"))
        if high:
            yield (f"not verified on a GPU by this project: the cache will be between {low / GiB:.1f} and "
                   f"{high / GiB:.1f} GiB")
        if device.free is not None and device.free < rank.requested:
            yield (f"vLLM will not start while {(rank.requested - device.free) / MiB:,.0f} MiB of the "
                   f"{rank.requested / GiB:.1f} GiB that it asks for are in use by others")
    devices = used(serving, rank.hardware)
    shape = serving.tensor_parallel, serving.pipeline_parallel, serving.data_parallel
    if devices and (reason := refusal(rank.weighed, *shape)):
        yield f"vLLM refuses to share it so: {reason}"
    if None in devices:
        yield f"{len(devices)} GPUs are asked for, and there are {len(rank.hardware.devices)}"
    elif devices and len(devices) < len(rank.hardware.devices):
        yield f"{len(devices)} of {len(rank.hardware.devices)} GPUs {'is' if len(devices) == 1 else 'are'} used"
    yield from _room_notes(rank)
    if any(layer.state_bytes for layer in rank.anatomy.layers):
        yield "states are counted in " + (rank.anatomy.state_type or serving.dtype)


def _room_notes(rank: Rank) -> Iterator[str]:
    """How many of the conversations have room, where not all have."""
    serving, room = rank.serving, rank.room()
    if not rank.cache.groups or (rank.device is None and serving.kv_cache_bytes is None):
        return
    if rank.cache.least(serving.context_length) > room:
        yield _shorter(rank.cache.longest(room, serving.context_length))
        return
    at_once = rank.cache.blocks(room) // rank.cache.needs(serving.context_length)
    if at_once < serving.concurrency:
        yield (f"{at_once} of {serving.concurrency} conversations have room at once when all are at full length: the "
               "others wait then")
