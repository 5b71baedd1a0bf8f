"""`modelkit fit`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.fit import subject as fit_subject
from modelkit.cli.fit import text as fit_text
from modelkit.cli.terminal import Terminal, table_lines
from modelkit.failure import Failure
from modelkit.planning.fit.report import plain

if TYPE_CHECKING:
    from modelkit.cli.stages import Stages
    from modelkit.planning.fit.budget import Budget
    from modelkit.planning.fit.hardware import Hardware
    from modelkit.planning.fit.report import FitReport, Rung
    from modelkit.planning.fit.verified import Verification
    from modelkit.planning.plan import Plan


@dataclass
class _Answer:
    """One stage on one machine. `more` is what flags asked for beside the report, as JSON."""

    report: FitReport
    more: dict[str, Any] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)  # of what flags asked for
    verification: Verification | None = None


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Say how much memory each stage takes there; 1 where one does not fit, or took other than was promised, 8 where
    nobody knows."""
    machines, stage = _machines(arguments), project.stage_of(arguments)
    _presume_together(arguments, len(machines) * max(len(arguments.what), 1))
    answers = []
    for word in arguments.what or [None]:
        stages = fit_subject.stages_of(word, arguments, terminal)
        answers += [_answer(stages, stage, machine, arguments, terminal) for machine in machines]
    documents = [one.report.as_json() | one.more for one in answers]
    terminal.document(documents[0] if len(documents) == 1 else documents)
    _say(answers, len(machines) > 1, terminal)
    if any(one.verification is not None and not one.verification.holds for one in answers):
        return 1
    fits = [one.report.fits for one in answers]
    return 1 if False in fits else 8 if None in fits else 0


def _answer(stages: Stages, stage: str, machine: Hardware | None, arguments: Namespace, terminal: Terminal) -> _Answer:
    from modelkit.cli.fit import verified_files, verifying
    from modelkit.cli.fit.fitting import report

    with terminal.progress() as progress:
        found = fit_subject.look(stages, stage, progress)
    answer = _Answer(report(stages, stage, found=found, hardware=machine, context=arguments.context,
                            concurrency=arguments.concurrency, kv_cache=arguments.kv_cache))
    _warn_of_length(answer.report, terminal)
    if arguments.verify:
        answer.verification = verifying.verify(stages, answer.report, arguments, terminal)
        answer.more["verified"] = answer.verification.as_json()
    elif machine is None and (known := verified_files.known(answer.report, stages.plan(stage, found))) is not None:
        answer.report = verified_files.remembered(answer.report, known)
    _ask_more(answer, arguments, stages.plan(stage, found))
    if arguments.siblings:
        from modelkit.cli.fit.siblings import siblings

        there = siblings(found.reference, answer.report.now.anatomy, answer.report.hardware, answer.report.engine,
                         stages.store)
        answer.more["siblings"] = there.as_json()
        answer.texts += ["", *str(there).splitlines()]
    if arguments.plot:
        _draw(answer, arguments.plot, terminal)
    return answer


def _warn_of_length(report: FitReport, terminal: Terminal) -> None:
    anatomy, asked = report.now.anatomy, report.now.serving.context_length
    if anatomy is not None and anatomy.context_length is not None and asked > anatomy.context_length:
        terminal.note(f"the model was trained for {anatomy.context_length} tokens, and this is about {asked}")


def _ask_more(answer: _Answer, arguments: Namespace, plan: Plan) -> None:
    """Users at a latency, and what tokens cost."""
    from modelkit.cli.fit import calibrating
    from modelkit.cli.fit import more as fit_more

    if arguments.users_at:
        limits = fit_more.limits_of(arguments.users_at)
        report = answer.report
        found = fit_more.users(report, limits, calibrating.known(plan, report.now.serving, report.hardware))
        answer.more["users"] = [{"limit": limit.text, "users": plain(one)}
                                for limit, one in zip(limits, found, strict=True)]
        rows = fit_more.user_rows(limits, found, fit_more.room(report))
        answer.texts += ["", *table_lines(("USERS AT", "EXPECTED", "THEN", ""), rows)]
    if arguments.price is not None:
        text, document = fit_more.cost(answer.report, arguments.price)
        answer.more["cost_per_million"] = document
        answer.texts += ["", text]


def _draw(answer: _Answer, where: str, terminal: Terminal) -> None:
    """Into a file, or to be printed behind the tables."""
    from modelkit.cli.fit.plotting import charts, picture, png, svg
    from modelkit.cli.fit.plotting import terminal as text

    anatomy = answer.report.now.anatomy
    drawn = picture(answer.report, lambda rung, tokens: _at(answer.report, rung, tokens),
                    anatomy.context_length if anatomy is not None else None)
    answer.more["plot"] = drawn.as_json()
    if where == "-":
        answer.texts += ["", *text.lines(drawn, min(terminal.width, 120), text.signs(terminal.stdout.encoding))]
        return
    drawing = charts.charts(drawn)
    data = png.png(drawing) if where.lower().endswith(".png") else svg.svg(drawing).encode()
    path = Path(where)
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Failure("unwritable", f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None
    terminal.note(f"wrote {path}")


def _at(report: FitReport, rung: Rung, tokens: int) -> Budget:
    """What a rung would take with another context."""
    from modelkit.planning.fit.budget import Budget
    from modelkit.planning.fit.budgets import at_context, budget

    if rung.anatomy is None:
        return Budget(())
    beside = [line for line in rung.budget.lines if line.name.startswith(("projector", "draft", "adapter"))]
    return budget(rung.anatomy, at_context(rung.serving, tokens), report.hardware, beside=beside)


def _say(answers: list[_Answer], side_by_side: bool, terminal: Terminal) -> None:
    from modelkit.cli.fit import more as fit_more
    from modelkit.cli.fit import verifying

    if len(answers) > 1:
        reports = [one.report for one in answers]
        fit_text.side_by_side(reports, list(map(fit_more.room, reports)), terminal)
    for index, one in enumerate(answers):
        if not side_by_side:
            if index or len(answers) > 1:
                terminal.data("")
            fit_text.say(one.report, terminal)
        for line in one.texts:
            terminal.data(line)
        if one.verification is not None:
            terminal.data("")
            verifying.say(one.verification, terminal)


def _machines(arguments: Namespace) -> list[Hardware | None]:
    """Those that `--hardware` names; without it None, the stage's own."""
    from modelkit.planning.fit.profiles import profile

    names = [name.strip() for said in arguments.hardware for name in said.split(",")]
    return [profile(name) for name in dict.fromkeys(names)] or [None]


def _presume_together(arguments: Namespace, count: int) -> None:
    if arguments.verify and arguments.hardware:
        raise Failure("usage", "`--verify` is about this machine: leave `--hardware` out")
    if arguments.plot in (None, "-"):
        return
    if not arguments.plot.lower().endswith((".svg", ".png")):
        raise Failure("usage", f"`--plot {arguments.plot}` is neither a .svg nor a .png",
                      hint="for a plot in the terminal, write `--plot` behind everything else")
    if count > 1:
        raise Failure("usage", "a picture is of one model on one machine", hint="one `modelkit fit --plot` for each")
