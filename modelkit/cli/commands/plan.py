"""`modelkit plan`."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from modelkit.cli import changing, project
from modelkit.cli.fit import fitting
from modelkit.cli.fit import short as fit_short
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure
from modelkit.planning.plan import Plan
from modelkit.platforms import platform_row


def run(arguments: Namespace, terminal: Terminal) -> int:
    """What each file's stage would run, and what `up` would change; 1 with `--exit-code` where that is anything."""
    stage, words = project.stage_of(arguments), arguments.files or [None]
    if arguments.out and len(words) > 1:
        raise Failure("usage", "--out keeps the plan of one Modelfile", "one `plan --out` for each")
    documents, changed, misfits = [], False, list[Failure]()
    for word in words:
        path = project.find(word)
        stages = Stages(project.load(path, terminal, project.given(arguments, path)), arguments)
        with terminal.progress() as progress:
            found = stages.look(stage, progress)
        plan, reason = stages.plan(stage, found), stages.stale(stage, found)
        provider, changes = stages.provider(plan), changing.changes_of(stages, stage)
        memory = fit_short.weighed(stages, found, plan)
        documents.append(plan.model_dump(mode="json") | {
            "lock": {"current": reason is None, "reason": reason}, "provider": provider, "changes": changes.as_json(),
            "memory_use": fit_short.as_json(memory)})
        misfits += [one for one in (fitting.misfit(stages, found, plan),) if one is not None]
        changed |= bool(changes.resources) or bool(changes.drift)
        _say(plan, reason, provider, terminal)
        terminal.data("")
        fit_short.say(memory, terminal)
        terminal.data("")
        changing.say(changes, terminal)
    if arguments.out:
        _keep(documents[0], Path(arguments.out), terminal)
    terminal.document(documents[0] if len(documents) == 1 else documents)
    if misfits and not terminal.as_json:  # whose one document has it in `changes`
        raise misfits[0]
    return misfits[0].exit_code if misfits else int(arguments.exit_code and changed)


def _keep(document: dict[str, Any], path: Path, terminal: Terminal) -> None:
    """Have it in a file, whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Failure("unwritable", f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None
    terminal.note(f"wrote {path}; `modelkit up --plan {path}` does this, or says what moved")


def _say(plan: Plan, stale: str | None, provider: str | None, terminal: Terminal) -> None:
    engine = plan.engine
    terminal.data(f"{plan.name}  stage {plan.stage}  ({plan.modelfile})")
    terminal.data("")
    found = f"{engine.version}, {engine.provider}" if engine else "(not installed)"
    running = f"{plan.engine_name} {found}"
    rows = [
        ("engine", running, _why(plan, "engine")),
        *([("provider", *provider.split(": ", 1))] if provider else []),
        ("platform", plan.platform, ""),
        ("weights", _weights(plan), plan.reference),
        ("context", f"{plan.context_length} tokens x {plan.max_concurrency} conversations", _why(plan, "num_ctx")),
        ("template", _template(plan), _why(plan, "template")),
        ("address", _address(plan), _why(plan, "serve.port")),
        ("api key", plan.api_key or "none asked for", ""),
        ("lock", "up to date" if stale is None else stale, ""),
    ]
    terminal.table(("WHAT", "VALUE", "FROM"), rows)
    terminal.data("")
    lowered = {item.setting: item for item in plan.lowered}
    names = sorted({s.name for s in plan.settings} | set(lowered))
    known = {s.name: s for s in plan.settings}
    settings = []
    for name in names:
        setting, item = known.get(name), lowered.get(name)
        settings.append((
            name, _short(setting.value) if setting else "", str(setting.origin) if setting else "",
            item.verdict if item else "", f"{item.target} {_short(item.value)}".strip() if item else "",
            item.reason if item and item.verdict != "equal" else ""))
    terminal.table(("SETTING", "VALUE", "FROM", "ON THE ENGINE", "AS", "WHY"), settings)
    if plan.needs:
        terminal.data("")
        for need in plan.needs:
            terminal.data(f"needs {need.code}: {need.message}" + (" (`up` does it)" if need.automatic else ""))


def _address(plan: Plan) -> str:
    if platform_row(plan.platform).where == "elsewhere":
        return f"port {plan.port}, where the platform makes it known"
    return project.base_url(plan.host, plan.port)


def _template(plan: Plan) -> str:
    if plan.task != "chat":
        return "none: texts are read as they are"
    setting = plan.setting("template")
    if setting is not None and setting.origin.kind != "model":
        return "the Modelfile's"
    return "the model's own" if plan.chat_template is None else "the model's own, as every engine gets it"


def _why(plan: Plan, name: str) -> str:
    setting = plan.setting(name)
    return str(setting.origin) if setting else ""


def _weights(plan: Plan) -> str:
    if plan.weights is None:
        return "not on this machine yet"
    size = plan.weights.size / 1e6
    return f"{plan.weights.form}, {size:.1f} MB, {plan.weights.digest[:19]}"


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:37] + "..."
