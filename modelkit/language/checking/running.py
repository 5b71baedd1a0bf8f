"""How a stage computes: sampling, context, precision, adapters, drafts, and what the task makes of it all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from modelkit.language.checking.context import shown
from modelkit.language.checking.layer import meant
from modelkit.language.checking.references import is_path
from modelkit.language.checking.views import Checked, View
from modelkit.language.diagnostic import Note, did_you_mean
from modelkit.language.document import Instruction
from modelkit.language.layers import Layered
from modelkit.language.quantization import AUTO, PRECISIONS, named_in
from modelkit.language.renderers import PARSERS, RELEASE, RENDERERS
from modelkit.language.rules.ollama import FILE_BESIDE_NAME, NUM_GPU_COUNTS_LAYERS, UNKNOWN_RENDERER
from modelkit.language.rules.production import (
    ADAPTER_NAME_TWICE,
    AUTO_NEEDS_HARDWARE,
    DRAFT_IS_BASE,
    FLOOR_ABOVE_BASE,
    GPU_MEMORY_FULL,
    NO_ROOM_FOR_PROMPT,
    NOT_FOR_THIS_TASK,
    PENALTY_REWARDS,
    UPWARD_QUANTIZATION,
)
from modelkit.language.source import Span

FEW_LAYERS = 4
"""No language model has as few layers, and few machines have more GPUs."""

GENERATES = ("num_predict", "temperature", "top_p", "top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n",
             "presence_penalty", "frequency_penalty", "seed")
"""Parameters that mean something only where an answer is generated."""

_OF_CHAT = ("tool_parser", "reasoning_parser", "thinking", "speculative")
_OF_VECTORS = ("pooling", "matryoshka")
_FULL = 0.99
_UNROUNDED = ("F32", "F16", "BF16")
_HERE = ("compose", "quadlet")  # containers of this machine


def judge_running(checked: Checked) -> None:
    """Reports settings that contradict each other, or that cannot do what they look like."""
    for view in checked.views:
        _parameters(view, checked)
        _weights(view, checked)
        _auto(view, checked)
        _adapters(view, checked)
        _renderer("RENDERER", view.said.renderer, RENDERERS, checked)
        _renderer("PARSER", view.said.parser, PARSERS, checked)
    _tasks(checked)
    for items in (checked.document.items, *(block.body for block in checked.document.blocks("STAGE"))):
        _bases([item for item in items if isinstance(item, Instruction)], checked)


def _parameters(view: View, checked: Checked) -> None:
    said = view.said.parameters
    layers, penalty = said.get("num_gpu"), said.get("repeat_penalty")
    if layers is not None and 0 < int(layers.value) <= FEW_LAYERS:
        count = "one of the model's layers" if layers.value == 1 else f"{layers.value} of the model's layers"
        checked.say(NUM_GPU_COUNTS_LAYERS, f"`num_gpu {layers.value}` puts {count} on the GPU, and no more",
                    layers.span, hint="remove the line: as many as fit go there")
    if penalty is not None and float(penalty.value) < 1:
        checked.say(PENALTY_REWARDS, f"`repeat_penalty {penalty.value}` makes repetition likelier", penalty.span,
                    hint="1.0 turns it off")
    answer, context = said.get("num_predict"), said.get("num_ctx")
    if answer is not None and context is not None and int(answer.value) >= int(context.value):
        notes = [Note("prompt and answer share this", context.span)]
        checked.say(NO_ROOM_FOR_PROMPT, f"an answer of {answer.value} tokens leaves no room for a prompt in "
                    f"{context.value}", answer.span, notes=notes)
    memory = view.said.serve.get("gpu_memory")
    if memory is not None and float(memory.value) >= _FULL:
        checked.say(GPU_MEMORY_FULL, "no GPU has all of its memory free", memory.span, hint="write 0.95 or less")


def _weights(view: View, checked: Checked) -> None:
    base, quantize, draft = view.said.base, view.said.quantize, view.said.draft
    if base is not None and draft is not None and draft.value == base.value:
        checked.say(DRAFT_IS_BASE, "this is the base itself, which cannot draft for itself", draft.span,
                    notes=[Note("the base", base.span)])
    wanted = PRECISIONS.get(quantize.value.name) if quantize is not None else None
    if base is None or quantize is None or wanted is None or wanted.form != "gguf" or wanted.name in _UNROUNDED:
        return
    has = PRECISIONS.get(named_in(base.value) or "")
    if has is not None and has.form == "gguf" and has.bits + 0.5 < wanted.bits:
        checked.say(UPWARD_QUANTIZATION, f"the base is {has.name} already: {wanted.name} makes it larger, not better",
                    quantize.span, notes=[Note(f"this is {has.name}", base.span)])


def _auto(view: View, checked: Checked) -> None:
    base, quantize = view.said.base, view.said.quantize
    if quantize is None or quantize.value.name != AUTO:
        return
    if view.elsewhere and view.platform not in _HERE and "accelerator" not in view.said.serve:
        checked.say(AUTO_NEEDS_HARDWARE, f"nothing says which GPU the machines of {view.platform} have", quantize.span,
                    hint="write `SERVE accelerator L4`, or whichever they have")
    if base is None:
        return
    floor, has = PRECISIONS.get(quantize.value.at_least or ""), PRECISIONS.get(named_in(base.value) or "")
    if floor is not None and has is not None and has.form == "gguf" and has.bits + 0.5 < floor.bits:
        checked.say(FLOOR_ABOVE_BASE, f"the base is {has.name} already: nothing made of it is {floor.name} or better",
                    quantize.span, notes=[Note(f"this is {has.name}", base.span)])


def _renderer(what: str, said: Layered[str] | None, known: Collection[str], checked: Checked) -> None:
    if said is None or not said.value or said.value in known:
        return
    near = did_you_mean(said.value, known)
    checked.say(UNKNOWN_RENDERER, f"Ollama {RELEASE} has no {what} called `{shown(said.value)}`", said.span,
                hint=f"did you mean `{near}`?" if near else None)


def _bases(instructions: Iterable[Instruction], checked: Checked) -> None:
    bases = [one for one in instructions if meant(one) == "FROM" and one.value.text]
    name = next((one for one in bases if not is_path(one.value.text)), None)
    for one in bases:
        if name is not None and is_path(one.value.text):
            checked.say(FILE_BESIDE_NAME, "Ollama ignores this file, as another FROM is a model's name",
                        one.value.span, notes=[Note("this is a name", name.value.span)])


def _adapters(view: View, checked: Checked) -> None:
    own = checked.modelfile.name.value
    names: dict[str, Span] = {}
    for said in view.said.adapters:
        name = said.value.name or own
        if said.value.name is not None and name in names:
            notes = [Note("the first one is here", names[name])]
            checked.say(ADAPTER_NAME_TWICE, f"two adapters are called `{shown(name)}`", said.span, notes=notes,
                        hint="give each its own name after `AS`")
        names.setdefault(name, said.span)


def _tasks(checked: Checked) -> None:
    """A setting that all stages share is for the task of any of them."""
    useful: set[Span] = set()
    useless: list[tuple[str, str, Span]] = []
    for view in checked.views:
        for what, chats, span in _for_one_task(view):
            if chats == (view.task == "chat"):
                useful.add(span)
            else:
                useless.append((what, view.task, span))
    for what, task, span in useless:
        if span not in useful:
            does = {"embed": "that embeds", "rerank": "that reranks"}.get(task, "for chats")
            checked.say(NOT_FOR_THIS_TASK, f"`{what}` has no effect on a model {does}", span)


def _for_one_task(view: View) -> Iterator[tuple[str, bool, Span]]:
    """What has an effect on chats alone (True), or on vectors alone (False)."""
    said = view.said
    texts: tuple[tuple[str, Layered[Any] | None], ...] = (("SYSTEM", said.system), ("TEMPLATE", said.template))
    yield from ((what, True, one.span) for what, one in texts if one is not None)
    yield from (("MESSAGE", True, one.span) for one in said.messages)
    yield from (("PARAMETER stop", True, one.span) for one in said.stop)
    yield from ((f"PARAMETER {name}", True, said.parameters[name].span) for name in GENERATES
                if name in said.parameters)
    for names, chats in ((_OF_CHAT, True), (_OF_VECTORS, False)):
        yield from ((f"SERVE {name}", chats, said.serve[name].span) for name in names if name in said.serve)
