"""A model's chat template: compiled once, rendered for each conversation into the prompt that vLLM would make.

transformers is the measure (`apply_chat_template`, 5.x), and what vLLM 0.32 does around it (`renderers/hf.py`): which
variables a template gets, and whether it wants contents as text or as parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from jinja2 import TemplateSyntaxError, meta, nodes

from modelkit.contract.errors import invalid, of_status
from modelkit.llamacpp.sandbox import SECONDS, SIZE, Sandbox

ContentFormat = Literal["string", "openai"]

_OURS = ("messages", "tools", "conversation")  # said elsewhere in a request
_REFUSED = ("chat_template", "tokenize")  # vLLM refuses them by name
_ALWAYS = ("documents",)

_LONGEST_REASON = 1000  # characters


class Vocabulary(Protocol):
    """What a template wants to know of the model's tokens."""

    pieces: Sequence[bytes]
    bos: int | None
    eos: int | None


class Template:
    """A template and the names of special tokens (`bos_token`, …) that it may write.

    `content_format` is `openai` for a template that reads contents part by part. Raises ValueError, one sentence, for
    a text that is no template.
    """

    def __init__(self, text: str, tokens: Mapping[str, str] | None = None, *, seconds: float = SECONDS,
                 size: int = SIZE) -> None:
        self.text = text
        self.tokens = dict(tokens or {})
        self._sandbox = Sandbox(seconds, size)
        try:
            tree = self._sandbox.parse(text)
            self._compiled = self._sandbox.compiled(text)
        except TemplateSyntaxError as error:
            raise ValueError(f"the chat template can't be read: line {error.lineno}: {error.message}") from None
        except RecursionError:
            raise ValueError("the chat template can't be read: it nests too deep") from None
        except Exception as error:  # a constant of the template that can't be computed
            raise ValueError(f"the chat template can't be read: {error}") from None
        self.variables = frozenset(meta.find_undeclared_variables(tree))
        self.content_format: ContentFormat = "openai" if _reads_parts(tree) else "string"

    @classmethod
    def of(cls, text: str | None, vocabulary: Vocabulary) -> Template | None:
        """A model's template with its tokens' texts; None for a model without one."""
        if text is None:
            return None
        known = {"bos_token": vocabulary.bos, "eos_token": vocabulary.eos}
        return cls(text, {name: vocabulary.pieces[one].decode("utf-8", "replace") for name, one in known.items()
                          if one is not None})

    def render(self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None,
               add_generation_prompt: bool = True, variables: Mapping[str, Any] | None = None) -> str:
        """The prompt's text. `variables` are a request's `chat_template_kwargs`; those that nobody reads are ignored.

        Raises ContractError: 400 with the template's own words where it refuses a conversation.
        """
        said = self._accepted(variables or {})
        try:
            return self._sandbox.rendered(self._compiled, {
                **self.tokens, "documents": None, **said, "messages": messages, "tools": tools,
                "add_generation_prompt": add_generation_prompt})
        except RecursionError:
            raise of_status(400, "the chat template nests too deep for this conversation") from None
        except MemoryError:
            raise of_status(400, "the chat template makes more than a prompt can be") from None
        except Exception as error:
            raise of_status(400, _reason(error)) from None

    def _accepted(self, said: Mapping[str, Any]) -> dict[str, Any]:
        for name in said:
            if name in _REFUSED or name in _OURS:
                raise invalid(f"chat_template_kwargs.{name}", f"`chat_template_kwargs` must not have `{name}`")
        return {name: value for name, value in said.items() if name in self.variables or name in _ALWAYS}


def _reason(error: Exception) -> str:
    said = str(error) or type(error).__name__
    return said if len(said) <= _LONGEST_REASON else said[: _LONGEST_REASON - 1] + "…"


def _reads_parts(tree: nodes.Template) -> bool:
    """Whether the template has a loop over a message's content, so that it expects a list of parts.

    vLLM's measure (`_detect_content_format`): a loop over `message.content` where `message` comes from a loop over the
    messages, over a macro's parameter that was given such a content, or over a variable that is called `content`.
    """
    messages = _aliases(tree, "messages")
    each = {loop.target.name for loop in tree.find_all(nodes.For)
            if isinstance(loop.target, nodes.Name) and any(_of(loop.iter, name) for name in messages)}
    in_macros = {id(loop): macro for macro in tree.find_all(nodes.Macro) for loop in macro.find_all(nodes.For)}
    for loop in tree.find_all(nodes.For):
        if any(_of(loop.iter, name, "content") for name in each):
            return True
        if isinstance(loop.iter, nodes.Name):
            macro = in_macros.get(id(loop))
            if loop.iter.name == "content" if macro is None else loop.iter.name in _given(tree, macro, each):
                return True
    return False


def _aliases(tree: nodes.Template, name: str) -> set[str]:
    """The variable and those that are set to it, or to a part of it."""
    known, found = {name}, True
    while found:
        found = False
        for assignment in tree.find_all(nodes.Assign):
            target = assignment.target
            if isinstance(target, nodes.Name) and target.name not in known \
                    and any(_of(assignment.node, one) for one in known):
                known.add(target.name)
                found = True
    return known


def _of(node: nodes.Node | None, name: str, attribute: str | None = None) -> bool:
    """Whether an expression is the variable, or its attribute, behind any filters, tests and slices."""
    while isinstance(node, (nodes.Filter, nodes.Test)) or (
            isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)):
        node = node.node
    if attribute is not None:
        if isinstance(node, nodes.Getitem):
            if not (isinstance(node.arg, nodes.Const) and node.arg.value == attribute):
                return False
        elif not (isinstance(node, nodes.Getattr) and node.attr == attribute):
            return False
        node = node.node
    return isinstance(node, nodes.Name) and node.ctx == "load" and node.name == name


def _given(tree: nodes.Template, macro: nodes.Macro, each: set[str]) -> set[str]:
    """The macro's parameters that some call gives a message's content."""
    names = [argument.name for argument in macro.args]

    def pairs(call: nodes.Call) -> Iterator[tuple[str, nodes.Node]]:
        yield from zip(names, call.args, strict=False)
        yield from ((one.key, one.value) for one in call.kwargs if one.key in names)

    return {name for call in tree.find_all(nodes.Call)
            if isinstance(call.node, nodes.Name) and call.node.name == macro.name
            for name, value in pairs(call) if any(_of(value, one, "content") for one in each)}

