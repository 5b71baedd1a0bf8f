"""What distinguishes two prompts as texts: one question after the other, the most telling first."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, Literal

from modelkit.release.parity.conversations import Conversation
from modelkit.release.parity.rendering import SPECIAL

_MONTH = (r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:tember)?|Oct(?:ober)?"
          r"|Nov(?:ember)?|Dec(?:ember)?)")
_DAY = r"(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day,? +)?"
_DATE = re.compile(rf"{_DAY}(?:\d{{4}}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?|\d{{1,2}}[ -]{_MONTH}[ -]\d{{4}}"
                   rf"|{_MONTH} \d{{1,2}}, \d{{4}}|\d\d[/.]\d\d[/.]\d{{4}})")
_THINK = re.compile(r"</?think(?:ing)?>|/no_think|/think|<\|/?think\|>|<\|channel\|?>|\[/?THINK\]|Reasoning: \w+"
                    r"|reasoning[_ ]effort", re.IGNORECASE)
_ANSWER = ("assistant", "model", "[/INST]", "ai", "gpt", "chatbot", "bot")

Finding = tuple[str, str]  # kind and detail


def text_cause(said: Conversation, left: str, right: str) -> Finding:
    """The kind of cause that explains how two prompts of a conversation differ, and what was seen."""
    for question in _QUESTIONS:
        if (found := question(said, left, right)) is not None:
            return found
    return "template", ""


def _json(said: Conversation, left: str, right: str) -> Finding | None:
    if "tools" not in said.features:
        return None
    if _canonical(left) == _canonical(right):
        if _blankless(left) == _blankless(right):
            return "tool-json", "blanks within JSON"
        return "tool-json", "escapes" if "\\u" in left + right else "the order of keys, or quotes"
    return None


def _canonical(text: str) -> str:
    """The text with each JSON object or list in it spelled in one way."""
    parts, at = [], 0
    while (start := _opening(text, at)) is not None:
        parts.append(text[at:start])
        value, end = _value(text, start)
        parts.append(text[start] if end is None else json.dumps(value, sort_keys=True, separators=(",", ":")))
        at = start + 1 if end is None else end
    return re.sub(r"\s+", " ", "".join((*parts, text[at:])))


_OPENING = re.compile(r"[{\[]")


def _opening(text: str, at: int) -> int | None:
    found = _OPENING.search(text, at)
    return found.start() if found else None


def _value(text: str, start: int) -> tuple[Any, int | None]:
    try:
        return json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        pass
    depth = 0
    for at in range(start, min(len(text), start + 20_000)):  # what Python writes of a dictionary
        depth += (text[at] in "{[") - (text[at] in "}]")
        if depth == 0:
            try:
                return ast.literal_eval(text[start : at + 1]), at + 1
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                return None, None
    return None, None


def _date(said: Conversation, left: str, right: str) -> Finding | None:
    if _DATE.sub("⟨date⟩", left) == _DATE.sub("⟨date⟩", right):
        one, other = next((a, b) for a, b in zip(_DATE.findall(left), _DATE.findall(right), strict=True) if a != b)
        return "date", f"{one!r} and {other!r}"
    return None


def _form(said: Conversation, left: str, right: str) -> Finding | None:
    forms: tuple[Literal["NFC", "NFKC"], ...] = ("NFC", "NFKC")
    for form in forms:
        if unicodedata.normalize(form, left) == unicodedata.normalize(form, right):
            return "normalization", f"equal in Unicode's {form}"
    if left.casefold() == right.casefold():
        return "normalization", "upper and lower case"
    return None


def _special(said: Conversation, left: str, right: str) -> Finding | None:
    if SPECIAL.sub("⟨⟩", left) == SPECIAL.sub("⟨⟩", right):
        one, other = next((a, b) for a, b in zip(SPECIAL.findall(left), SPECIAL.findall(right), strict=True) if a != b)
        return "special-token", f"{one!r} and {other!r}"
    one, other = _between(left, right)
    pair = SPECIAL.findall(one), SPECIAL.findall(other)
    bare = SPECIAL.sub("", left), SPECIAL.sub("", right)
    if bare[0] == bare[1] and pair[0] != pair[1]:
        only = next(iter([*(set(pair[0]) - set(pair[1])), *(set(pair[1]) - set(pair[0])), *pair[0], *pair[1]]))
        return "special-token", f"{only!r} is missing on one side"
    return None


def _generation(said: Conversation, left: str, right: str) -> Finding | None:
    shorter, longer = sorted((left, right), key=len)
    tail = longer[len(shorter.rstrip()):] if longer.startswith(shorter.rstrip()) else ""
    if tail.strip() and len(tail) < 200 and any(word in tail.lower() for word in map(str.lower, _ANSWER)):
        thinks = _THINK.search(tail) is not None and not any(word in tail for word in _ANSWER)
        return ("thinking" if thinks else "generation-prompt"), repr(tail)
    return None


def _thinking(said: Conversation, left: str, right: str) -> Finding | None:
    one, other = _around(left, right)
    if (_THINK.findall(one) != _THINK.findall(other)) and (found := _THINK.search(one) or _THINK.search(other)):
        ends = left.startswith(right) or right.startswith(left)
        return ("reasoning" if "reasoning" in said.features and not ends else "thinking"), repr(found[0])
    return None


def _reasoning(said: Conversation, left: str, right: str) -> Finding | None:
    for message in said.messages:
        text = str(message.get("reasoning") or "").strip()
        if text and (text in left) != (text in right):
            return "reasoning", repr(text[:40])
    return None


def _parts(said: Conversation, left: str, right: str) -> Finding | None:
    if "parts" in said.features and _blankless(left) == _blankless(right):
        return "parts", "joined with and without a newline"
    return None


def _left_out(said: Conversation, left: str, right: str) -> Finding | None:
    names = [one["function"]["name"] for one in said.tools]
    calls = [call["function"]["name"] for one in said.messages for call in one.get("tool_calls") or ()]
    for name in (*names, *calls):
        if (one := left.count(name)) != (other := right.count(name)):
            return "tools", f"{name!r} stands {one} times in one prompt and {other} times in the other"
    for text, role in _contents(said):
        if (text in left) != (text in right):
            return ("tools" if role == "tool" else "left-out"), f"a message of role {role}: {text[:40]!r}"
    return None


def _trimmed(said: Conversation, left: str, right: str) -> Finding | None:
    if _blankless(left) != _blankless(right):
        return None
    for message in said.messages:
        text = message.get("content")
        if isinstance(text, str) and text != text.strip() and (text in left) != (text in right):
            return "trimmed", repr(text[:20])
    return "newline", "{!r} and {!r}".format(*(_shown(part) for part in _between(left, right)))


def _head(said: Conversation, left: str, right: str) -> Finding | None:
    """What differs stands before the client's first message, and all that follows is equal."""
    first = next((text for text, role in _contents(said) if role not in ("system", "developer")), None)
    if first is None:
        start, other = _between(left, right)
        ends = bool(left.removesuffix(start)) and _suffix(left, right) > 0
        return ("system-prompt", _pair(start, other)) if ends and "system" not in said.features else None
    if first not in left[len(left) - _suffix(left, right) :]:
        return None
    pair = _pair(*_between(left, right))
    return ("preamble" if "system" in said.features else "system-prompt"), pair


