"""Conversations rendered at arm's length: in a process of its own, with an end to its time, memory and output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelkit.failure import Failure

_CHILD = Path(__file__).parent / "children" / "render_child.py"


@dataclass(frozen=True)
class Limits:
    """What one rendering may take: processor time, waiting, memory and output in bytes."""

    cpu_seconds: int = 5
    wall_seconds: float = 30.0
    memory: int = 1 << 30
    output: int = 128 << 20


def render(template: str, request: Mapping[str, Any], tokens: Mapping[str, str], limits: Limits | None = None) -> str:
    """The prompt of a request in the contract's normal form, as our own engine and vLLM render it.

    `tokens` are the texts of special tokens (`bos_token`, …). Raises Failure where the template refuses the
    conversation, is none, or goes beyond the limits.
    """
    (said,) = render_all(template, [request], tokens, limits)
    if isinstance(said, Refused):
        raise Failure("template-refuses", f"the chat template does not render this conversation: {said.reason}")
    return said


@dataclass(frozen=True)
class Refused:
    """A conversation that a template does not render, and why."""

    reason: str


def render_all(template: str, requests: Sequence[Mapping[str, Any]], tokens: Mapping[str, str],
               limits: Limits | None = None) -> list[str | Refused]:
    """The prompts of several requests, in one process; the limits hold for all of them together.

    Raises Failure where the template goes beyond the limits.
    """
    most = limits or Limits()
    asked = {"template": template, "requests": [dict(one) for one in requests], "tokens": dict(tokens),
             "seconds": most.cpu_seconds, "memory": most.memory, "output": most.output}
    return [Refused(one["refused"]) if "refused" in one else one["prompt"]
            for one in _answer(json.dumps(asked).encode(), most, len(requests))]


def _answer(asked: bytes, limits: Limits, count: int) -> list[dict[str, str]]:
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as given:
        given.write(asked)
        given.seek(0)
        child = subprocess.Popen([sys.executable, "-I", str(_CHILD)], stdin=given, stdout=said,
                                 stderr=subprocess.DEVNULL, env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                                 start_new_session=True)
        try:
            status = child.wait(limits.wall_seconds)
        except subprocess.TimeoutExpired:
            raise _beyond("time") from None
        finally:
            child.kill()
            child.wait()
        said.seek(0)
        text = said.read(limits.output + 1)
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if status or not isinstance(answer, list) or len(answer) != count:
        raise _beyond("time or memory")
    return answer


def _beyond(what: str) -> Failure:
    return Failure("template-beyond-limits", f"the chat template took too much {what}, and was stopped",
                   "a template writes one prompt: look for a loop that does not end")
