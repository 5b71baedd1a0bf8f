"""One choice of a chat as it comes: its text becomes content, reasoning and tool calls, in the deltas that vLLM sends.

Whole and streamed answers are the same reading: `message` is what `feed` has said, put together.
"""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from modelkit.llamacpp.forced import Forced
from modelkit.llamacpp.jobs import Delta, Token
from modelkit.llamacpp.logprobs import ChatLogprobs
from modelkit.llamacpp.parsers import (
    Arguments,
    Call,
    Content,
    Event,
    Form,
    GraniteThinking,
    Harmony,
    JsonCalls,
    Machine,
    Reasoning,
    ThinkForm,
    Thinking,
    ToolParser,
    Tools,
    merged,
)

_SPACE = " \t\r\n"


@dataclass(frozen=True)
class Reading:
    """How one request's answers are read.

    `calls`: they may call tools; else a parser only takes calls out. `within`: they begin within the reasoning.
    `drops` are control tokens that the text shows and that mean nothing here. `ends` are the tokens that end reasoning,
    `start` is the one that begins it.
    """

    tools: Tools
    force: Forced | None = None
    parser: ToolParser | None = None
    form: ThinkForm | None = None
    within: bool = False
    granite: bool = False
    harmony: bool = False
    reasons: bool = False
    calls: bool = False
    parallel: bool = True
    shows_special: bool = False
    drops: tuple[str, ...] = ()
    ends: frozenset[int] = frozenset()
    start: int | None = None

    def machines(self) -> list[Machine]:
        """The machines that a text goes through one after the other: each reads the content of the one before."""
        found: list[Machine] = [_Dropped(self.drops)] if self.drops else []
        if self.harmony:
            return [*found, Harmony(self.tools, reasons=self.reasons, calls=self.calls)]
        if self.form is not None:
            found.append(Thinking(self.form, within=self.within))
        elif self.granite:
            found.append(GraniteThinking())
        if self.force is not None:
            found.append(_Named(self.force.name) if self.force.name is not None
                         else JsonCalls(Form((), list=True, object=False), self.tools))
        elif self.parser is not None:
            found.append(self.parser.make(self.tools))
        return found


