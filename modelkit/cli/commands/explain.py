"""`modelkit explain`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from modelkit.cli import project, rule_words
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.engines.word import Word
    from modelkit.planning.plan import Lowered, Plan


def run(arguments: Namespace, terminal: Terminal) -> int:
    """A rule's page; or each effective flag of a stage, where it comes from and why. Changes and fetches nothing."""
    if arguments.rules:
        return rule_words.listing(terminal)
    if (rule := rule_words.rule_of(arguments.file)) is not None:
        return rule_words.explain(rule, terminal)
    return _stage(arguments, terminal)


def _stage(arguments: Namespace, terminal: Terminal) -> int:
    from modelkit import engines

    stages = Stages(project.load_asked(arguments, terminal), arguments)
    plan = stages.plan(project.stage_of(arguments))
    words, flagless, lost = engines.words(plan), *_flagless(plan, engines.words(plan))
    refusal = _refusal(plan)
    terminal.document({"schema": "modelkit.explain/1", "stage": plan.stage, "engine": plan.engine_name,
                       "version": plan.engine.version if plan.engine else None, "platform": plan.platform,
                       "provider": stages.provider(plan),
                       "words": [_word(word) for word in words], "requests": [_item(plan, one) for one in flagless],
                       "lost": [_item(plan, one) for one in lost], "refused": refusal.as_json() if refusal else None})
    where = f"in {plan.image}" if plan.image else "as a process" if plan.engine else "(not installed here)"
    terminal.data(f"{plan.name}  stage {plan.stage}  {plan.engine_name} "
                  f"{plan.engine.version if plan.engine else ''} {where}, platform {plan.platform}")
    if (provider := stages.provider(plan)) is not None:
        terminal.data(f"by {provider}")
    terminal.data("")
    terminal.table(("FLAG", "VALUE", "FROM", "WHY"), [(word.flag or "(model)", _middle(_value(word)), str(word.origin),
                                                       word.reason) for word in words])
    for header, items in (("WITHOUT A FLAG", flagless), ("LOST", lost)):
        if items:
            terminal.data("")
            terminal.table((header, "VALUE", "FROM", "AS", "WHY"), [_row(plan, one) for one in items])
    if refusal:
        terminal.note(f"`up` would refuse it: {refusal.message}" + (f" ({refusal.hint})" if refusal.hint else ""))
    return 0


def _flagless(plan: Plan, words: tuple[Word, ...]) -> tuple[list[Lowered], list[Lowered]]:
    """What has no flag of its own: done by the contract or the platform, and what is lost."""
    flagged = {word.setting for word in words if word.setting}
    rest = [one for one in plan.lowered if one.setting not in flagged]
    return [one for one in rest if one.verdict != "lost"], [one for one in rest if one.verdict == "lost"]


def _refusal(plan: Plan) -> Failure | None:
    """Why `up` or `build` would not even start it, if they would not."""
    from modelkit import engines

    try:
        engines.presume_machine(plan)
        if plan.image is not None and plan.source is not None:
            engines.container(plan)
    except Failure as failure:
        return failure
    return None


def _word(word: Word) -> dict[str, Any]:
    return {"flag": word.flag, "value": list(word.value) if isinstance(word.value, tuple) else word.value,
            "setting": word.setting, "origin": word.origin.model_dump(), "reason": word.reason}


def _item(plan: Plan, one: Lowered) -> dict[str, Any]:
    setting = plan.setting(one.setting)
    return one.model_dump() | {"value": setting.value if setting else one.value,
                               "origin": setting.origin.model_dump() if setting else None}


def _row(plan: Plan, one: Lowered) -> tuple[str, ...]:
    setting = plan.setting(one.setting)
    return (one.setting, _short(setting.value if setting else one.value), str(setting.origin) if setting else "",
            f"{one.verdict} {one.target}".strip() if one.verdict != "lost" else "lost",
            one.reason or _doc(plan, one.setting))


def _doc(plan: Plan, setting: str) -> str:
    from modelkit.engines import module_of

    row = module_of(plan).SETTINGS.get(setting)
    return row.doc if row is not None else ""


def _middle(text: str) -> str:
    return text if len(text) <= 72 else f"{text[:34]}...{text[-35:]}"


def _value(word: Word) -> str:
    return " ".join(word.value) if isinstance(word.value, tuple) else word.value or ""


def _short(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
