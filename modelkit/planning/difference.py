"""What differs between two stages of a Modelfile, and what each difference means for who uses them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from modelkit.language.parameters import DEPRECATED, PARAMETERS
from modelkit.language.serve import SERVE_KEYS
from modelkit.planning.plan import Plan, Verdict

Kind = Literal["safe", "quality", "capacity", "breaking"]
"""`safe`: no client sees it. `quality`: answers may differ. `capacity`: how many, how fast, how long. `breaking`: a
request that works on one side fails, or means something else, on the other."""

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Rule:
    """What a difference in one setting is. `kind` may ask both values; None stands for a side that says nothing."""

    kind: Kind | Callable[[Any, Any], Kind]
    why: str

    def of(self, left: Any, right: Any) -> Kind:
        return self.kind if isinstance(self.kind, str) else self.kind(left, right)


@dataclass(frozen=True)
class Difference:
    """One setting that two stages have otherwise, or that one engine honours less than the other."""

    setting: str
    left: Any
    right: Any
    kind: Kind
    why: str
    left_verdict: Verdict | None = None
    right_verdict: Verdict | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _one_sided(left: Any, right: Any) -> Kind:
    return "breaking" if (left is None) != (right is None) else "safe"


def _shrinks(left: Any, right: Any) -> Kind:
    return "breaking" if left is not None and right is not None and right < left else "capacity"


def _names(left: Any, right: Any) -> Kind:
    def names(value: Any) -> set[str]:
        return {str(one).rpartition(" AS ")[2] for one in value or () if " AS " in str(one)}

    return "breaking" if names(left) != names(right) else "quality"


_SPEED = Rule("capacity", "speed and memory, not what is answered")
_DRAWN = Rule("quality", "tokens are drawn otherwise")
_IGNORED = Rule("safe", "no engine acts on it")

RULES: Mapping[str, Rule] = {
    "system": Rule("quality", "the model is told something else"),
    "messages": Rule("quality", "the model sees other examples"),
    "template": Rule("quality", "the same conversation is another prompt"),
    "stop": Rule("quality", "answers end elsewhere"),
    "quantize": Rule("quality", "weights of another precision"),
    "adapters": Rule(_names, "a model name is served, or computed, on one side only"),
    "draft": _SPEED,
    "projector": Rule("breaking", "images are seen, or refused, on one side only"),
    "engine": Rule("quality", "other numbers, and so other tokens; the contract keeps what a request means"),
    "platform": Rule("safe", "something else keeps it running"),
    "weights": Rule("quality", "other weights answer"),
    "model": Rule("quality", "another model answers"),
    **dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n",
                     "presence_penalty", "frequency_penalty", "seed"), _DRAWN),
    "num_predict": Rule("quality", "answers end earlier where the client sets no limit"),
    "num_ctx": Rule(_shrinks, "a conversation may be longer on one side than the other takes"),
    "num_keep": Rule("quality", "what is forgotten of a long conversation"),
    "use_mmap": Rule("safe", "how the file is read"),
    "main_gpu": Rule("safe", "which GPU computes"),
    **dict.fromkeys(("num_batch", "num_gpu", "num_thread", "draft_num_predict"), _SPEED),
    **dict.fromkeys(DEPRECATED, _IGNORED),
    **{f"serve.{key}": _SPEED for key in ("tensor_parallel", "pipeline_parallel", "gpu_memory", "prefix_caching",
                                         "speculative")},
    "serve.max_concurrency": Rule("capacity", "conversations at once; who comes later waits"),
    "serve.replicas": Rule("capacity", "copies that answer"),
    "serve.max_replicas": Rule("capacity", "copies that are added under load"),
    "serve.accelerator": Rule("capacity", "another GPU computes"),
    "serve.keep_alive": Rule("capacity", "whether the first request waits for the model to load"),
    "serve.kv_cache": Rule("quality", "attention remembers with another precision"),
    "serve.image": Rule("safe", "where the engine's program comes from"),
    "serve.port": Rule("breaking", "clients use another address"),
    "serve.host": Rule("breaking", "other machines reach it, or no longer do"),
    "serve.api_key": Rule(_one_sided, "whether clients must send a key"),
    "serve.tool_parser": Rule(_one_sided, "whether the model may choose its tools"),
    "serve.reasoning_parser": Rule(_one_sided, "whether reasoning has a field of its own"),
    "serve.thinking": Rule("quality", "whether, and how long, it thinks before it answers"),
    "serve.task": Rule("breaking", "other requests are answered"),
    "serve.pooling": Rule("breaking", "vectors of one side mean nothing beside those of the other"),
    "serve.matryoshka": Rule("breaking", "whether `dimensions` is answered"),
}
"""Every setting of the language. The first side is what serves now, the second what shall serve."""

_DEFAULTS: Mapping[str, Any] = {
    **{name: row.default for name, row in PARAMETERS.items()},
    **{f"serve.{name}": row.default for name, row in SERVE_KEYS.items()}}


def differences(left: Plan, right: Plan) -> tuple[Difference, ...]:
    """What differs, the gravest first. Both plans must have been lowered."""
    found = [*_of_model(left, right), *_of_settings(left, right)]
    return tuple(sorted(found, key=lambda one: (-KINDS.index(one.kind), one.setting)))


def _of_model(left: Plan, right: Plan) -> Iterator[Difference]:
    if left.reference != right.reference:
        yield _difference("model", left.reference, right.reference)
    elif _weights(left) != _weights(right):
        yield _difference("weights", _weights(left), _weights(right))


def _of_settings(left: Plan, right: Plan) -> Iterator[Difference]:
    verdicts = [{one.setting: one.verdict for one in plan.lowered} for plan in (left, right)]
    names = dict.fromkeys(setting.name for plan in (left, right) for setting in plan.settings)
    for name in names:
        values = [_value(plan, name) for plan in (left, right)]
        sides = [side.get(name) for side in verdicts]
        faithful = [side in (None, "equal", "translated") for side in sides]
        if values[0] != values[1]:
            one = _difference(name, *values)
            yield Difference(name, one.left, one.right, one.kind, one.why, *sides)
        elif faithful[0] != faithful[1]:
            yield Difference(name, values[0], values[1], _unlike(name), _said(left, right, name), *sides)


def _difference(name: str, left: Any, right: Any) -> Difference:
    rule = RULES[name]
    return Difference(name, left, right, rule.of(left, right), rule.why)


def _unlike(name: str) -> Kind:
    """What it is when one engine does not honour a value that both stages have."""
    kind = RULES[name].kind
    return kind if isinstance(kind, str) and kind != "breaking" else "quality"


def _said(left: Plan, right: Plan, name: str) -> str:
    """The engine's own reason, of the side that honours it less."""
    reasons = [(one.reason, plan.engine_name) for plan in (left, right) for one in plan.lowered
               if one.setting == name and one.verdict in ("lost", "approximated")]
    return "; ".join(f"{engine}: {reason}" for reason, engine in reasons)


def _value(plan: Plan, name: str) -> Any:
    """What a plan has; the language's default where it says nothing. Texts count whole, not by how many there are."""
    said = plan.setting(name)
    if name == "template":
        return plan.chat_template
    if name == "messages":
        return plan.profile["messages"] or None
    return said.value if said is not None else _DEFAULTS.get(name)


def _weights(plan: Plan) -> str:
    quantize = plan.setting("quantize")
    precision = str(quantize.value) if quantize is not None and quantize.value != "none" else plan.shape.precision
    form = "GGUF" if plan.engine_name.startswith("llama") else "safetensors"
    return f"{form}, {precision or 'as the base has them'}"
