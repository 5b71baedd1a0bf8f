"""`SERVE task` on engines: what makes a model embed or rerank there exactly as it does in dev.

One meaning (decision 0031): vectors have length 1, scores lie between 0 and 1, the pooling is the plan's, and nothing
that is too long is cut. Facts are of vLLM 0.32 and SGLang 0.5.23.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from modelkit.engines.table import Answer, Row, Rule, lost
from modelkit.engines.word import Word
from modelkit.failure import Failure
from modelkit.planning.plan import Lowered, Origin, Plan

_CONVERT = {"embed": "embed", "rerank": "classify"}


def rows(task_rule: Rule, pooling: Rule, matryoshka: Rule) -> tuple[Row, ...]:
    """An engine's rows for the three settings."""
    return (Row("serve.task", task_rule, "what the model is served for"),
            Row("serve.pooling", pooling, "what of a text's vectors is its embedding"),
            Row("serve.matryoshka", matryoshka, "whether clients may have shorter embeddings"))


def said_elsewhere(target: str) -> Rule:
    """The setting is a part of what `target` says."""
    return lambda value, plan: Answer("equal", target, None)


def only_chat(reason: str) -> Rule:
    return lambda value, plan: None if value == "chat" else Answer("lost", "", None, reason)


def by_the_contract(value: Any, plan: Plan) -> Answer:
    return Answer("equal", "dimensions", None, "the contract lets such requests through, or refuses them")


def nowhere(reason: str) -> tuple[Row, ...]:
    """The rows of an engine that only chats."""
    return rows(only_chat(reason), lost(reason), lost(reason))


VLLM_ROWS = rows(lambda value, plan: None if value == "chat" else Answer("translated", "--runner", None),
                 said_elsewhere("--pooler-config"), by_the_contract)


def vllm_words(plan: Plan) -> Iterator[Word]:
    """vLLM's flags for a model that pools; none for one that answers in text."""
    kind = plan.task
    if kind == "chat":
        return
    said = plan.setting("serve.task")
    origin = said.origin if said is not None else Origin(kind="default")
    yield Word("--runner", "pooling", origin, "`auto` would serve a model that can chat for chatting", "serve.task")
    yield Word("--convert", _CONVERT[kind], origin, "what is computed from the last layer", "serve.task")
    pooling = plan.setting("serve.pooling")
    config: dict[str, Any] = {"use_activation": True}
    if pooling is not None:
        config = {"pooling_type": str(pooling.value).upper(), **config}
    yield Word("--pooler-config", json.dumps(config), pooling.origin if pooling else Origin(kind="engine"),
               "vectors of length 1, whatever the model's own files say" if kind == "embed" else
               "scores from 0 to 1", "serve.pooling" if pooling else "")
    overrides: dict[str, Any] = {}
    if kind == "rerank":
        overrides["problem_type"] = "multi_label_classification"  # a sigmoid, where files may ask for none
    elif plan.profile.get("matryoshka") is True:
        overrides["is_matryoshka"] = True
    if overrides:
        yield Word("--hf-overrides", json.dumps(overrides), Origin(kind="engine"),
                   "scores are a sigmoid's on every engine" if kind == "rerank" else
                   "`SERVE matryoshka`, which vLLM reads in the model's own file", "serve.matryoshka"
                   if kind == "embed" and plan.setting("serve.matryoshka") else "")


def _sglang_task(value: Any, plan: Plan) -> Answer | None:
    if value == "chat":
        return None
    if value == "embed":
        return Answer("translated", "--is-embedding", True)
    return Answer("lost", "", None, "SGLang's answer to a rerank request is another one than vLLM's")


def _sglang_pooling(value: Any, plan: Plan) -> Answer:
    if value == "last":
        return Answer("equal", "--is-embedding", None, "what SGLang does with a model that answers in text")
    return Answer("lost", "", None, f"SGLang takes no `{value}`: each of its models pools in its own way")


SGLANG_ROWS = rows(_sglang_task, _sglang_pooling, by_the_contract)
_ONLY_VLLM = "this release embeds and reranks on vLLM and on modelkit's own llama.cpp engine"
TENSORRT_ROWS = LLAMA_SERVER_ROWS = nowhere(_ONLY_VLLM)


def presume_served(plan: Plan, lowered: Iterable[Lowered]) -> None:
    """Raises Failure where the engine loses the task or the pooling: it would answer, and mean something else."""
    for one in lowered:
        if one.setting in ("serve.task", "serve.pooling") and one.verdict == "lost":
            raise Failure("task-not-on-engine", f"{plan.engine_name} cannot serve stage `{plan.stage}` as `SERVE task "
                          f"{plan.task}`: {one.reason}", hint="write `ENGINE vllm` in this stage")