class Reader:
    """Reads one choice. `logprobs` is what was asked for: how many alternatives, or None."""

    def __init__(self, reading: Reading, logprobs: int | None) -> None:
        self._reading = reading
        self._machines = reading.machines()
        self._logprobs = ChatLogprobs(logprobs) if logprobs is not None else None
        self._entries: list[Any] = []
        self._held = ""  # spaces in front of what may become a call
        self._texts = {"content": "", "reasoning": ""}
        self._calls: list[dict[str, Any]] = []
        self._count = 0  # of calls, shown or not
        self._finish: str | None = None
        self._stop_reason: str | int | None = None
        self.reasoning_tokens = 0
        self._thinking = reading.within

    def feed(self, delta: Delta) -> list[dict[str, Any]]:
        """The choices of chunks that this delta makes, without their index."""
        self._count_reasoning(delta.tokens)
        last = delta.finish is not None
        deltas = self._deltas(self._kept(self._read(delta.text, last), last))
        if not self._machines and (delta.text or last):
            deltas = deltas or [{"content": ""}]
        logprobs = self._logprobs.feed(delta.tokens) if self._logprobs is not None and delta.tokens else None
        if logprobs is not None:
            self._entries += logprobs["content"]
        if not deltas and (logprobs is not None or last):
            deltas = [{}]
        choices: list[dict[str, Any]] = [{"delta": one, "logprobs": None, "finish_reason": None} for one in deltas]
        if choices:
            choices[0]["logprobs"] = logprobs
        if last:
            self._finish, self._stop_reason = self._reason(delta), _stop_reason(delta)
            choices[-1] |= {"finish_reason": self._finish, "stop_reason": self._stop_reason}
        return choices

    def message(self) -> dict[str, Any]:
        """The whole choice, once its last delta was fed."""
        content: str | None = self._texts["content"]
        if self._reading.force is None and not content and (self._calls or self._reading.reasons):
            content = None
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if self._texts["reasoning"]:
            message |= dict.fromkeys(_SPELLED["reasoning"], self._texts["reasoning"])
        if self._calls:
            message["tool_calls"] = self._calls
        return {"message": message,
                "logprobs": {"content": self._entries} if self._logprobs is not None else None,
                "finish_reason": self._finish, "stop_reason": self._stop_reason}

    def _read(self, text: str, last: bool) -> list[Event]:
        """What the machines make of a text."""
        events: list[Event] = [Content(text)]
        for machine in self._machines:
            through: list[Event] = []
            for event in events:
                through += machine.feed(event.text) if isinstance(event, Content) else [event]
            events = through + (machine.finish() if last else [])
        return merged(events)

    def _kept(self, events: Iterable[Event], last: bool) -> list[Event]:
        """Without what this answer must not have: spaces alone in front of a call, or calls that nobody wants."""
        kept: list[Event] = []
        reading = self._reading
        for event in events:
            if isinstance(event, Content):
                if reading.force is not None:
                    continue
                text = self._held + event.text
                self._held = ""
                if reading.calls and not self._texts["content"] and not text.strip(_SPACE) and not _has_content(kept):
                    self._held = text
                else:
                    kept.append(Content(text))
            elif isinstance(event, Reasoning) or reading.calls or reading.force is not None:
                if isinstance(event, Call):
                    self._held = ""
                kept.append(event)
        if last and self._held and not self._count:
            kept.append(Content(self._held))
            self._held = ""
        return merged(kept)

    def _deltas(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        """Deltas in the order of what was said: reasoning, content and calls share one as long as that keeps it."""
        deltas: list[dict[str, Any]] = []
        before = len(_RANKS)
        for event in events:
            name, value = self._said(event)
            if value is None:
                continue
            rank = _RANKS.index(name)
            if rank < before:
                deltas.append({})
            before = rank
            if name == "tool_calls":
                _add_call(deltas[-1].setdefault(name, []), value)
            else:
                deltas[-1] |= dict.fromkeys(_SPELLED[name], value)
        return deltas

    def _said(self, event: Event) -> tuple[str, Any]:
        """An event as the part of a delta that it becomes; None for a call too many."""
        if isinstance(event, (Content, Reasoning)):
            name = "content" if isinstance(event, Content) else "reasoning"
            self._texts[name] += event.text
            return name, event.text
        if isinstance(event, Call):
            self._count += 1
        if self._count > 1 and not self._reading.parallel:
            return "tool_calls", None
        index = self._count - 1
        if isinstance(event, Arguments):
            self._calls[index]["function"]["arguments"] += event.text
            return "tool_calls", {"index": index, "function": {"arguments": event.text}}
        one, function = event.id or self._new_id(), {"name": event.name, "arguments": ""}
        self._calls.append({"id": one, "type": "function", "function": function})
        return "tool_calls", {"index": index, "id": one, "type": "function", "function": dict(function)}

    def _new_id(self) -> str:
        if self._reading.parser is not None and self._reading.parser.short_ids:
            return "".join(random.choices(string.ascii_letters + string.digits, k=9))
        return f"chatcmpl-tool-{uuid.uuid4().hex[:16]}"

    def _reason(self, delta: Delta) -> str | None:
        """A call that was named just stops, as with OpenAI; one that is cut off has its length."""
        named = self._reading.force is not None and self._reading.force.name is not None
        return "tool_calls" if self._count and not named and delta.finish == "stop" else delta.finish

    def _count_reasoning(self, tokens: Iterable[Token]) -> None:
        for token in tokens:
            if self._thinking and token.id in self._reading.ends:
                self._thinking = False
            self.reasoning_tokens += self._thinking and token.id != self._reading.start


_RANKS = ("reasoning", "content", "tool_calls")
_SPELLED = {"content": ("content",), "reasoning": ("reasoning", "reasoning_content")}


def _has_content(events: Iterable[Event]) -> bool:
    return any(isinstance(event, Content) for event in events)


def _add_call(calls: list[dict[str, Any]], new: dict[str, Any]) -> None:
    """Pieces of one call in one delta are one."""
    if calls and calls[-1]["index"] == new["index"] and "id" not in new:
        calls[-1]["function"]["arguments"] += new["function"]["arguments"]
    else:
        calls.append(new)


def _stop_reason(delta: Delta) -> str | int | None:
    """The stop string that ended an answer. The model's own end is none, as on vLLM."""
    return delta.stopped_by if isinstance(delta.stopped_by, str) else None


class _Named(Machine):
    """A forced call of one tool: the whole text is its arguments."""

    def __init__(self, name: str) -> None:
        super().__init__(self._beginning)
        self._name = name

    def _beginning(self) -> bool:
        if not self.skip():
            return False
        self.say(Call(self._name))
        return self.go(self._arguments)

    def _arguments(self) -> bool:
        self.say(Arguments(self.take(len(self.text))))
        return False


class _Dropped(Machine):
    """Leaves control tokens out of a text."""

    def __init__(self, marks: tuple[str, ...]) -> None:
        super().__init__(self._content)
        self._marks = marks
        self._first = {mark[0] for mark in marks}

    def _content(self) -> bool:
        if self._first.isdisjoint(self.text):
            self.say(Content(self.take(len(self.text))))
            return False
        before, mark = self.take_to(*self._marks)
        self.say(Content(before))
        return mark is not None
