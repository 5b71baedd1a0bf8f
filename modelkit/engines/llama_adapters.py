"""LoRA adapters on llama.cpp: all are loaded at the start, and each request says how strong each one is.

The contract says it for every request (`contract/dialect.py`): 1 for the adapter that the model name chooses, 0 for
all others, in the order of these flags. llama-server computes requests of one adapter together, and others after them.
"""

from __future__ import annotations

from typing import Any

from modelkit.engines.table import Answer, Row
from modelkit.engines.word import Word
from modelkit.planning.plan import Plan


def _row(value: Any, plan: Plan) -> Answer:
    """The flags themselves are `lora_words`: they need the adapters' paths, which no setting has."""
    return Answer("equal", "--lora", None, "the model name chooses it; requests for other names wait for each other")


ROW = Row("adapters", _row, "LoRA adapters, as GGUF")


def lora_words(plan: Plan) -> tuple[Word, ...]:
    """The flags for a plan's adapters, in the order in which a request numbers them."""
    return tuple(Word("--lora", one.path or "", one.origin, f"served as `{one.name}`", "adapters")
                 for one in plan.adapters)
