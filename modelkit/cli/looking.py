"""What can be found of a Modelfile without an engine, and without its weights: the steps of `modelkit ci`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.stages import Stages
from modelkit.failure import Failure
from modelkit.release.ci import FileReport, StageReport, Step, file_verdict

if TYPE_CHECKING:
    from modelkit.cli.weights import Found
    from modelkit.findings.examine import Examined
    from modelkit.planning.plan import Plan
    from modelkit.release.ci.report import StepName

STEPS = ("check", "layout", "lock", "plan", "flags", "parity")
"""In the order in which they are shown."""

Seen = dict[str, tuple["Found", "Plan"]]


def look(path: Path, arguments: Namespace, base: str | None) -> FileReport:
    """One file. `base` is a commit that its stages are compared with."""
    given = project.given(arguments, path)
    examined = _examined(path, given)
    steps = [step for step in (_check(examined, arguments), _layout(path)) if step.name not in arguments.skip]
    if examined.modelfile is None:
        return FileReport(modelfile=str(path), verdict=file_verdict(steps), steps=tuple(steps))
    seen: Seen = {}
    stages: Stages | None = None
    try:
        stages = Stages(examined.modelfile, arguments)
    except Failure as failure:
        steps.append(_failed("lock", failure))
    if stages is not None:
        makers: dict[StepName, Callable[[], Step]] = {
            "plan": lambda: _plan(stages, seen, arguments.between), "lock": lambda: _lock(stages, seen),
            "flags": lambda: _flags(seen), "parity": lambda: _parity(stages, seen, arguments)}
        made = {name: make() for name, make in makers.items() if name == "plan" or name not in arguments.skip}
        steps += [made[name] for name in STEPS if name in made and name not in arguments.skip]
    before = _before(path, given, arguments, base)
    return FileReport(
        modelfile=str(path), verdict=file_verdict(steps), steps=tuple(steps),
        stages=tuple(_stage(name, plan, before, base) for name, (_, plan) in seen.items()),
        **_between(seen, *arguments.between))


def _examined(path: Path, given: dict[str, str]) -> Examined:
    from modelkit.cli import inputs
    from modelkit.findings.examine import examine
    from modelkit.language.outside import outside_of
    from modelkit.language.source import Source

    return examine(Source.decode(str(path), inputs.read(path)), outside_of(path, given))


def _check(examined: Examined, arguments: Namespace) -> Step:
    """What `modelkit check` says."""
    from modelkit.language.diagnostic import Severity

    gravity = list(Severity)
    fails = gravity.index(Severity(arguments.fail_on))
    bad = [one for one in examined.found if gravity.index(one.severity) <= fails]
    shown = [one for one in examined.found if one in bad or one.severity is not Severity.INFO]
    counts = [(sum(one.severity is severity for one in examined.found), severity.value) for severity in gravity]
    said = ", ".join(f"{count} {word}{'s' * (count != 1 and word != 'info')}" for count, word in counts if count)
    lines = []
    for one in shown:
        line, _ = examined.source.line_column(one.span.start)
        lines.append(f"line {line}: {one.severity.value}[{one.rule.id}]: {one.message}")
    return Step(name="check", verdict="fail" if bad else "pass", summary=said or "nothing to say",
                details=tuple(lines))


def _layout(path: Path) -> Step:
    """What `modelkit fmt --check` says."""
    from modelkit.cli.commands import fmt

    try:
        status = fmt.formatted_file(path).status
    except Failure as failure:
        return _failed("layout", failure)
    if status == "errors":
        return Step(name="layout", verdict="skipped", summary="it has errors")
    return Step(name="layout", verdict="pass" if status == "unchanged" else "fail",
                summary="laid out" if status == "unchanged" else f"`modelkit fmt {path}` lays it out")


def _plan(stages: Stages, seen: Seen, others: Iterable[str]) -> Step:
    """What each stage would run, held to its policies. Raises Failure for one of the `others` that there is not."""
    from modelkit.cli.fit.fitting import misfit
    from modelkit.cli.policies import offences

    lines, verdicts = [], []
    for name in dict.fromkeys((*stages.lock.stages(), *others)):
        try:
            found = stages.look(name)
            plan = stages.plan(name, found)
            seen[name] = found, plan
            offended = [one for one in offences(stages.modelfile, plan, found).values() if one is not None]
            offended += [one for one in (misfit(stages, found, plan),) if one is not None]
        except Failure as failure:
            if failure.code == "unknown-stage":
                raise
            offended = [failure]
        verdicts += ["fail"] * len(offended)
        lines += [f"{name}: {line}" for one in offended for line in (one.message, *one.detail)]
    shown = ", ".join(f"{name} ({plan.engine_name} on {plan.platform})" for name, (_, plan) in seen.items())
    return Step(name="plan", verdict="fail" if verdicts else "pass", summary=shown or "no stage can be planned",
                details=tuple(lines))


def _lock(stages: Stages, seen: Seen) -> Step:
    """What `modelkit lock --check` says."""
    lock = stages.lock
    if lock.lock is None:
        strict = [name for name in lock.stages() if lock.mode_of(name) != "auto"]
        if strict:
            return Step(name="lock", verdict="fail", summary=f"there is none ({lock.why(strict[0])}): `modelkit lock` "
                        "writes it")
        return Step(name="lock", verdict="skipped", summary="there is none: `modelkit lock` writes it")
    reasons = []
    for name, (found, _) in seen.items():
        try:
            reason = stages.stale(name, found)
        except Failure as failure:
            reason = failure.message
        reasons += [reason] if reason is not None else []
    return Step(name="lock", verdict="fail" if reasons else "pass", details=tuple(dict.fromkeys(reasons)),
                summary="not up to date: `modelkit lock` writes it" if reasons else "up to date")


def _flags(seen: Seen) -> Step:
    """The engines' own words for each stage, and what no word says."""
    from modelkit import engines

    lines, verdict, counts = [], "pass", []
    for name, (_, plan) in seen.items():
        try:
            counts.append(f"{name} {len(engines.words(plan))}")
        except Failure as failure:
            verdict = "fail"
            lines += [f"{name}: {line}" for line in (failure.message, *failure.detail)]
        lines += [f"{name}: {one.setting} is {one.verdict} on {plan.engine_name}: {one.reason}"
                  for one in plan.lowered if one.verdict in ("lost", "approximated")]
    return Step(name="flags", verdict="fail" if verdict == "fail" else "pass", details=tuple(lines),
                summary=", ".join(counts) or "no stage can be planned")


