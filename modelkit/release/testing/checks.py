"""What each kind of check finds of an answer.

An outcome is `pass` or `fail`, `error` where the check itself broke, `skipped` where nobody was named who could make
it (a judge, an embedding model, permission to run a program). `not` turns the first two around, never the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from modelkit.release.client import Answer, ToolCall
from modelkit.release.testing.case import Check
from modelkit.release.testing.matcher import Match, Matcher
from modelkit.release.verdict import Verdict


class Outcome(NamedTuple):
    """A check's verdict, and why in a sentence."""

    verdict: Verdict
    why: str = ""


class Examiner(Protocol):
    """Who can make a check that takes more than the answer: a judge, an embedding model, a program."""

    async def examine(self, operand: Any, seen: Seen) -> Outcome: ...


@dataclass(frozen=True)
class Seen:
    """What a check looks at: the conversation as it was sent, and the answer to it."""

    messages: Sequence[Mapping[str, Any]]
    answer: Answer
    stops: Sequence[str] = ()
    tools: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Examiners:
    """What checks are made with. `others` by kind: `judge`, `similar`, `exec`; a missing one is a skipped check."""

    matcher: Matcher
    others: Mapping[str, Examiner] = field(default_factory=dict)


_MISSING = {"judge": "no judge is named: --judge", "similar": "no embedding model is named: --embeddings",
            "exec": "programs are not run without --allow-exec"}


async def judge(check: Check, seen: Seen, examiners: Examiners) -> Outcome:
    """One check of one answer."""
    if check.kind in _MISSING:
        examiner = examiners.others.get(check.kind)
        if examiner is None:
            return Outcome("skipped", _MISSING[check.kind])
        found = await examiner.examine(check.operand, seen)
    elif check.kind in ("regex", "json"):
        found = await (_regex if check.kind == "regex" else _json)(check.operand, seen, examiners.matcher)
    else:
        found = _KINDS[check.kind](check.operand, seen)
    if not check.negated or found.verdict not in ("pass", "fail"):
        return found
    return Outcome("fail", _NEGATED.get(check.kind, "it does")) if found.verdict == "pass" else Outcome("pass")


def _said(holds: bool, why: str) -> Outcome:
    return Outcome("pass") if holds else Outcome("fail", why)


def shown(text: str, longest: int = 200) -> str:
    """A text on one line, cut where it is long."""
    return json.dumps(text if len(text) <= longest else text[:longest] + "…", ensure_ascii=False)


def _texts(holds: Callable[[str, str], bool], what: str) -> Callable[[Any, Seen], Outcome]:
    def check(operand: Any, seen: Seen) -> Outcome:
        answer, fold = seen.answer.text.strip(), bool(operand.get("ignore_case"))
        if not operand["texts"]:
            return Outcome("fail", f"nothing is recorded here yet (--update); the answer is {shown(answer)}")
        found = [holds(_cased(answer, fold), _cased(text, fold)) for text in operand["texts"]]
        good = any(found) if operand.get("match") == "any" else all(found)
        wanted = operand["texts"][found.index(False)] if not good else ""
        return _said(good, f"the answer {what} {shown(wanted)}: {shown(answer)}")

    return check


def _cased(text: str, fold: bool) -> str:
    return text.casefold() if fold else text


async def _regex(operand: Any, seen: Seen, matcher: Matcher) -> Outcome:
    return _of(await matcher.pattern(operand, seen.answer.text),
               f"the pattern is not found in the answer: {shown(seen.answer.text)}")


def _of(match: Match, why: str) -> Outcome:
    return Outcome("error", match.error) if match.error else _said(match.holds, why)


