"""How much memory llama.cpp takes to serve a model, line by line and place by place.

Weights, cache and computing are llama.cpp's own rules (b11434, as llama-cpp-python 0.3.36 carries it), checked against
its log. What the process takes beside is measured (x86-64 Linux, Python 3.11) and said to be a reserve. What is said
of GPUs follows from the same tensors, and has not been seen on one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from modelkit.llamacpp.room import SCORED
from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.budget import Budget, Line
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.llama_cache import cache_lines, state_lines
from modelkit.planning.fit.llama_compute import graph, host_side, touched
from modelkit.planning.fit.llama_sizes import Sizes
from modelkit.planning.fit.serving import Serving
from modelkit.planning.forms import OWN

_MIB = 1 << 20

_PROCESS = {OWN: 78 * _MIB, "xllamacpp": 55 * _MIB, "llama-server": 75 * _MIB}
"""Of an engine's process with all that it imports, before there is a model. The first two are measured, and other
Pythons take some MiB more or less; a `llama-server` has the contract's process in front of it, and is a guess."""

_LAYER = 75 * 1024
"""Of the nodes of graphs, for each layer. Measured with 2, 30 and 80 layers."""

_TOKEN, _MERGE = 232, 88
"""Bytes that a word of the vocabulary and a merge take in llama.cpp's maps and ours. Measured with vocabularies of
1,000 to 256,000 tokens and up to 280,000 merges."""

_RUNTIME = 500 * _MIB
"""Of a GPU: what its runtime takes for kernels and handles (Ollama keeps 457 MiB for it, GPUStack 500)."""

_MARGIN = 1024 * _MIB
"""Of a GPU that stays free: what llama.cpp's own `--fit` leaves."""

_REPACKED = frozenset(("Q4_0", "Q4_K", "IQ4_NL", "MXFP4"))
"""Types whose matrices llama.cpp lays out anew for a processor with AVX2 (ggml-cpu/repack.cpp): they are in anonymous
memory then, and the file's pages are of no more use."""


def budget(anatomy: Anatomy, serving: Serving, hardware: Hardware, *, beside: Iterable[Line] = (),
           asked: Sizes | None = None) -> Budget:
    """What llama.cpp takes. `beside` are lines of what is loaded with the model (`beside_lines`); `asked` is what
    llama.cpp itself says of this serving, which then stands in place of formulas."""
    serving = settled(anatomy, serving)
    places = placed(anatomy, serving, hardware)
    asked = asked if asked is not None and not asked.problem else None
    lines = [*_weights(anatomy, places), *cache_lines(anatomy, serving, places[:-1]),
             *state_lines(anatomy, serving, places[:-1]),
             *_computing(anatomy, serving, places, asked), _output(anatomy, serving, asked),
             Line("vocabulary", "ram", anatomy.vocabulary * _TOKEN + anatomy.merges * _MERGE,
                  f"{anatomy.vocabulary} tokens * {_TOKEN} bytes, {anatomy.merges} merges * {_MERGE}"),
             Line("engine", "ram", _engine(anatomy, serving), "the process itself, and what it imports", "reserve")]
    for place in dict.fromkeys(one for one in places if one != "ram"):
        lines += [Line("reserve", place, _RUNTIME, "the GPU's runtime: kernels and handles", "reserve"),
                  Line("margin", place, _MARGIN, "stays free", "reserve")]
    lines += beside
    return Budget(tuple(lines), _capacity(hardware, lines), tuple(_notes(anatomy, places, asked)))


def settled(anatomy: Anatomy, serving: Serving) -> Serving:
    """The serving, as our own engine makes it once it knows the model: states are not shared, so that finished
    sequences are not kept, and nothing is guessed ahead (`llamacpp.room`)."""
    if serving.provider != OWN or serving.task != "chat" or not any(one.state_bytes for one in anatomy.layers):
        return serving
    users = serving.concurrency
    return replace(serving, sequences=users, outputs=min(serving.batch, users + SCORED))


def placed(anatomy: Anatomy, serving: Serving, hardware: Hardware) -> tuple[str, ...]:
    """Where each layer is, and last where the output is: the last `gpu_layers` of them on the GPUs, by their free
    memory, the output counted as one (`llama_model::load_tensors`)."""
    count = len(anatomy.layers) + 1
    offloaded = 0 if not hardware.devices else count if serving.gpu_layers < 0 else min(serving.gpu_layers, count)
    sums = [*accumulate(float(one.free or one.memory) for one in hardware.devices)]
    first = count - offloaded
    return tuple("ram" if index < first else
                 f"gpu{min(len(sums) - 1, bisect_right(sums, (index - first) / offloaded * sums[-1]))}"
                 for index in range(count))


def beside_lines(anatomy: Anatomy, name: str, place: str = "ram", *, serving: Serving | None = None) -> Iterator[Line]:
    """Of a draft model, a projector or an adapter: its weights; with `serving`, what it keeps and computes, too."""
    yield Line(f"{name} weights", place, anatomy.weight_bytes, "all tensors of its file", "file")
    if serving is None or not serving.draft[0]:
        return
    tokens, sequences = serving.draft
    own = replace(serving, kv_tokens=tokens, sequences=sequences, outputs=sequences, batch=min(serving.batch, 512))
    places = (place,) * len(anatomy.layers)
    for line in (*cache_lines(anatomy, own, places), *state_lines(anatomy, own, places)):
        yield replace(line, name=f"{name} {line.name}")
    found = graph(anatomy, own)
    yield Line(f"{name} compute", place, found.size, found.how)
    yield Line(f"{name} vocabulary", "ram", anatomy.vocabulary * _TOKEN + anatomy.merges * _MERGE,
               f"{anatomy.vocabulary} tokens, {anatomy.merges} merges")