def _contents(said: Conversation) -> Iterator[tuple[str, str]]:
    """The texts of messages that can be looked for in a prompt, and their roles."""
    for message in said.messages:
        content = message.get("content")
        texts = [content] if isinstance(content, str) else [str(part.get("text", "")) for part in content or ()]
        for text in texts:
            if len(text.strip()) > 1:
                yield text.strip(), str(message["role"])


def _blankless(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _between(left: str, right: str) -> tuple[str, str]:
    """What is left of each when the beginnings and ends that they share are gone."""
    start, end = _prefix(left, right), _suffix(left, right)
    end = min(end, len(left) - start, len(right) - start)
    return left[start : len(left) - end], right[start : len(right) - end]


def _around(left: str, right: str) -> tuple[str, str]:
    """The same, with a few characters on both sides: a mark may be cut where the two part."""
    start, end = max(0, _prefix(left, right) - 12), max(0, _suffix(left, right) - 12)
    return left[start : len(left) - end], right[start : len(right) - end]


def _prefix(left: str, right: str) -> int:
    at = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        at += 1
    return at


def _suffix(left: str, right: str) -> int:
    return _prefix(left[::-1], right[::-1])


def _pair(one: str, other: str) -> str:
    return f"{_shown(one)!r} and {_shown(other)!r}"


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


_QUESTIONS: tuple[Callable[[Conversation, str, str], Finding | None], ...] = (
    _json, _date, _form, _special, _generation, _reasoning, _thinking, _parts, _trimmed, _left_out, _head)
