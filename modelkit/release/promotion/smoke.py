"""One real answer through a candidate, as a client would get it: what a readiness probe does not show."""

from __future__ import annotations

import asyncio
from typing import Any

from modelkit.planning.plan import Plan
from modelkit.release.client import Client, Target
from modelkit.release.record import Gate, now

_SECONDS = 120.0
_TOKENS = 32
_QUESTION = "What is the capital of France?"
_POOLED: dict[str, tuple[str, dict[str, Any]]] = {
    "embed": ("embeddings", {"input": _QUESTION}),
    "rerank": ("rerank", {"query": _QUESTION, "documents": ["Paris is the capital of France.", "Bread is baked."]}),
}


def smoke(plan: Plan, socket: str, tokens: int = _TOKENS) -> Gate:
    """Ask the engine on this socket one question, for so many tokens at most. Never raises for its faults."""
    began = now()
    target = Target("http://engine/v1", plan.name, socket=socket)
    wrong, seen = asyncio.run(_asked(target, plan.task, tokens))
    return Gate(id="smoke", kind="smoke", verdict="fail" if wrong else "pass", threshold="one whole answer",
                observed={**({"why": wrong} if wrong else {}), **seen}, started=began, ended=now())


async def _asked(target: Target, task: str, tokens: int) -> tuple[str | None, dict[str, str]]:
    """What is wrong with the answer, and what was seen of it."""
    import httpx

    async with Client(target, read_timeout=_SECONDS) as client:
        if task in _POOLED:
            path, body = _POOLED[task]
            try:
                status, answer = await client.post(path, {"model": target.model, **body})
            except httpx.HTTPError as error:
                return str(error) or type(error).__name__, {}
            found = isinstance(answer, dict) and (answer.get("data") or answer.get("results"))
            return (None if status == 200 and found else f"the answer's status is {status}"), {"status": str(status)}
        answer = await client.chat({"messages": [{"role": "user", "content": _QUESTION}], "max_tokens": tokens})
    if answer.error:
        return answer.error, {}
    seen = {"finish_reason": str(answer.finish_reason), "tokens": str(answer.tokens)}
    empty = not (answer.text or answer.reasoning or answer.tool_calls)
    return ("the answer is empty" if empty else None), seen
