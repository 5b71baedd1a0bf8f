"""Renders one conversation: `python -I render_child.py`, run by `templates.rendering` and never imported.

A request as JSON on stdin (`template`, `tokens`, `request`, and the limits `seconds`, `memory`, `output`), one JSON
object on stdout: `prompt`, or `refused` with the reason. A template is a stranger's program: beneath Jinja's sandbox
and our own limits, the system ends this process when it takes too much time, memory or output.
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
    said = request["request"]
    try:
        template = Template(request["template"], request["tokens"])
        messages, _ = conversation.conversation(said["messages"], template.content_format)
        prompt = template.render(
            messages, tools=conversation.tools(said.get("tools")), variables=conversation.variables(said),
            add_generation_prompt=said.get("add_generation_prompt", True))
        answer = {"prompt": prompt}
    except ContractError as error:
        answer = {"refused": error.message}
    except ValueError as error:
        answer = {"refused": str(error)}
    except (MemoryError, RecursionError):
        answer = {"refused": "the chat template takes more memory than a prompt can"}
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    os._exit(0)


def _limit(kind: int, most: int) -> None:
    with suppress(ValueError, OSError):  # macOS has no limit of addresses
        resource.setrlimit(kind, (most, most))


main()
