"""Runs one task of Inspect against a chat endpoint. Run by the tool's Python under `driver.py`, never imported."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any


def main(request: dict[str, Any], say: Any) -> dict[str, Any]:
    say(progress=[0, None, f"reading {request['name']}"])
    _tell_progress(request["name"], say)
    model = _room("inspect_ai.model").get_model(
        f"openai-api/modelkit/{request['model']}", base_url=request["url"], api_key=os.environ["OPENAI_API_KEY"])
    source, at, function = request["task"].partition("@")
    path = Path(source)
    if path.suffix == ".py":
        os.chdir(path.parent)  # data sets are named beside the task
        source = path.name  # Inspect takes no path from the root
    source += at + function
    logs = _room("inspect_ai").eval(
        source, model=model, limit=request["limit"], max_connections=request["concurrency"],
        max_samples=request["concurrency"], display="none", fail_on_error=False, retry_on_error=2,
        log_dir=str(Path(os.environ["TMPDIR"]) / "logs"), log_level="warning")
    if not logs:
        _refuse(say, "no-task", f"Inspect finds no task in `{source}`", "a task is a function with `@task`")
    if logs[0].status != "success" and not logs[0].samples:
        _refuse(say, "tool-failed", f"Inspect ended with status {logs[0].status}: "
                f"{logs[0].error.message if logs[0].error else 'it says no more'}", None)
    return {"scores": _scores(logs[0], request["name"])}


def _room(name: str) -> Any:
    return importlib.import_module(name)


def _tell_progress(name: str, say: Any) -> None:
    done = 0

    async def on_sample_end(self: Any, data: Any) -> None:
        nonlocal done
        done += 1
        say(progress=[done, None, f"asking {name}"])

    hooks = _room("inspect_ai.hooks")
    hooks.hooks(name="modelkit_progress", description="tells how far it is")(
        type("Progress", (hooks.Hooks,), {"on_sample_end": on_sample_end}))


def _scores(log: Any, name: str) -> dict[str, Any]:
    """By name: the first scorer, then each of the others. A sample that was not scored is one without a score."""
    number = _room("inspect_ai.scorer").value_to_float()
    scorers = list(dict.fromkeys(key for sample in log.samples for key in sample.scores or {}))
    found: dict[str, Any] = {}
    for scorer in scorers or ["none"]:
        questions = []
        for sample in log.samples:
            score = (sample.scores or {}).get(scorer)
            value = None if score is None or isinstance(score.value, list | dict) else float(number(score.value))
            identity = f"{sample.id}" if sample.epoch == 1 else f"{sample.id}#{sample.epoch}"
            error = sample.error.message if sample.error else None if value is not None else "it was not scored"
            questions.append({"id": identity, "score": value, "error": error})
        found[name if not found else f"{name}.{scorer}"] = {"metric": scorer, "questions": questions}
    return found


def _refuse(say: Any, code: str, message: str, hint: str | None) -> None:
    say(failure={"code": code, "message": message, **({"hint": hint} if hint else {})})
    raise SystemExit(1)
