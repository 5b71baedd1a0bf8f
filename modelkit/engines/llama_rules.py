"""Rules that both providers of llama.cpp share: our own engine's table and llama-server's are made with them."""

from __future__ import annotations

from typing import Any

from modelkit.engines.table import Answer, Row, Rule, lost, thinking
from modelkit.language.quantization import PRECISIONS
from modelkit.planning.plan import Plan

FIELD = "the request says it; the contract fills it in"


def only_when(wanted: bool, rule: Rule) -> Rule:
    return lambda value, plan: rule(value, plan) if value is wanted else None


def positive(rule: Rule) -> Rule:
    return lambda value, plan: rule(value, plan) if value > 0 else None


def quantize(value: Any, plan: Plan) -> Answer:
    row = PRECISIONS.get(str(value))
    if row is None:
        return Answer("equal", "weights", None, "chosen as soon as the model is known")
    if row.form == "safetensors":
        return Answer("lost", "", None, f"llama.cpp has no {row.name}: the base's own precision is used")
    return Answer("equal", "weights", row.name)


def repeat_last_n(value: Any, plan: Plan) -> Answer:
    if value in (-1, plan.context_length):
        return Answer("equal", "repeat_last_n", plan.context_length)
    return Answer("approximated", "repeat_last_n", plan.context_length,
                  "penalties look at the whole conversation, on every engine")


def off(neutral: float, reason: str) -> Rule:
    """Lost, unless the value turns it off anyway."""
    return lambda value, plan: None if value == neutral else Answer("lost", "", None, reason)


def projector(flag: str) -> Rule:
    """A second FROM, which lets the model see."""

    def rule(value: Any, plan: Plan) -> Answer:
        if plan.projector is not None:
            return Answer("equal", flag, plan.projector.path, "FROM, the projector: images are seen")
        contained = plan.engine is not None and plan.engine.provider == "image"
        return Answer("lost", "", None, "containers get no projector in this release: images are refused"
                      if contained else "the projector is not here")

    return rule


def method(plan: Plan) -> str:
    """How tokens are guessed ahead: what `SERVE speculative` says, else `draft_model` where there is a DRAFT."""
    said = plan.setting("serve.speculative")
    return str(said.value) if said is not None else "draft_model" if plan.setting("draft") is not None else "off"


def drafted(plan: Plan) -> int:
    """Tokens that are guessed ahead: `draft_num_predict`, and its default where nobody says how many."""
    number = plan.setting("draft_num_predict")
    return int(number.value) if number is not None else 4


_SPLITS = "llama.cpp splits layers over all the GPUs that it sees by itself"
_IGNORED = "deprecated in Ollama, which ignores it too"

ALIKE = (
    Row("quantize", quantize, "made beforehand"),
    Row("serve.gpu_memory", off(0.9, "llama.cpp places layers, it does not reserve memory; see `num_gpu`"), ""),
    Row("serve.tensor_parallel", off(1, _SPLITS), ""),
    Row("serve.pipeline_parallel", off(1, _SPLITS), ""),
    Row("typical_p", off(1.0, "vLLM has no typical sampling, and a request means the same on every engine"), ""),
    Row("num_keep", lost("a conversation ends where its context does; nothing is shifted out of it"), ""),
    Row("serve.thinking", thinking, "variables of the chat template"),
    Row("serve.accelerator", lambda value, plan: Answer("equal", "", None, "it takes what the machine has"), ""),
    Row("serve.image", lost("llama.cpp runs as a process of the machine, in no image"), ""),
    Row("serve.max_replicas", lost("only platforms that add copies under load have it"), ""),
    *(Row(name, lost(_IGNORED), "") for name in ("f16_kv", "logits_all", "low_vram", "mirostat", "mirostat_eta",
                                                 "mirostat_tau", "penalize_newline", "use_mlock", "vocab_only")),
)
"""Rows of both tables."""
