"""Settings of the language to an engine's words, through a table of one row a setting.

    TABLE = rows(
        Row("num_thread", equal("--threads"), "CPU threads; 0 lets the engine choose"),
        Row("num_gpu", lost("vLLM places whole models, not layers"), "layers on the GPU"),
    )
    lowered = lower(TABLE, plan)
    argv = (*command, *words(lowered))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelkit.planning.plan import Lowered, Plan, Verdict


@dataclass(frozen=True)
class Answer:
    """What a value becomes: `target` is a flag (`--threads`), a request field (`temperature`), or "" when lost."""

    verdict: Verdict
    target: str
    value: Any = None
    reason: str = ""


Rule = Callable[[Any, Plan], Answer | None]
"""The answer for one value in one plan; None when the setting asks nothing of the engine (an "auto" value)."""


@dataclass(frozen=True)
class Row:
    """One setting on one engine. `doc` is one line for the generated reference."""

    setting: str
    rule: Rule
    doc: str = ""


GENERATION = frozenset((
    "system", "messages", "template", "stop", "temperature", "top_p", "top_k", "min_p", "typical_p", "repeat_penalty",
    "repeat_last_n", "presence_penalty", "frequency_penalty", "seed", "num_predict", "draft", "draft_num_predict",
    "serve.tool_parser", "serve.reasoning_parser", "serve.thinking", "serve.speculative"))
"""Settings that mean something only where an answer is generated."""


def rows(*table: Row) -> Mapping[str, Row]:
    """A table by setting. Two rows for one setting are our bug."""
    by_name = {row.setting: row for row in table}
    assert len(by_name) == len(table), "a setting has two rows"
    return by_name


def equal(target: str) -> Rule:
    """The engine means the same and takes the value as it is."""
    return lambda value, plan: Answer("equal", target, value)


def translated(target: str, convert: Callable[[Any], Any], reason: str = "") -> Rule:
    """The engine means the same and spells the value differently."""
    return lambda value, plan: Answer("translated", target, convert(value), reason)


def approximated(target: str, convert: Callable[[Any], Any], reason: str) -> Rule:
    """The nearest thing that the engine can do."""
    return lambda value, plan: Answer("approximated", target, convert(value), reason)


def lost(reason: str) -> Rule:
    """The engine cannot do it."""
    return lambda value, plan: Answer("lost", "", None, reason)


def thinking(value: Any, plan: Plan) -> Answer | None:
    """The rule of `SERVE thinking`: variables of the chat template, which the contract sends to every engine."""
    if value == "auto":
        return None
    variables = plan.profile.get("template_variables") or {}
    if not variables:
        return Answer("lost", "", None, plan.thinking_problem or "this model's chat template has no switch for it")
    return Answer("approximated" if plan.thinking_problem else "translated", "chat_template_kwargs", variables,
                  plan.thinking_problem)


def lower(table: Mapping[str, Row], plan: Plan) -> tuple[Lowered, ...]:
    """What every setting of the plan that has a row becomes, in the plan's order.

    A setting without a row is none of the engine's business (`serve.port`, `name`): the table's tests keep that true.
    """
    found = []
    generates = plan.task == "chat"
    for setting in plan.settings:
        row = table.get(setting.name)
        if not generates and setting.name in GENERATION:
            found.append(Lowered(setting=setting.name, verdict="lost", target="", reason="nothing is generated"))
        elif row is not None and (answer := row.rule(setting.value, plan)) is not None:
            found.append(Lowered(setting=setting.name, verdict=answer.verdict, target=answer.target,
                                 value=answer.value, reason=answer.reason))
    return tuple(found)


def words(lowered: Iterable[Lowered]) -> tuple[str, ...]:
    """The flags among `lowered` as argv words: True is the bare flag, False and None nothing, a tuple several words."""
    argv: list[str] = []
    for one in lowered:
        if not one.target.startswith("-") or one.value is None or one.value is False:
            continue
        argv.append(one.target)
        if one.value is not True:
            argv += [str(v) for v in one.value] if isinstance(one.value, (tuple, list)) else [str(one.value)]
    return tuple(argv)
