"""`ARG` and the `${NAME}`s that it declares: they are replaced before any operand is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from modelkit.language.characters import clean
from modelkit.language.checking.context import Context
from modelkit.language.checking.parts import Operands, place
from modelkit.language.diagnostic import did_you_mean
from modelkit.language.document import Block, Document, Instruction, Item, Value
from modelkit.language.kinds import Wrong
from modelkit.language.names import VARIABLE
from modelkit.language.rules.meaning import BAD_VALUE, MISSING_ARGUMENT, UNKNOWN_VARIABLE

_USE = re.compile(r"(?P<literal>\$)?\$\{(?P<name>[^{}\r\n]*)\}")
_LONGEST = 1 << 20
_LONGEST_TOGETHER = 4 << 20


def with_values(document: Document, given: Mapping[str, str], context: Context) -> Document:
    """The document with each `${NAME}` replaced, `$${NAME}` by `${NAME}`; itself if it has no ARG.

    A replaced value keeps its place. Reports an ARG without a value and a name that no ARG declares; what uses one is
    left out, so that nothing else is said of it.
    """
    if not any(_is_arg(item) for item in document.items):
        return document
    return _Replacing(given, context).document(document)


def arguments_of(document: Document) -> dict[str, Instruction]:
    """The ARGs by name, those with a name that none can have left out."""
    found = {}
    for item in document.items:
        if isinstance(item, Instruction) and _is_arg(item):
            name = Operands(item.value).word().text
            if not isinstance(VARIABLE.read(name), Wrong):
                found[name] = item
    return found


def _is_arg(item: Item) -> bool:
    return isinstance(item, Instruction) and item.keyword.text.upper() == "ARG"


@dataclass
class _Replacing:
    given: Mapping[str, str]
    context: Context
    values: dict[str, str | None] = field(default_factory=dict)  # None: it has none, which is reported already
    left: int = _LONGEST_TOGETHER

    def document(self, document: Document) -> Document:
        for name, instruction in arguments_of(document).items():
            self.values[name] = self._value(name, instruction)
        return replace(document, items=tuple(self._items(document.items)))

    def _value(self, name: str, instruction: Instruction) -> str | None:
        if name in self.given:
            return clean(self.given[name])
        operands = Operands(instruction.value)
        operands.word()
        default = operands.rest()
        if not default.text:
            self.context.report.add(MISSING_ARGUMENT, f"`ARG {name}` has no value", instruction.span,
                                    hint=f"set it with `--arg {name}=…`, or write a default after it")
            return None
        made = self._replaced(Value(default.text, default.span, default.span))  # by the ARGs before it
        return made.text if made is not None else None

    def _items(self, items: tuple[Item, ...]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Instruction) and not _is_arg(item):
                if (value := self._replaced(item.value)) is not None:
                    yield item if value is item.value else replace(item, value=value)
            elif isinstance(item, Block):
                header = self._replaced(item.header)
                yield replace(item, header=header or item.header, body=tuple(self._items(item.body)))
            else:
                yield item

    def _replaced(self, value: Value) -> Value | None:
        """The value as it is meant; None when it has a name without a value."""
        parts, at, whole = [], 0, True
        for found in _USE.finditer(value.text):
            text = self._text(found, value)
            whole &= text is not None
            parts += [value.text[at : found.start()], text or ""]
            at = found.end()
        if not whole:
            return None
        if not at:
            return value
        text = "".join([*parts, value.text[at:]])
        self.left -= len(text)
        if len(text) > _LONGEST or self.left < 0:
            self.context.report.add(BAD_VALUE, "with its variables replaced this is too long", value.span)
            return None
        return replace(value, text=text)

    def _text(self, found: re.Match[str], value: Value) -> str | None:
        name = found["name"]
        if found["literal"]:
            return found[0][1:]
        if name in self.values:
            return self.values[name]
        near = did_you_mean(name, self.values)
        hint = f"did you mean `${{{near}}}`?" if near else f"declare it: `ARG {name} default`; `$${{{name}}}` stays"
        self.context.report.add(UNKNOWN_VARIABLE, f"no ARG declares `{found[0][:60]}`",
                                place(value, *found.span()), hint=hint)
        return None
