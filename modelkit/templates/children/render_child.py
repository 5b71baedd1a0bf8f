"""Renders conversations: `python -I render_child.py`, run by `templates.rendering` and never imported.

A request as JSON on stdin (`template`, `tokens`, `requests`, and the limits `seconds`, `memory`, `output`), one JSON
list on stdout with an object for each: `prompt`, or `refused` with the reason. A template is a stranger's program:
beneath Jinja's sandbox and our own limits, the system ends this process when it takes too much time, memory or output.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[3]))
    request = json.load(sys.stdin)
    from modelkit.contract.errors import ContractError
    from modelkit.llamacpp import conversation
    from modelkit.llamacpp.template import Template

    spent = math.ceil(time.process_time())
    _limit(resource.RLIMIT_CPU, spent + request["seconds"])
    _limit(resource.RLIMIT_AS, request["memory"])
    _limit(resource.RLIMIT_FSIZE, request["output"])
    refused = ContractError, ValueError, MemoryError, RecursionError
    answers: list[dict[str, str]] = []
    try:
        template = Template(request["template"], request["tokens"])
    except refused as error:
        answers = [{"refused": _reason(error)}] * len(request["requests"])
    else:
        for said in request["requests"]:
            try:
                messages, _ = conversation.conversation(said["messages"], template.content_format)
                answers.append({"prompt": template.render(
                    messages, tools=conversation.tools(said.get("tools")), variables=conversation.variables(said),
                    add_generation_prompt=said.get("add_generation_prompt", True))})
            except refused as error:
                answers.append({"refused": _reason(error)})
    json.dump(answers, sys.stdout)
    sys.stdout.flush()
    os._exit(0)


def _reason(error: Exception) -> str:
    if isinstance(error, (MemoryError, RecursionError)):
        return "the chat template takes more memory than a prompt can"
    return str(getattr(error, "message", error))


def _limit(kind: int, most: int) -> None:
    with suppress(ValueError, OSError):  # macOS has no limit of addresses
        resource.setrlimit(kind, (most, most))


main()
