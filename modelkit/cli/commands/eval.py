"""`modelkit eval`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli import project, targets
from modelkit.cli.measured import runners, subject, tool, write_out
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure
from modelkit.release.verdict import EXIT_CODES, Verdict, fold

if TYPE_CHECKING:
    from modelkit.language.modelfile import Expectation
    from modelkit.release.evaluation import Paired, Score


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Score a model's answers; 1 when an EXPECT is missed or the model is worse than it was, 2 when a question got no
    answer."""
    if arguments.list:
        return _list(terminal)
    from modelkit.release.evaluation import find_task
    from modelkit.release.evaluation import run as evaluate
    from modelkit.release.evaluation.document import EvalDocument, compare, read

    before = read(Path(arguments.compare)) if arguments.compare else None
    named = [find_task(word, _folder(arguments)) for word in arguments.tasks]
    asked = targets.asked_of(arguments, terminal)
    expected = _expected(arguments, asked.stage, terminal)
    tasks = named or [find_task(name, _folder(arguments)) for name in _evaluations(expected)]
    if not tasks:
        raise Failure("no-task", "which tasks?", hint="`modelkit eval capitals.jsonl`, `modelkit eval gsm8k`, or an "
                      "`EXPECT eval.NAME >= 50%` in the stage; `modelkit eval --list` has tasks by name")
    for runner in {one.runner for one in tasks} - {"modelkit"}:
        tool(runner)  # what is missing is said before anything is asked
    with runners() as outside, terminal.progress("questions") as progress:
        scores = evaluate(tasks, asked.target, outside=outside, limit=arguments.limit,
                          concurrency=arguments.concurrency, on_progress=progress)
    document = EvalDocument(subject=subject(asked, arguments), limit=arguments.limit, scores=tuple(scores.values()))
    write_out(document.as_json(), arguments.out)
    differences = compare(before, document) if before else ()
    held = [(one, _held(one, scores)) for one in expected if one.metric.removeprefix("eval.") in scores]
    terminal.document(document.as_json()
                      | {"limits": [{"limit": one.text, "verdict": verdict} for one, verdict in held]}
                      | ({"comparison": [one.model_dump() | {"verdict": one.verdict} for one in differences]}
                         if before else {}))
    _show(document.scores, held, differences, terminal)
    verdicts: list[Verdict] = [one.verdict for one in document.scores] + [verdict for _, verdict in held]
    return EXIT_CODES["fail" if any(one.verdict == "worse" for one in differences) else fold(verdicts)]


def _list(terminal: Terminal) -> int:
    from modelkit.release.evaluation.tasks import CHAT, REFUSED

    terminal.document({"chat": [{"task": name, "asks": says} for name, says in CHAT.items()],
                       "refused": [{"task": name, "needs": one.kind, "instead": list(one.instead)}
                                   for name, one in sorted(REFUSED.items())]})
    terminal.table(("TASK", "ASKS"), CHAT.items())
    terminal.note("These cannot be asked over chat, for they compare how likely given texts are: "
                  + ", ".join(sorted(REFUSED)))
    return 0


def _folder(arguments: Namespace) -> Path:
    """Where tasks lie beside the Modelfile; here, where there is none."""
    try:
        return project.find(arguments.file).parent
    except Failure:
        return Path()


def _expected(arguments: Namespace, stage: str | None, terminal: Terminal) -> list[Expectation]:
    """The stage's EXPECTs of evaluations."""
    from modelkit.language.layers import effective

    if stage is None:
        return []
    path = project.find(arguments.file)
    modelfile = project.load(path, terminal, project.remembered(path) | project.given(arguments, path))
    return [one.value for one in effective(modelfile, stage).expectations if one.value.metric.startswith("eval.")]


def _evaluations(expected: Sequence[Expectation]) -> list[str]:
    """Their tasks, each once: `eval.gsm8k.flexible-extract` is a score of `gsm8k`."""
    return list(dict.fromkeys(one.metric.split(".")[1] for one in expected))


def _held(limit: Expectation, scores: dict[str, Score]) -> Verdict:
    from modelkit.release.bench.limits import met

    score = scores[limit.metric.removeprefix("eval.")]
    return score.verdict if score.verdict != "pass" else "pass" if met(limit.op, score.value, limit.value) else "fail"


def _show(scores: Sequence[Score], held: Sequence[tuple[Expectation, Verdict]], differences: Sequence[Paired],
          terminal: Terminal) -> None:
    terminal.table(("TASK", "SCORE", "95 %", "QUESTIONS", "SCORED BY"), [
        (one.name, _percent(one.value), f"{_percent(one.low)} to {_percent(one.high)}",
         str(one.answered) + (f", {one.unscored} without an answer" if one.unscored else ""),
         f"{one.tool}: {one.metric}") for one in scores])
    for limit, verdict in held:
        terminal.data(f"{verdict:<12} {limit.text}")
    for pair in differences:
        terminal.data(f"{pair.verdict:<12} {pair.name}    {100 * pair.difference:+.1f} points, {100 * pair.low:+.1f} "
                      f"to {100 * pair.high:+.1f}: of {pair.count} questions {pair.better} better, {pair.worse} worse")
    for one in scores:
        if failed := next((question.error for question in one.questions if question.error), None):
            terminal.note(f"{one.name}: {one.unscored} questions got no answer; the first: {failed}")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