async def _json(operand: Any, seen: Seen, matcher: Matcher) -> Outcome:
    text = seen.answer.text.strip()
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        fenced = "; it is in a Markdown fence" if text.startswith("```") else ""
        return Outcome("fail", f"the answer is no JSON ({error}{fenced}): {shown(text)}")
    if operand is None:
        return Outcome("pass")
    match = await matcher.schema(operand, value)
    return _of(match, f"the answer does not satisfy the schema: {match.why}")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _tool_call(operand: Any, seen: Seen) -> Outcome:
    calls = seen.answer.tool_calls
    made = ", ".join(f"{call.name} {call.arguments}" for call in calls)[:300] or "none"
    if operand.get("order") is not None:
        return _said([call.name for call in calls] == list(operand["order"]), f"the calls are: {made}")
    if operand["name"] is None:
        return _said(not calls, f"the answer calls {made}")
    named = [call for call in calls if call.name == operand["name"]]
    if not named:
        return Outcome("fail", f"the answer does not call {operand['name']}; its calls: {made}")
    fitting = [call for call in named if _arguments_fit(operand, call)]
    if operand.get("count") is not None:
        return _said(len(fitting) == operand["count"],
                     f"the answer calls it {len(fitting)} times, not {operand['count']}: {made}")
    return _said(bool(fitting), f"the arguments are others: {made}")


def _arguments_fit(operand: Any, call: ToolCall) -> bool:
    try:
        value = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return False
    wanted = operand.get("arguments")
    if not isinstance(value, dict):
        return False
    return wanted is None or (same(wanted, value) if operand.get("exact") else _part(wanted, value))


def _part(wanted: Any, value: Any) -> bool:
    """Whether an object has at least these members, at every depth; lists must be the same."""
    if isinstance(wanted, dict) and isinstance(value, dict):
        return all(key in value and _part(one, value[key]) for key, one in wanted.items())
    return same(wanted, value)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: `1` is `1.0`, and neither is `true`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _finish_reason(operand: Any, seen: Seen) -> Outcome:
    return _said(seen.answer.finish_reason == operand, f"the answer ended by {seen.answer.finish_reason}")


def _max_tokens(operand: Any, seen: Seen) -> Outcome:
    if (count := seen.answer.tokens) is None:
        return Outcome("error", "the endpoint does not say how many tokens the answer has")
    return _said(count <= operand, f"the answer has {count} tokens")


_TEMPLATE_TOKENS = re.compile(
    r"<\|[A-Za-z0-9_\-]{1,40}\|>|<｜[^<>｜]{1,40}｜>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|<(?:bos|eos|pad|unk)>"
    r"|</?(?:think|thinking|tool_call|tool_response|tool_calls)>|\[(?:TOOL_CALLS|AVAILABLE_TOOLS|TOOL_RESULTS)\]")
"""What templates mark turns, thinking and tools with: ChatML, Llama 2 and 3, Mistral, Gemma, DeepSeek, Phi, Qwen."""


def _no_leak(operand: Any, seen: Seen) -> Outcome:
    text = seen.answer.text
    leaked = _TEMPLATE_TOKENS.search(text)
    found = leaked[0] if leaked else next((stop for stop in seen.stops if stop and stop in text), None)
    return _said(found is None, f"{found!r} is left in the answer: {shown(text)}")


def _latency(operand: Any, seen: Seen) -> Outcome:
    return _said(seen.answer.seconds <= operand, f"the answer took {seen.answer.seconds:.3f} s")


_KINDS: Mapping[str, Callable[[Any, Seen], Outcome]] = {
    "equals": _texts(lambda answer, text: answer == text.strip(), "is not"),
    "contains": _texts(lambda answer, text: text in answer, "does not contain"),
    "starts": _texts(lambda answer, text: answer.startswith(text), "does not start with"),
    "tool_call": _tool_call, "finish_reason": _finish_reason, "max_tokens": _max_tokens, "no_leak": _no_leak,
    "latency": _latency,
}

_NEGATED = {
    "equals": "the answer is exactly this", "contains": "the answer contains it", "starts": "the answer starts so",
    "regex": "the pattern is found in the answer", "json": "the answer is such JSON", "tool_call": "the tool is called",
    "finish_reason": "the answer ended so", "max_tokens": "the answer has no more tokens", "latency": "it was faster",
    "no_leak": "nothing is left in the answer", "similar": "the answer means nearly this",
    "judge": "the judge finds that it does", "exec": "the program agrees",
}

KINDS = frozenset((*_KINDS, *_MISSING, "regex", "json"))