def _parity(stages: Stages, seen: Seen, arguments: Namespace) -> Step:
    """Whether both stages make the same tokens of the same conversations, by their files alone."""
    from modelkit.cli import rendered
    from modelkit.release.parity import compare, own_conversations, shipped_conversations
    from modelkit.release.parity.files import files_side

    names = arguments.between
    if missing := [name for name in names if name not in seen]:
        return Step(name="parity", verdict="skipped", summary=f"there is no plan of stage {missing[0]}")
    if any(plan.task != "chat" for _, plan in (seen[name] for name in names)):
        return Step(name="parity", verdict="skipped", summary="no conversations: texts are read as they are")
    try:
        conversations = (*shipped_conversations(), *own_conversations(stages.modelfile))
        left, right = (files_side(rendered.files_of(stages, name), conversations) for name in names)
        report = compare(conversations, left, right)
    except Failure as failure:
        if failure.code in _ABSENT:
            return Step(name="parity", verdict="skipped", summary=f"{failure.message}: `modelkit pull` brings it here")
        return _failed("parity", failure)
    lines = [f"{one.cause.title(*names)} ({len(one.conversations)} conversations): {one.cause.fix}"
             for one in report.causes] or [f"{one.conversation}: token {one.at}: {one.left}, {one.right}"
                                           for one in report.differences]
    return Step(name="parity", verdict="pass" if report.equal else "fail", details=tuple(lines), summary=(
        f"{report.compared} conversations, {report.tokens} tokens, " + (
            "all equal" if report.equal else f"{len(report.differences)} conversations differ")))


_ABSENT = ("model-missing", "prompt-in-code")
"""Failures that say that a machine without the model can't tell."""


def _failed(name: StepName, failure: Failure) -> Step:
    return Step(name=name, verdict="fail" if failure.exit_code == 1 else "error", summary=failure.message,
                details=failure.detail)


def _before(path: Path, given: dict[str, str], arguments: Namespace, base: str | None) -> Stages | None:
    from modelkit.cli.base import stages_at

    if base is None:
        return None
    try:
        return stages_at(base, path.absolute(), given, arguments)
    except Failure:
        return None  # a lock or file of that commit that this release cannot read


def _stage(name: str, plan: Plan, before: Stages | None, base: str | None) -> StageReport:
    from modelkit.planning.meaning import meaning
    from modelkit.release.changes import attributes

    there = before is not None and name in before.lock.stages()
    changes = None
    if before is not None and there:
        try:
            changes = attributes(before.plan(name), plan)
        except Failure:
            there = False
    return StageReport(stage=name, engine=plan.engine_name, platform=plan.platform, model=plan.name, ir=meaning(plan),
                       is_new=base is not None and not there, changes=changes)


def _between(seen: Seen, left: str, right: str) -> dict[str, Any]:
    from modelkit.release.changes import attributes
    from modelkit.release.ci.report import Side

    if left not in seen or right not in seen:
        return {}
    return {"between": Side(left=left, right=right), "difference": attributes(seen[left][1], seen[right][1])}
