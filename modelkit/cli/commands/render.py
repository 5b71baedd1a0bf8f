"""`modelkit render`."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.rendered import special_texts, template_of
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.weights import Found
    from modelkit.models.tokens import Token
    from modelkit.planning.plan import Plan

_LARGEST = 8 << 20
_FORM = 'it is a list of messages, `[{"role": "user", "content": "Hello"}]`, or a request with `messages` in it'


def run(arguments: Namespace, terminal: Terminal) -> int:
    """The prompt that a stage's engine reads for a conversation. Changes nothing and fetches nothing."""
    stage = project.stage_of(arguments)
    request = _asked(arguments)
    stages = Stages(project.load_asked(arguments, terminal), arguments)
    found = stages.look(stage)
    plan = stages.plan(stage, found)
    template = template_of(plan, found)
    if arguments.template:
        terminal.document({"schema": "modelkit.render/1", "stage": stage, "template": template})
        terminal.data(template.removesuffix("\n"))
        return 0
    prompt = _prompt(plan, found, template, request)
    tokens = _tokens(prompt, found, plan) if arguments.tokens else None
    terminal.document({"schema": "modelkit.render/1", "stage": stage, "origin": _origin(plan), "prompt": prompt}
                      | ({} if tokens is None else {"count": len(tokens), "tokens": [
                          {"id": one.id, "text": one.text} for one in tokens]}))
    if tokens is None:
        terminal.data(prompt.removesuffix("\n"))
    else:
        terminal.table(("ID", "TEXT"), [(str(one.id), json.dumps(one.text, ensure_ascii=False)) for one in tokens])
        terminal.note(f"{len(tokens)} tokens of {plan.context_length}")
    return 0


def _asked(arguments: Namespace) -> dict[str, Any]:
    """The request of `--messages` or `--prompt`; a greeting where neither is said."""
    if arguments.messages is None:
        return {"messages": [{"role": "user", "content": arguments.prompt or "Hello!"}]}
    name = arguments.messages
    try:
        text = sys.stdin.read(_LARGEST + 1) if name == "-" else _text(Path(name))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Failure("unreadable", f"{name} cannot be read: {why.lower()}") from None
    if len(text) > _LARGEST:
        raise Failure("too-large", f"{name} is larger than 8 MiB")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure("bad-messages", f"{name} is not JSON: {error}", _FORM) from None
    if isinstance(said, list):
        said = {"messages": said}
    if not isinstance(said, dict) or "messages" not in said:
        raise Failure("bad-messages", f"{name} holds no messages", _FORM)
    kept = ("messages", "tools", "chat_template_kwargs", "reasoning_effort", "add_generation_prompt")
    return {key: said[key] for key in kept if key in said}


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        raise Failure("too-large", f"{path} is larger than 8 MiB")
    return path.read_text("utf-8")


def _prompt(plan: Plan, found: Found, template: str, request: dict[str, Any]) -> str:
    from modelkit.contract.errors import ContractError
    from modelkit.contract.profile import Profile
    from modelkit.contract.request import tokenize
    from modelkit.templates.rendering import render

    effort = request.pop("reasoning_effort", None)
    try:
        filled = tokenize(request, replace(Profile.from_json(plan.profile), dialect="llamacpp"))
    except ContractError as error:
        raise Failure("bad-messages", f"no engine would take this conversation: {error.message}", _FORM) from None
    if effort is not None:
        filled["reasoning_effort"] = effort
    return render(template, filled, special_texts(found))


def _tokens(prompt: str, found: Found, plan: Plan) -> tuple[Token, ...]:
    from modelkit.models.tokens import tokenized

    weights = plan.weights or found.base
    if weights is None:
        raise Failure("model-missing", f"{plan.reference} is not on this machine, and its tokenizer with it",
                      f"modelkit pull {plan.modelfile}")
    return tokenized(prompt, weights)


def _origin(plan: Plan) -> str:
    setting = plan.setting("template")
    return str(setting.origin) if setting is not None else "model"
