"""lm-eval and Inspect at work in environments of their own, and what their results mean here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelkit.failure import Failure
from modelkit.models.convert.tool import Tool, run_child
from modelkit.release.client import Target
from modelkit.release.evaluation.score import Question, Score, scored
from modelkit.release.evaluation.tasks import REFUSED, Task, refusal

_CHILDREN = Path(__file__).with_name("children")
_SCRIPTS = {"lm-eval": _CHILDREN / "lm_eval_child.py", "inspect": _CHILDREN / "inspect_child.py"}


def outside(task: Task, target: Target, tool: Tool, *, work: Path, limit: int | None, concurrency: int,
            on_progress: Callable[[int, int | None, str], None]) -> dict[str, Score]:
    """The scores of one task, by name. Raises Failure: what the tool says, in our words where we know them."""
    request = {"task": task.source, "name": task.name, "url": target.base_url, "model": target.model,
               "limit": limit, "concurrency": concurrency}
    try:
        said = run_child(tool, _SCRIPTS[task.runner], request, work=work, on_progress=on_progress, online=True,
                         variables={"OPENAI_API_KEY": target.key or "none"})
    except Failure as failure:
        raise _explained(failure, task) from None
    return {name: _score(name, score, tool) for name, score in said["scores"].items()}


def _score(name: str, said: Mapping[str, Any], tool: Tool) -> Score:
    questions = [Question(id=str(one["id"]), score=one["score"], error=one.get("error")) for one in said["questions"]]
    return scored(name, said["metric"], questions, tool=tool.version, shots=said.get("shots"))


def _explained(failure: Failure, task: Task) -> Failure:
    if failure.code == "eval-needs-likelihoods":
        known = REFUSED.get(task.name)
        return refusal(task.name, failure.message, known.instead if known else ())
    words = " ".join((failure.message, *failure.detail))
    if any(sign in words for sign in ("ConnectionError", "OfflineModeIsEnabled", "Couldn't reach", "LocalEntryNotFound",
                                      "couldn't find it in the cache", "Couldn't find any data file", "ConnectError")):
        return Failure("eval-no-data", f"the data set of `{task.name}` is not here and cannot be fetched",
                       hint="run it once where the hub can be reached and keep HF_HOME, or write the questions into a "
                       "file of your own (docs/eval.md)", detail=failure.detail[-3:])
    return failure