def resident(anatomy: Anatomy, serving: Serving, *, beside: Iterable[Line] = (),
             repacked: frozenset[str] = _REPACKED) -> int:
    """Bytes that the process of an engine on a CPU has in RAM once it has answered (VmRSS).

    Other than a budget's sum: rows of logits that nobody asked for are not touched, and a file's pages stay mapped that
    were copied into another layout, until somebody needs their room.
    """
    serving = settled(anatomy, serving)
    found = budget(anatomy, serving, Hardware("", ram=None), beside=beside)
    copied = sum(one.size for one in anatomy.weights if _is_repacked(one.type, one.role, one.shape, repacked))
    compute = sum(one.size for one in found.lines if one.name == "compute")
    return found.total("ram") - compute + touched(anatomy, serving) + (copied if serving.mmap else 0)


def _weights(anatomy: Anatomy, places: Sequence[str]) -> Iterator[Line]:
    """By place. The embedding stays in RAM; a tied one is loaded once more where the output is, if that is a GPU."""
    sizes = dict.fromkeys(("ram", *places), 0)
    for one in anatomy.merged:
        if one.role in ("draft", "vision"):
            continue
        if one.role == "embedding":
            sizes["ram"] += one.size
            if anatomy.tied and places[-1] != "ram":
                sizes[places[-1]] += one.size
        else:
            sizes[places[one.layer] if one.layer is not None and one.layer < len(places) else places[-1]] += one.size
    offloaded = {one for one in places if one != "ram"}
    for place, size in sizes.items():
        if size:
            yield Line("weights", place, size, _weights_how(anatomy, place, bool(offloaded), places), "file")


def _weights_how(anatomy: Anatomy, place: str, offloaded: bool, places: Sequence[str]) -> str:
    layers = sum(one == place for one in places[:-1])
    if not offloaded:
        return f"all tensors of the file ({anatomy.quantization or 'its own precision'})"
    if place == "ram":
        return "the token embedding, which llama.cpp keeps on the CPU" + (f", and {layers} layers" if layers else "")
    output = ""
    if place == places[-1]:
        output = " and the output, which is the embedding once more" if anatomy.tied else " and the output"
    return f"{layers} of {len(anatomy.layers)} layers{output}"


def _computing(anatomy: Anatomy, serving: Serving, places: Sequence[str], asked: Sizes | None) -> Iterator[Line]:
    if asked is not None and set(asked.compute) >= set(places):
        for place, size in asked.compute.items():
            yield Line("compute", place, size, f"a step of {serving.batch} tokens, {serving.outputs} rows of logits "
                       "at most", "engine")
        return
    for place in dict.fromkeys(places):
        found = graph(anatomy, serving, logits=place == places[-1])
        yield Line("compute", place, found.size, found.how)
    if "ram" not in places:
        found = host_side(anatomy, serving)
        yield Line("compute", "ram", found.size, found.how)


def _output(anatomy: Anatomy, serving: Serving, asked: Sizes | None) -> Line:
    rows = max(1, serving.sequences)
    width = anatomy.vocabulary + (anatomy.width if serving.task != "chat" else 0)
    if asked is not None and asked.output:
        return Line("output", "ram", asked.output, f"{rows} rows of logits", "engine")
    return Line("output", "ram", 4 * rows * width, f"{rows} rows * {width} numbers * 4 bytes")


def _engine(anatomy: Anatomy, serving: Serving) -> int:
    return _PROCESS.get(serving.provider, _PROCESS[OWN]) + _LAYER * len(anatomy.layers)


def _is_repacked(kind: str, role: str, shape: Sequence[int], repacked: frozenset[str]) -> bool:
    """Matrices that are multiplied with, of whole blocks of eight rows."""
    return kind in repacked and role not in ("embedding", "norm", "draft", "vision") and len(shape) > 1 \
        and shape[-2] % 8 == 0


def _capacity(hardware: Hardware, lines: Iterable[Line]) -> dict[str, int]:
    """Of each place; where GPU and CPU have one memory, what the GPU takes of it is not RAM's."""
    known = {} if hardware.ram is None else {"ram": hardware.ram}
    if known and any(one.link == "unified" for one in hardware.devices):
        known["ram"] -= sum(line.size for line in lines if line.place != "ram")
    return known | {f"gpu{index}": one.memory for index, one in enumerate(hardware.devices)}


def _notes(anatomy: Anatomy, places: Sequence[str], asked: Sizes | None) -> Iterator[str]:
    yield from anatomy.notes
    if any(one != "ram" for one in places):
        yield "llama.cpp's sizes on GPUs follow from its tensors and were not compared with one"
    elif asked is None:
        yield "what llama.cpp keeps for computing is by formula, within 14 % of what it would say itself"
