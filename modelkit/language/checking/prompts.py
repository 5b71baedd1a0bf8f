"""What the model reads: TEMPLATE, SYSTEM, MESSAGE and stop strings, taken together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from modelkit.language.checking.context import shown
from modelkit.language.checking.parts import place
from modelkit.language.checking.views import Checked, View
from modelkit.language.diagnostic import Note
from modelkit.language.document import Block, Instruction
from modelkit.language.layers import Layered
from modelkit.language.lexer import OUR_WORDS
from modelkit.language.modelfile import Message
from modelkit.language.rules.ollama import (
    JINJA_TEMPLATE,
    QUOTE_SWALLOWS_INSTRUCTION,
    REMOVED_TEMPLATE_VARIABLE,
    STOP_NEVER_REACHED,
    SYSTEM_NOT_IN_TEMPLATE,
    TEMPLATE_IGNORED,
    TEMPLATE_WITHOUT_PROMPT,
    VARIABLE_IN_TEXT,
)
from modelkit.language.rules.production import (
    SECOND_SYSTEM_MESSAGE,
    TEMPLATE_READS_CLOCK,
    TEMPLATE_TOKEN_IN_TEXT,
    TOOLS_NOT_IN_TEMPLATE,
    TURNS_OUT_OF_ORDER,
)
from modelkit.language.source import Span
from modelkit.templates import is_jinja

STUB = re.compile(r"\s*\{\{-?\s*\.Prompt\s*-?\}\}\s*")
"""What Ollama itself writes as the TEMPLATE of a model that a renderer writes prompts for."""

_ACTION = re.compile(r"\{\{(?!-?\s*/\*)(.*?)\}\}", re.DOTALL)
_PROMPT = re.compile(r"\.(Prompt|Messages|Suffix)\b")
_REMOVED = re.compile(r"(?<![\w.$)])\.(First|Context)\b(?![\w.])")
_CLOCK = re.compile(r"\b(?:currentDate|yesterdayDate|strftime_now)\b")
_TOKEN = re.compile(r"<\|(?:im_start|im_end|eot_id|start_header_id|end_header_id|begin_of_text|end_of_text|endoftext"
                    r"|eom_id|system|user|assistant|end)\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
                    r"|<｜(?:User|Assistant)｜>")
_VARIABLE = re.compile(r"\{\{-?\s*(?:\.(?:System|Prompt|Messages|Response|Tools)\b|currentDate\b)[^{}]*\}\}")
_TEXTS = ("SYSTEM", "MESSAGE")


def judge_prompts(checked: Checked) -> None:
    """Reports what the model would not read, or read otherwise than it looks."""
    _texts(checked)
    for view in checked.views:
        if view.task == "chat":
            _template(view, checked)
            _turns(view.said.messages, view, checked)
        _stops(view.said.stop, checked)


def _texts(checked: Checked) -> None:
    swallowing = {one.span.start for one in checked.report.found if one.rule is QUOTE_SWALLOWS_INSTRUCTION}
    plain = not any(word in OUR_WORDS for word in _keywords(checked))
    for instruction in checked.document.all_instructions():
        keyword, value = instruction.keyword.text.upper(), instruction.value
        if keyword in _TEXTS:
            if token := _TOKEN.search(value.text):
                checked.say(TEMPLATE_TOKEN_IN_TEXT, f"`{token[0]}` is a token of a chat template",
                            place(value, *token.span()), hint="remove it: the template writes it around this text")
            if value.span.start not in swallowing and (variable := _VARIABLE.search(value.text)):
                checked.say(VARIABLE_IN_TEXT, f"`{shown(variable[0])}` is not replaced in a `{keyword}`",
                            place(value, *variable.span()), hint="only a TEMPLATE has variables")
        elif keyword == "TEMPLATE":
            if plain and is_jinja(value.text):
                checked.say(JINJA_TEMPLATE, "Ollama does not render Jinja: it sends this text as it stands, or "
                            "refuses it", instruction.keyword.span)
            if clock := _CLOCK.search(value.text):
                checked.say(TEMPLATE_READS_CLOCK, f"`{clock[0]}` makes this prompt another one every day",
                            place(value, *clock.span()))


def _keywords(checked: Checked) -> Iterator[str]:
    for item in checked.document.items:
        if isinstance(item, Instruction | Block):
            yield item.keyword.text.upper()


def _template(view: View, checked: Checked) -> None:
    said, template = view.said, view.said.template
    if template is None:
        return
    text = template.value
    if said.renderer is not None and not is_jinja(text) and not STUB.fullmatch(text):
        notes = [Note("this one writes the prompt", said.renderer.span)]
        checked.say(TEMPLATE_IGNORED, f"Ollama's renderer `{shown(said.renderer.value)}` ignores this TEMPLATE",
                    template.span, notes=notes)
    if said.renderer is not None:
        return
    if is_jinja(text):
        if "messages" not in text:
            checked.say(TEMPLATE_WITHOUT_PROMPT, "this TEMPLATE never prints `messages`, so no question reaches the "
                        "model", template.span)
        _tools(text, "tools", template, checked)
        return
    actions = [(found.start(1), found[1]) for found in _ACTION.finditer(text, 0, text.rfind("}}") + 2)]
    for start, action in actions:
        if removed := _REMOVED.search(action):
            at = _within(template, checked, start + removed.start(), start + removed.end())
            checked.say(REMOVED_TEMPLATE_VARIABLE, f"Ollama no longer sets `{removed[0]}`, so it is always false", at,
                        hint="remove it, and the `if` around it")
    whole = " ".join(action for _, action in actions)
    if not _PROMPT.search(whole):
        checked.say(TEMPLATE_WITHOUT_PROMPT, "this TEMPLATE prints neither `.Prompt` nor `.Messages`, so no question "
                    "reaches the model", template.span)
    elif said.system is not None and said.system.value and not re.search(r"\.(System|Messages)\b", whole):
        notes = [Note("this text is lost", said.system.span)]
        checked.say(SYSTEM_NOT_IN_TEMPLATE, "this TEMPLATE never prints `.System`", template.span, notes=notes)
    _tools(whole, ".Tools", template, checked)


def _tools(text: str, word: str, template: Layered[str], checked: Checked) -> None:
    for test in checked.modelfile.tests:
        if test.tools is not None and word not in text:
            checked.say(TOOLS_NOT_IN_TEMPLATE, f"this TEMPLATE never prints `{word}`, so the model does not know them",
                        template.span, notes=[Note("a test offers tools", test.tools.span)])
            return


def _within(said: Layered[str], checked: Checked, start: int, end: int) -> Span:
    """The place of a part of a value that is known by its span alone."""
    instruction = checked.instruction(said.span)
    if instruction is None or instruction.value.text != said.value:  # it is the text of a file
        return said.span
    return place(instruction.value, start, end)


def _turns(messages: Sequence[Layered[Message]], view: View, checked: Checked) -> None:
    before: Layered[Message] | None = None
    for index, said in enumerate(messages):
        role = said.value.role
        if role == "system":
            first = view.said.system if view.said.system and view.said.system.value else before
            if first is not None or index:
                notes = [Note("something stands before it", first.span)] if first is not None else []
                checked.say(SECOND_SYSTEM_MESSAGE, "this system message is not the first message", said.span,
                            notes=notes, hint="put its text into SYSTEM")
            continue
        if before is None and role == "assistant":
            checked.say(TURNS_OUT_OF_ORDER, "the first turn is the assistant's: nobody has asked yet", said.span)
            return
        if before is not None and before.value.role == role:
            notes = [Note("the turn before it", before.span)]
            checked.say(TURNS_OUT_OF_ORDER, f"two turns of the {role} follow each other", said.span, notes=notes)
            return
        before = said
    if before is not None and before.value.role == "user":
        checked.say(TURNS_OUT_OF_ORDER, "the last turn is the user's, and the client's question follows it",
                    before.span, hint="add the answer: `MESSAGE assistant …`")


def _stops(stops: Sequence[Layered[str]], checked: Checked) -> None:
    if len(stops) > 100:
        return  # nobody's list, and comparing each with each takes its time
    once = {said.value: said for said in reversed(stops)}  # a second one of the same text has a rule of its own
    for said in once.values():
        for other in once.values():
            if other is not said and said.value.startswith(other.value):
                notes = [Note("this one ends the answer first", other.span)]
                checked.say(STOP_NEVER_REACHED, f"`{shown(said.value)}` is never reached: it begins with another stop "
                            "string", said.span, notes=notes)
