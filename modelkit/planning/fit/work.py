"""What one step of an engine must read and compute: bytes and operations, counted from a model's tensors.

A step takes new tokens of one or several conversations through all layers: one token each while they answer, many of
one while a prompt is read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from modelkit.models.anatomy import Anatomy, Layer, Weight
from modelkit.planning.fit.llama_cache import BYTES
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.vllm_cache import WIDTHS

_PLAIN = {"F32": 4.0, "F16": 2.0, "BF16": 2.0}  # bytes of what vLLM loads in the precision that it computes with
_COMPUTE = {"float32": "F32", "float": "F32", "float16": "F16", "half": "F16", "bfloat16": "BF16"}


@dataclass(frozen=True)
class Work:
    """Of one step on one place. Mappings are by tensor type, as types differ in what their unpacking costs."""

    read: Mapping[str, float] = field(default_factory=dict)  # bytes of weights
    multiplied: Mapping[str, float] = field(default_factory=dict)  # operations with weights, two a number
    cache: float = 0.0  # bytes of conversations' attention cache and states
    attended: float = 0.0  # operations over the cache
    layers: int = 0
    routed: int = 0  # layers with experts among them

    @property
    def bytes(self) -> float:
        return sum(self.read.values()) + self.cache

    @property
    def operations(self) -> float:
        return sum(self.multiplied.values())


@dataclass(frozen=True)
class Step:
    """`tokens` new ones of each of so many `users`, behind `context` tokens of each."""

    users: int
    tokens: int
    context: float

    @property
    def width(self) -> int:
        """Tokens in all."""
        return self.users * self.tokens


@lru_cache(64)  # the same step is asked for its time, and for the words that explain it
def work(anatomy: Anatomy, serving: Serving, step: Step, *, layers: range | None = None, output: bool = True) -> Work:
    """What a step costs of the whole model, or of some layers and, with `output`, of the last matrix.

    Not read: the embedding, of which a step takes single rows, but where it is the output matrix, too; experts that no
    token of the step is sent to; whatever sees and hears.
    """
    layers = range(len(anatomy.layers)) if layers is None else layers
    read: defaultdict[str, float] = defaultdict(float)
    multiplied: defaultdict[str, float] = defaultdict(float)
    touched, routed = touched_share(anatomy, step.width), _routed_share(anatomy)
    for (kind, part), (size, numbers) in _weights(anatomy, serving, layers, output).items():
        rows = step.users if part == "last" else step.width
        read[kind] += size * (touched if part == "experts" else 1.0)
        if numbers:
            multiplied[kind] += 2.0 * numbers * rows * (routed if part == "experts" else 1.0)
    these = _alike(anatomy, layers)
    return Work(dict(read), dict(multiplied), sum(count * _cached(one, serving, step) for one, count in these.items()),
                sum(count * _attended(one, step) for one, count in these.items()), sum(these.values()),
                len({one.layer for one in anatomy.merged if one.role == "experts" and one.layer in layers}))


@lru_cache(16)  # steps of one model differ in what they take from it, not in what it has
def _weights(anatomy: Anatomy, serving: Serving, layers: range, output: bool
             ) -> Mapping[tuple[str, str], tuple[float, float]]:
    """Bytes and multiplied numbers of what a step uses, by the type and by which tokens need it: `all` of them,
    `experts` those sent there, `last` one of each user."""
    found: defaultdict[tuple[str, str], tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    packed = _packed(anatomy)
    for weight in _used(anatomy, layers, output):
        kind, size = _loaded(weight, serving)
        part = {"experts": "experts", "output": "last", "embedding": "last"}.get(weight.role, "all")
        numbers = 0.0
        if len(weight.shape) > 1:
            numbers = weight.elements * (packed if weight.type.startswith("I") and weight.type[1:].isdigit() else 1.0)
        before = found[kind, part]
        found[kind, part] = before[0] + size, before[1] + numbers
    return found


@lru_cache(16)
def _alike(anatomy: Anatomy, layers: range) -> Mapping[Layer, int]:
    """How many layers there are of each kind."""
    return Counter(anatomy.layers[at] for at in layers if at < len(anatomy.layers))


def touched_share(anatomy: Anatomy, tokens: int) -> float:
    """Which share of the experts a step of so many tokens is expected to need, if the router treats all alike.

    `E * (1 - (1 - k/E)^tokens)` of E experts are distinct: for one token k.
    """
    share = _routed_share(anatomy)
    return 1.0 - (1.0 - share) ** max(tokens, 1) if share < 1 else 1.0


def cache_number(serving: Serving) -> float:
    """Bytes of one number of the attention cache."""
    if serving.kv_type in BYTES:
        return BYTES[serving.kv_type]
    return float(WIDTHS.get(serving.kv_type, 0)) or _PLAIN[_COMPUTE.get(serving.dtype, "BF16")]


def _routed_share(anatomy: Anatomy) -> float:
    return anatomy.experts_used / anatomy.experts if 0 < anatomy.experts_used < anatomy.experts else 1.0


def _used(anatomy: Anatomy, layers: range, output: bool) -> Iterable[Weight]:
    own = any(one.role == "output" for one in anatomy.merged)
    table = (anatomy.vocabulary, anatomy.width)
    for one in anatomy.merged:
        if one.role == "embedding":
            if not own and output and (anatomy.tied and one.shape == table):
                yield one
        elif one.role in ("vision", "draft"):
            continue
        elif one.layer is not None:
            if one.layer in layers:
                yield one
        elif output and one.role in ("output", "norm"):
            yield one


def _loaded(weight: Weight, serving: Serving) -> tuple[str, float]:
    """A tensor's type and bytes in the engine: vLLM turns plain numbers into the precision that it computes with."""
    if serving.engine == "vllm" and weight.type in _PLAIN:
        kind = _COMPUTE.get(serving.dtype, weight.type)
        return kind, weight.elements * _PLAIN[kind]
    return weight.type, float(weight.size)


def _packed(anatomy: Anatomy) -> float:
    """How many of the model's numbers one 32-bit integer of a packed checkpoint holds."""
    packed = sum(one.elements for one in anatomy.merged if one.type == "I32" and len(one.shape) > 1)
    plain = sum(one.elements for one in anatomy.merged if one.type != "I32")
    return min(16.0, max(1.0, (anatomy.parameters - plain) / packed)) if packed and anatomy.parameters else 8.0


def _seen(layer: Layer, context: float) -> float:
    return min(context, layer.window) if layer.window else context


def _cached(layer: Layer, serving: Serving, step: Step) -> float:
    """Bytes that a layer's cache and state are read and, of states, written with, of all users."""
    numbers = (layer.key_width + layer.value_width) * _seen(layer, step.context)
    return step.users * (numbers * cache_number(serving) + 2.0 * layer.state_bytes)


def _attended(layer: Layer, step: Step) -> float:
    """Operations of attention: two for each number of a key and of a value, for every head that asks.

    Within a step of many tokens each sees half of the others on average.
    """
    if not layer.key_width:
        return 0.0
    alike = max(1, layer.heads // max(1, layer.kv_heads)) if layer.attention != "mla" else max(1, layer.heads)
    width = layer.key_width + (layer.value_width or layer.key_width)
    return 2.0 * step.width * alike * width * _seen(layer, step.context + step.tokens / 2)
