"""Runs one task of lm-eval against a chat endpoint. Run by the tool's Python under `driver.py`, never imported."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any


def main(request: dict[str, Any], say: Any) -> dict[str, Any]:
    say(progress=[0, None, f"reading {request['name']}"])
    path = Path(request["task"])
    manager = _room("lm_eval.tasks").TaskManager(include_path=str(path.parent) if path.suffix else None)
    name = request["name"]
    kinds = _kinds(manager, name)
    if not kinds:
        _refuse(say, "no-task", f"lm-eval knows no task `{name}`", "`modelkit eval --list` has some, and lm-eval's own "
                "page all")
    for kind in kinds - {"generate_until", ""}:
        _refuse(say, "eval-needs-likelihoods", kind)

    model = _endpoint(request, say)
    told = _room("lm_eval").simple_evaluate(
        model, tasks=[name], limit=request["limit"], log_samples=True, apply_chat_template=True, task_manager=manager,
        bootstrap_iters=0, confirm_run_unsafe_code=False)
    return {"scores": _scores(told, name)}


def _room(name: str) -> Any:
    return importlib.import_module(name)


def _endpoint(request: dict[str, Any], say: Any) -> Any:
    """The model behind the address, which tells how many questions are answered."""
    model = _room("lm_eval.models.openai_completions").LocalChatCompletion(
        model=request["model"], base_url=f"{request['url']}/chat/completions", num_concurrent=request["concurrency"],
        max_retries=3, timeout=600)
    generate, parse, payload = model.generate_until, model.parse_generations, model._create_payload
    answered = wanted = 0

    def generate_until(requests: Any, **more: Any) -> Any:
        nonlocal wanted
        wanted += len(requests)
        return generate(requests, **more)

    def parse_generations(*words: Any, **more: Any) -> Any:
        nonlocal answered
        answered += 1
        say(progress=[answered, wanted, f"asking {request['name']}"])
        return parse(*words, **more)

    def create_payload(*words: Any, **more: Any) -> Any:
        made = payload(*words, **more)
        stops = [one for one in made.pop("stop", None) or () if one]
        return made | {"stop": stops} if stops else made  # no stop is said by leaving it out, not by [None]

    model.generate_until, model.parse_generations = generate_until, parse_generations
    model._create_payload = create_payload
    return model


def _kinds(manager: Any, name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """What a task, or each of a group's, asks for; "" where its file does not say, and nothing for what is unknown."""
    entry = manager._entry(name)
    if entry is None or name in seen:
        return set()
    config = entry.cfg or {}
    if "output_type" in config:
        return {config["output_type"]}
    found, members = set(), config.get("task")
    for one in members if isinstance(members, list) else ():
        inner = one if isinstance(one, str) else one.get("task") or one.get("group") if isinstance(one, dict) else None
        for word in inner if isinstance(inner, list) else [inner]:
            if isinstance(word, str):
                found |= _kinds(manager, word, seen | {name})
    return found or {""}


def _scores(told: dict[str, Any], name: str) -> dict[str, Any]:
    """By name: the first metric and filter of the task, then each of the others. A group's questions are those of all
    its tasks."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for task, samples in told["samples"].items():
        shots = told.get("n-shot", {}).get(task)
        for sample in samples:
            for metric in sample["metrics"]:
                if not isinstance(sample.get(metric), int | float):
                    continue
                key = (metric, sample.get("filter", "none"))
                score = found.setdefault(key, {"metric": ",".join(key), "questions": [], "shots": shots})
                identity = f"{task}/{sample['doc_id']}" if task != name else str(sample["doc_id"])
                score["questions"].append({"id": identity, "score": float(sample[metric])})
    named: dict[str, Any] = {}
    for (metric, kind), score in found.items():
        other = f"{name}.{kind}"
        named[name if not named else other if kind != "none" and other not in named else f"{name}.{metric}"] = score
    return named


def _refuse(say: Any, code: str, message: str, hint: str | None = None) -> None:
    say(failure={"code": code, "message": message, **({"hint": hint} if hint else {})})
    raise SystemExit(1)
