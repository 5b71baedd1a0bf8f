"""Chats: a filled request becomes a job for the engine, and the job's deltas become choices of an answer."""

from __future__ import annotations

import asyncio
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from modelkit.contract.errors import of_status, unsupported
from modelkit.contract.profile import Profile
from modelkit.llamacpp import conversation, grammar
from modelkit.llamacpp.answer_reader import Reader, Reading
from modelkit.llamacpp.forced import Forced, forced
from modelkit.llamacpp.jobs import Image, ImageSpan, Job, Sampling
from modelkit.llamacpp.parsers import (
    HARMONY_MARKS,
    ThinkForm,
    Tools,
    reasoning_parser,
    tool_parser,
)
from modelkit.llamacpp.sampling import expect_known
from modelkit.llamacpp.template import Template

Seen = tuple[tuple[int, ...], tuple[ImageSpan, ...]]

_HARMONY_FINAL = "<|channel|>final<|message|>"
"""What gpt-oss writes in front of content. A prompt that ends with it has an answer that a grammar can shape."""


@dataclass(frozen=True)
class Prepared:
    """A conversation that the engine can go on with. `text` is its prompt."""

    job: Job
    text: str
    reading: Reading

    def reader(self, index: int) -> Reader:
        """Who reads the job's choice number `index`."""
        return Reader(self.reading, self.job.logprobs)


