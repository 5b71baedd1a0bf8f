"""What vLLM's log says of the memory that it took: lines of 0.32, and the forms that older versions had for them.

GiB in these lines have two decimals. Where several GPUs report, the figure is that of the one that takes most, and of
the room for the cache that of the one that has least.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_START = re.compile(r"Initializing a V[01] LLM engine")

_GIB = r"(-?\d+(?:\.\d+)?) ?GiB"

_WEIGHTS = re.compile(rf"Model loading took {_GIB}|model weights take {_GIB}|{_GIB} for weight\b")
_NON_TORCH = re.compile(rf"non_torch_memory takes {_GIB}|{_GIB} for non-torch memory")
_CONSUMED = re.compile(rf"{_GIB} for consumed memory")
_ACTIVATION = re.compile(rf"activation peak memory takes {_GIB}|{_GIB} for peak activation")
_ROOM = re.compile(rf"Available KV cache memory: {_GIB}|reserved for KV Cache is {_GIB}|reserved {_GIB} memory for KV")
_EXPLICIT = re.compile(r"Explicitly set \(([\d.]+)/[\d.]+\) GiB for KV cache()")
_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")
_CONCURRENCY = re.compile(r"Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x")
_GRAPHS = re.compile(rf"CUDA graph pool memory: {_GIB} \(actual\)|Graph capturing finished in \d+ secs, took {_GIB}")
_ESTIMATED = re.compile(rf"Estimated CUDA graph memory: {_GIB}|actual\), {_GIB} \(estimated\)")
_BLOCK = re.compile(r"Setting attention block size to (\d+) tokens")
_FITTED = re.compile(r"Auto-fit max_model_len: reduced from (\d+) to (\d+)")
_SHORT = re.compile(rf"max seq len \(\d+\), \({_GIB} KV cache is needed.*?memory \({_GIB}\)"
                    r"(?:.*?estimated maximum model length is (\d+))?", re.DOTALL)


@dataclass(frozen=True)
class VllmLog:
    """One start. Bytes and tokens; None for what it does not say.

    `activation` is with the estimate for graphs, where vLLM says them in one sum (0.21 and later).
    """

    kv_tokens: int | None = None
    concurrency: float | None = None  # conversations of `context_length`
    context_length: int | None = None
    kv_bytes: int | None = None
    weights: int | None = None
    non_torch: int | None = None
    activation: int | None = None
    graphs: int | None = None
    graphs_estimated: int | None = None
    block_size: int | None = None  # tokens, where vLLM changed it to fit a state
    needed: int | None = None  # bytes of the cache, where it refused to start for want of them
    longest: int | None = None  # tokens of context that it says would fit, or took


def read(text: str) -> VllmLog:
    """What the last start in a log says.

    >>> read("CPU KV cache size: 93,184 tokens, Maximum concurrency for 2,048 tokens per request: 45.50x").concurrency
    45.5
    """
    starts = list(_START.finditer(text))
    text = text[starts[-1].start():] if starts else text
    concurrency, tokens = _CONCURRENCY.search(text), _TOKENS.search(text)
    short, fitted, block = _SHORT.search(text), _FITTED.search(text), _BLOCK.search(text)
    weights, consumed, outside = _most(_WEIGHTS, text), _most(_CONSUMED, text), _most(_NON_TORCH, text)
    if outside is None and consumed is not None and weights is not None:
        outside = max(0, consumed - weights)
    return VllmLog(
        kv_tokens=_count(tokens[1]) if tokens else None,
        concurrency=float(concurrency[2]) if concurrency else None,
        context_length=_count(concurrency[1]) if concurrency else None,
        kv_bytes=min(_sizes(_ROOM, text) or _sizes(_EXPLICIT, text), default=None), weights=weights, non_torch=outside,
        activation=_most(_ACTIVATION, text), graphs=_most(_GRAPHS, text), graphs_estimated=_most(_ESTIMATED, text),
        block_size=int(block[1]) if block else None, needed=_bytes(short[1]) if short else None,
        longest=int(short[3]) if short and short[3] else int(fitted[2]) if fitted else None)


def _sizes(pattern: re.Pattern[str], text: str) -> list[int]:
    """Bytes of all lines that it finds."""
    return [_bytes(next(one for one in found.groups() if one)) for found in pattern.finditer(text)]


def _most(pattern: re.Pattern[str], text: str) -> int | None:
    return max(_sizes(pattern, text), default=None)


def _bytes(gibibytes: str) -> int:
    return round(float(gibibytes) * 2**30)


def _count(text: str) -> int:
    return int(text.replace(",", ""))
