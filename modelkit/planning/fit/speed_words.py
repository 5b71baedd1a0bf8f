"""What a predicted speed is made of, as a reader can check it."""

from __future__ import annotations

from collections.abc import Iterator

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit import rates
from modelkit.planning.fit.calibration import Calibration, Terms
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.steps import on_gpu, prompt_terms, step_terms
from modelkit.planning.fit.work import Step, touched_share, work

_CAUSES = {"memory": "reading", "vector": "computing", "matrix": "computing"}


def how(anatomy: Anatomy, serving: Serving, hardware: Hardware, belief: Calibration, prompt: int) -> Iterator[str]:
    """A line for a token at the beginning, one for what context adds, one for reading a prompt, and how sure it is."""
    alone, full = Step(1, 1, 0), Step(1, 1, max(0, serving.context_length - 1))
    first, last = (work(anatomy, serving, one) for one in (alone, full))
    yield (f"a token takes {_sum(step_terms(anatomy, serving, hardware, alone), belief)}: "
           f"{_giga(first.bytes)} read{_where(hardware, serving)}, {_giga(first.operations, '')} operations")
    if last.cache > first.cache:
        yield (f"behind {serving.context_length} tokens it takes "
               f"{_sum(step_terms(anatomy, serving, hardware, full), belief)}: {_giga(last.cache - first.cache)} more")
    if anatomy.experts:
        share = touched_share(anatomy, serving.concurrency)
        yield (f"of {anatomy.experts} experts a token needs {anatomy.experts_used}; {serving.concurrency} at once are "
               f"expected to need {share * anatomy.experts:.0f} in each layer")
    yield (f"a prompt of {prompt} tokens takes {_sum(prompt_terms(anatomy, serving, hardware, prompt), belief)}: "
           f"{_giga(work(anatomy, serving, Step(1, prompt, 0)).operations, '')} operations")
    yield _sure(belief)
    if on_gpu(hardware, serving) and serving.engine != "vllm" and 0 <= serving.gpu_layers <= len(anatomy.layers):
        yield "layers on the processor and on the GPU are computed one after the other; prompts may be read faster"


def _sum(terms: Terms, belief: Calibration) -> str:
    def part(cause: str, word: str) -> list[str]:
        value = getattr(terms, cause) * belief.factors[cause]
        return [f"{_time(value)} {word}"] if value * 50 > whole else []

    whole = belief.seconds(terms).expected
    work_parts = [one for cause, word in _CAUSES.items() for one in part(cause, word)]
    middle = (" beside " if terms.overlap else " + ").join(work_parts)
    said = [*part("fixed", "of its own"), *([middle] if middle else []), *part("link", "between GPUs")]
    return f"{_time(whole)} ({' + '.join(said)})"


def _where(hardware: Hardware, serving: Serving) -> str:
    gpu = hardware.gpu
    if gpu is not None and on_gpu(hardware, serving) and gpu.bandwidth:
        share = rates.of_device(serving.engine, gpu).moved
        shards = serving.tensor_parallel if serving.engine == "vllm" else 1
        return f" at {share:.2f} of {f'{shards} x ' if shards > 1 else ''}{gpu.bandwidth / 1e9:,.0f} GB/s"
    if hardware.cpu_bandwidth:
        return f" at {rates.CPU_MOVED:.2f} of {hardware.cpu_bandwidth / 1e9:,.0f} GB/s"
    return ""


def _sure(belief: Calibration) -> str:
    if not belief.points:
        return "nothing was measured on this hardware: the interval is as wide as published measurements scatter"
    changed = [f"{word} x {belief.factors[cause]:.2f}" for cause, word in
               (("memory", "reading"), ("vector", "computing a token"), ("matrix", "computing a prompt"))
               if abs(belief.factors[cause] - 1) >= 0.01]
    return (f"corrected by {belief.points} measurement{'s' if belief.points > 1 else ''} of this machine"
            + (f": {', '.join(changed)}" if changed else ""))


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1e3:.{0 if seconds >= 0.1 else 1 if seconds >= 1e-3 else 2}f} ms"


def _giga(value: float, unit: str = "B") -> str:
    """`4.4 GB`, `16 G`."""
    for size, word in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g} {word}{unit}"
    return f"{value:.0f} {unit}".strip()
