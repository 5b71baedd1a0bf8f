"""A program as a check: the answer as JSON on its standard input; exit status 0 is a pass, 1 a fail, others are errors.

It runs with the rights of whoever runs the tests: only where that was allowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import dataclass
from typing import Any

from modelkit.release.testing.checks import Outcome, Seen

_LONGEST = 2000  # characters of what it prints


@dataclass(frozen=True)
class Programs:
    """Runs programs, each for at most `timeout` seconds. Variables of the environment in `withheld` are kept back."""

    timeout: float = 30.0
    withheld: frozenset[str] = frozenset()

    async def examine(self, operand: Any, seen: Seen) -> Outcome:
        environment = {name: value for name, value in os.environ.items() if name not in self.withheld}
        try:
            process = await asyncio.create_subprocess_exec(
                *operand["argv"], cwd=operand["folder"], env=environment, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True)
        except (OSError, ValueError) as error:
            return Outcome("error", f"{operand['argv'][0]} cannot be run: {error}")
        try:
            async with asyncio.timeout(self.timeout):
                printed, _ = await process.communicate(json.dumps(_shown(seen)).encode())
        except TimeoutError:
            return Outcome("error", f"{operand['argv'][0]} took longer than {self.timeout:g} s")
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # and what it started
            await process.wait()
        said = printed.decode(errors="replace").strip()[-_LONGEST:]
        if process.returncode == 0:
            return Outcome("pass")
        if process.returncode == 1:
            return Outcome("fail", said or f"{operand['argv'][0]} says no")
        return Outcome("error", f"{operand['argv'][0]} ended with status {process.returncode}: {said}".rstrip(": "))


def _shown(seen: Seen) -> dict[str, Any]:
    answer = seen.answer
    return {"schema": "modelkit.answer/1", "messages": [dict(one) for one in seen.messages], "text": answer.text,
            "reasoning": answer.reasoning, "finish_reason": answer.finish_reason, "usage": answer.usage,
            "tool_calls": [{"name": call.name, "arguments": call.arguments} for call in answer.tool_calls],
            "seconds": answer.seconds}