class Chat:
    """How one model chats: its template, and how it writes calls and reasoning.

    `see` makes tokens of texts with images between them; without it there are none. Raises ValueError, one sentence,
    for a parser that this engine has not.
    """

    def __init__(self, template: Template | None, vocabulary: grammar.Vocabulary, profile: Profile, *,
                 see: Callable[[Sequence[str | Image]], Seen] | None = None) -> None:
        self._template, self._vocabulary, self._profile, self._see = template, vocabulary, profile, see
        self._tool_parser = tool_parser(profile.tool_parser) if profile.tool_parser else None
        self._thinks = reasoning_parser(profile.reasoning_parser) if profile.reasoning_parser else None
        self._harmony = self._thinks == "harmony" or profile.tool_parser == "openai"
        self._control = {vocabulary.pieces[one].decode("utf-8", "replace"): one for one in vocabulary.control}
        self._ids = self._marks()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="chat")

    async def prepare(self, request: Mapping[str, Any]) -> Prepared:
        """A job of a filled request. The event loop goes on meanwhile. Raises ContractError."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.prepared, request)

    async def prompt(self, request: Mapping[str, Any]) -> tuple[str, list[int]]:
        """A conversation's prompt, as text and as tokens."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._prompt_of, request)

    def prepared(self, request: Mapping[str, Any]) -> Prepared:
        """`prepare`, here and now."""
        force = forced(request)
        shape = self._shape(request, force)
        forces_final = self._harmony and shape is not None
        harmony = self._harmony and not forces_final
        text, prompt, images = self._rendered(request, _HARMONY_FINAL if forces_final else "")
        variables = conversation.variables(request)
        form = self._thinks if isinstance(self._thinks, ThinkForm) and self._thinks.on(variables) else None
        within, ends = self._within(form, prompt, text) if form else (False, ())
        reading = self._reading(request, force, form, within, harmony)
        sampling = _sampling(request)
        expect_known(sampling, self._vocabulary)
        model = request.get("model")
        job = Job(
            prompt=prompt, sampling=sampling, max_tokens=request.get("max_tokens"),
            stop=tuple(request.get("stop") or ()), grammar=shape,
            grammar_after=ends if within and shape is not None else (),
            logprobs=(request.get("top_logprobs") or 0) if request.get("logprobs") else None,
            adapter=model if model in self._profile.adapters else None, choices=request.get("n") or 1,
            show_special=reading.shows_special, images=images)
        return Prepared(job, text, reading)

    def _prompt_of(self, request: Mapping[str, Any]) -> tuple[str, list[int]]:
        text, prompt, _ = self._rendered(request)
        return text, list(prompt)

    def _rendered(self, request: Mapping[str, Any], end: str = "") -> tuple[str, tuple[int, ...],
                                                                           tuple[ImageSpan, ...]]:
        """The prompt as text, its tokens, and which of them are images. Nothing is added to what the template writes:
        it has its own BOS, where the model wants one."""
        if self._template is None:
            raise of_status(400, "this model has no chat template: give it one with `TEMPLATE`, or use /v1/completions")
        messages, images = conversation.conversation(request["messages"], self._template.content_format)
        if images.parts and self._see is None:
            raise unsupported("messages", "this model reads text only, not images")
        text = self._template.render(
            messages, tools=conversation.tools(request.get("tools")), variables=conversation.variables(request),
            add_generation_prompt=request.get("add_generation_prompt", True)) + end
        if not images.parts or self._see is None:
            return text, tuple(self._vocabulary.tokenize(text, add_special=False)), ()
        pieces = images.split(text)
        prompt, spans = self._see([_image(images.parts[one]) if isinstance(one, int) else one for one in pieces])
        return "".join(conversation.IMAGE_MARKER if isinstance(one, int) else one for one in pieces), prompt, spans

    def _shape(self, request: Mapping[str, Any], force: Forced | None) -> str | None:
        """The grammar of a request, if something shapes its answer."""
        if force is not None:
            return grammar.compiled("json_schema", force.schema, "tools", self._vocabulary)
        wanted = request.get("response_format") or {}
        if wanted.get("type") == "json_schema":
            return grammar.compiled("json_schema", wanted["json_schema"]["schema"], "response_format", self._vocabulary)
        if wanted.get("type") == "json_object":
            return grammar.compiled("json_object", None, "response_format", self._vocabulary)
        for name, value in (request.get("structured_outputs") or {}).items():
            kind = _KINDS.get(name)
            if kind is not None and value is not None:
                return grammar.compiled(kind, value, f"structured_outputs.{name}", self._vocabulary)
        return None

    def _reading(self, request: Mapping[str, Any], force: Forced | None, form: ThinkForm | None, within: bool,
                 harmony: bool) -> Reading:
        offered, choice = request.get("tools") or (), request.get("tool_choice")
        functions: Tools = {one["function"]["name"]: one["function"].get("parameters") or {} for one in offered}
        calls = bool(offered) and choice in (None, "auto")
        parser = self._tool_parser if force is None and (calls or (self._tool_parser and self._tool_parser.always)) \
            else None
        granite = self._thinks == "granite"
        marks = {*(parser.marks if parser else ()), *(form.marks if form else ()), *(HARMONY_MARKS if harmony else ())}
        shows = any(mark in self._control for mark in marks)
        return Reading(
            tools=functions, force=force, parser=None if harmony else parser, form=form, within=within, granite=granite,
            harmony=harmony, reasons=self._thinks is not None, calls=calls and self._tool_parser is not None,
            parallel=request.get("parallel_tool_calls") is not False, shows_special=shows,
            drops=tuple(text for text in self._control if text not in marks) if shows else (),
            ends=frozenset(self._ids[mark] for mark in (form.end, *form.passes) if mark in self._ids) if form
            else frozenset(), start=self._ids.get(form.start) if form else None)

    def _marks(self) -> dict[str, int]:
        """The ids of the marks of reasoning that are tokens."""
        if not isinstance(self._thinks, ThinkForm):
            return {}
        wanted = {mark.encode(): mark for mark in (self._thinks.start, self._thinks.end, *self._thinks.passes)}
        return {wanted[piece]: one for one, piece in enumerate(self._vocabulary.pieces) if piece in wanted}

    def _within(self, form: ThinkForm, prompt: Sequence[int], text: str) -> tuple[bool, tuple[int, ...]]:
        """Whether the answer begins within the reasoning, and the tokens that end that.

        The last mark behind the last turn decides: templates begin or skip the reasoning for the model.
        """
        ends = tuple(self._ids[mark] for mark in (form.end, *form.passes) if mark in self._ids)
        start = self._ids.get(form.start)
        if not ends:  # no tokens: the prompt's end says it
            return form.begins and not text.rstrip().endswith(form.end), ()
        for one in reversed(prompt):
            if one == start:
                return True, ends
            if one in ends:
                return False, ends
            if one in self._vocabulary.ends:
                break
        return form.begins, ends


def _image(part: Mapping[str, Any]) -> Image:
    """The image of a part in the contract's normal form, a `data:` URL."""
    data = binascii.a2b_base64(part["image_url"]["url"].partition(",")[2])
    return Image(data, hashlib.sha256(data).hexdigest())


_KINDS: Mapping[str, grammar.Kind] = {"json": "json_schema", "json_object": "json_object", "regex": "regex",
                                      "choice": "choice", "grammar": "grammar"}

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
             "ignore_eos")


def _sampling(request: Mapping[str, Any]) -> Sampling:
    """How tokens are drawn. A seed of -1 is a random one, as on vLLM."""
    seed = request.get("seed")
    said = {name: request[name] for name in _SAMPLING if request.get(name) is not None}
    bias = {int(token): float(value) for token, value in (request.get("logit_bias") or {}).items()}
    return Sampling(**said, seed=None if seed == -1 else seed, logit_bias=bias)
