"""The instructions of the file itself, or of one stage, as a Layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import cast

from modelkit.language.checking.choices import read_engine, read_platform, read_policy, read_quantization
from modelkit.language.checking.context import Context, shown
from modelkit.language.checking.gathered import Gathered
from modelkit.language.checking.operands import read_adapter, read_expectation, read_flag, read_unset
from modelkit.language.checking.references import check_reference, is_path, is_projector
from modelkit.language.checking.settings import read_parameter, read_serve
from modelkit.language.checking.sweeps import check_sweep
from modelkit.language.checking.templates import check_template
from modelkit.language.diagnostic import Severity
from modelkit.language.document import Instruction, Value, Word
from modelkit.language.fixes import instead, without
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.language.modelfile import Layer, Message, Role, Said
from modelkit.language.names import MODEL_NAME, VARIABLE
from modelkit.language.outside import UnreadableFile
from modelkit.language.quantization import PRECISIONS, named_in
from modelkit.language.rules.meaning import BAD_VALUE, UNREADABLE_FILE
from modelkit.language.rules.ollama import EMPTY_VALUE
from modelkit.language.rules.production import NEEDS_IMATRIX
from modelkit.language.source import Span
from modelkit.templates import is_jinja

ACTS_AS = {"model": "FROM"} | {
    keyword.lower(): keyword
    for keyword in ("ADAPTER", "DRAFT", "LICENSE", "MESSAGE", "PARSER", "RENDERER", "REQUIRES", "SYSTEM", "TEMPLATE")
}
"""In Ollama parameters and instructions share one set of names: `PARAMETER system x` is `SYSTEM x`."""

_SEMVER = re.compile(r"v?(0|[1-9]\d*)(\.(0|[1-9]\d*)(\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?)?)?")
_EMPTY = {"FROM": "`FROM` is empty; it means this file's own folder"}


class LayerReader:
    """Reads one block. `experiments` says that it is the block of an experiment.

    Afterwards `name` holds what NAME said, and `arguments` where the ARGs are.
    """

    def __init__(self, context: Context, *, experiments: bool = False) -> None:
        self.name: Said[str] | None = None
        self.arguments: dict[str, Span] = {}
        self._context = context
        self._experiments = experiments
        self._said = Gathered(context)
        self._projector: Said[str] | None = None

    def read(self, instructions: Iterable[Instruction]) -> Layer:
        """What the instructions say together; whatever is wrong with one is reported, and it is left out."""
        for instruction in instructions:
            keyword = meant(instruction)
            if (reader := _READERS.get(keyword)) is None:
                continue  # the parser has said that it cannot stand here
            before = len(self._context.report.found)
            if not instruction.value.text and keyword in _MAY_BE_EMPTY:
                self._empty(keyword, instruction)
            else:
                reader(self, keyword, instruction)
                found = self._context.report.found[before:]
                self._judge_effect(keyword, instruction, any(d.severity is Severity.ERROR for d in found))
        if self._projector and self._said.get("FROM") is None:
            self._said.put("FROM", self._projector)
            self._projector = None
        self._judge_quantization()
        return replace(self._said.layer(), projector=self._projector)

    def _judge_effect(self, keyword: str, instruction: Instruction, wrong: bool) -> None:
        row = INSTRUCTIONS[keyword]
        own_rule = keyword == "QUANTIZE"  # judged when the whole block is known
        if not row.effective and not own_rule and (row.essential or not wrong):
            self._context.later(keyword, instruction.keyword.span, essential=row.essential, hint=row.instead)

    def _judge_quantization(self) -> None:
        said, base = self._said.get("QUANTIZE"), self._said.get("FROM")
        if said is None or (base is not None and named_in(base.value) == said.value.name):
            return
        row = PRECISIONS.get(said.value.name)
        if row is None:  # `auto` chooses what can be made
            return
        if not row.effective:
            self._context.later(f"QUANTIZE {said.value.name}", said.span, hint="the base's own weights are used")
        elif row.needs_imatrix and said.value.imatrix is None:
            self._context.report.add(NEEDS_IMATRIX, f"`{row.name}` can't be made without an importance matrix",
                                     said.span, hint=f"write `QUANTIZE {row.name} imatrix ./model.imatrix`")

    def _empty(self, keyword: str, instruction: Instruction) -> None:
        hint = f"`UNSET {keyword}` drops what the base model set" if INSTRUCTIONS[keyword].unset else None
        message = _EMPTY.get(keyword, f"an empty `{keyword}` does nothing")
        fix = without(self._context.source, instruction.span, f"the empty `{keyword}`")
        if keyword == "FROM":
            fix = instead(Span((instruction.name or instruction.keyword).span.end, instruction.span.end), " .",
                          title="write `.`")
        self._context.report.add(EMPTY_VALUE, message, instruction.span, hint=hint, fix=fix)
        if keyword == "FROM":
            self._said.put("FROM", Said(".", instruction.span))

    def _from(self, keyword: str, instruction: Instruction) -> None:
        value = instruction.value
        check_reference(value, self._context)
        if is_path(value.text) and is_projector(value.text):
            self._projector = Said(value.text, value.span)
        else:
            self._said.put("FROM", Said(value.text, value.span))

    def _text(self, keyword: str, instruction: Instruction) -> None:
        """SYSTEM, TEMPLATE, DRAFT, RENDERER, PARSER, REQUIRES: one text."""
        value = instruction.value
        if keyword == "TEMPLATE":
            check_template(value, self._context)
        elif keyword == "DRAFT":
            check_reference(value, self._context)
        elif keyword == "REQUIRES" and not _SEMVER.fullmatch(value.text):
            message = f"`REQUIRES` is {shown(value.text)}; it must be a version such as 0.14.0"
            self._context.report.add(BAD_VALUE, message, value.span)
        self._said.put(keyword, Said(value.text, value.span))

    def _file(self, keyword: str, instruction: Instruction) -> None:
        """SYSTEMFILE, TEMPLATEFILE: a file's text, as SYSTEM or TEMPLATE would say it."""
        path, acts_as = instruction.value, keyword.removesuffix("FILE")
        read = self._context.outside.read
        if read is None:
            return  # a text that is in no folder
        try:
            text = read(path.text)
        except UnreadableFile as why:
            self._context.report.add(UNREADABLE_FILE, f"`{shown(path.text)}` {why}", path.span)
            return
        if not text:
            self._context.report.add(EMPTY_VALUE, f"`{shown(path.text)}` is empty; it does nothing", path.span)
            return
        if acts_as == "TEMPLATE":
            text = _marked(text) if path.text.lower().endswith(".jinja") else text
            # Places in the file are none of this one: everything is said at the path.
            check_template(Value(text, path.span, Span(path.span.start, path.span.start)), self._context)
        self._context.files[path.span.start] = path.text
        self._said.put(acts_as, Said(text, path.span))

    def _name(self, keyword: str, instruction: Instruction) -> None:
        value = instruction.value
        if self._context.name("a model", MODEL_NAME, value.text, value.span):
            if self.name is not None:
                self._context.twice("NAME", value.span, self.name.span)
            self.name = Said(value.text, value.span)

    def _variable(self, keyword: str, instruction: Instruction) -> None:
        value = instruction.value
        name = value.text.split(maxsplit=1)[0] if value.text else ""
        if not self._context.name("a variable", VARIABLE, name, value.span):
            return
        if (first := self.arguments.setdefault(name, value.span)) is not value.span:
            self._context.twice(f"ARG {name}", value.span, first)
            self.arguments[name] = value.span

    def _parameter(self, keyword: str, instruction: Instruction) -> None:
        name = instruction.name or Word("", instruction.keyword.span)
        if (said := read_parameter(name, instruction.value, self._context)) is not None:
            store = self._said.add if name.text == "stop" else self._said.put
            store(keyword, said, name.text)

    def _serve(self, keyword: str, instruction: Instruction) -> None:
        name = instruction.name or Word("", instruction.keyword.span)
        if (said := read_serve(name, instruction.value, self._context)) is not None:
            self._said.put(keyword, said, name.text)

    def _message(self, keyword: str, instruction: Instruction) -> None:
        role, content = instruction.name.text if instruction.name else "", instruction.value.text
        if role == "message":  # `PARAMETER message user: hi`
            role, _, content = content.partition(": ")
        if role in ("system", "user", "assistant"):
            self._said.add(keyword, Said(Message(cast(Role, role), content), instruction.value.span))

    def _listed(self, keyword: str, instruction: Instruction) -> None:
        """LICENSE, ADAPTER: a list that a stage replaces."""
        value = instruction.value
        read = read_adapter(value, self._context) if keyword == "ADAPTER" else value.text
        if read is not None:
            self._said.add(keyword, Said(read, value.span))

    def _choice(self, keyword: str, instruction: Instruction) -> None:
        """QUANTIZE, ENGINE, PLATFORM: one word of a table."""
        value, context = instruction.value, self._context
        read: object | None
        if keyword == "QUANTIZE":
            read = read_quantization(value, context)
        elif keyword == "ENGINE":
            read = read_engine(value, context)
        else:
            read = read_platform(value, context, self._experiments)
        if read is not None:
            self._said.put(keyword, Said(read, value.span))

    def _flag(self, keyword: str, instruction: Instruction) -> None:
        if (flag := read_flag(instruction.value, self._context)) is not None:
            self._said.add(keyword, Said(flag, instruction.value.span), flag.flag)

    def _policy(self, keyword: str, instruction: Instruction) -> None:
        if (policy := read_policy(instruction.value, self._context)) is not None:
            self._said.put(keyword, Said(policy, instruction.value.span), policy)

    def _expect(self, keyword: str, instruction: Instruction) -> None:
        if (gate := read_expectation(instruction.value, self._context)) is not None:
            self._said.add(keyword, Said(gate, instruction.value.span), gate.metric)

    def _unset(self, keyword: str, instruction: Instruction) -> None:
        if (unset := read_unset(instruction.value, self._context)) is not None:
            self._said.drop(Said(unset, instruction.value.span))

    def _try(self, keyword: str, instruction: Instruction) -> None:
        check_sweep(instruction, self._context, self._experiments)


def _marked(text: str) -> str:
    """A Jinja text that is known as one by itself, too, and renders the same."""
    return text if is_jinja(text) else "{% if true %}{% endif %}{{ '' }}" + text


def meant(instruction: Instruction) -> str:
    """The instruction that an instruction acts as, in upper case."""
    keyword = instruction.keyword.text.upper()
    if keyword == "PARAMETER" and instruction.name is not None:
        return ACTS_AS.get(instruction.name.text, keyword)
    return keyword


_MAY_BE_EMPTY = frozenset({"FROM", "SYSTEM", "TEMPLATE", "LICENSE", "DRAFT", "RENDERER", "PARSER", "REQUIRES",
                           "ADAPTER"})
_READERS: Mapping[str, Callable[[LayerReader, str, Instruction], None]] = {
    "FROM": LayerReader._from, "NAME": LayerReader._name, "ARG": LayerReader._variable,
    "PARAMETER": LayerReader._parameter, "SERVE": LayerReader._serve, "MESSAGE": LayerReader._message,
    "FLAG": LayerReader._flag, "POLICY": LayerReader._policy, "EXPECT": LayerReader._expect,
    "UNSET": LayerReader._unset, "TRY": LayerReader._try,
    **dict.fromkeys(("SYSTEM", "TEMPLATE", "DRAFT", "RENDERER", "PARSER", "REQUIRES"), LayerReader._text),
    **dict.fromkeys(("QUANTIZE", "ENGINE", "PLATFORM"), LayerReader._choice),
    **dict.fromkeys(("LICENSE", "ADAPTER"), LayerReader._listed),
    **dict.fromkeys(("SYSTEMFILE", "TEMPLATEFILE"), LayerReader._file),
}
