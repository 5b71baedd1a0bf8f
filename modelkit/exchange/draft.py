"""A Modelfile in the making: settings are put in typed, and what comes out passes `modelkit check`.

    draft = Draft("a `vllm serve` command line", "vllm", "prod", account)
    draft.base("hf.co/org/repo", said="org/repo")
    draft.parameter("temperature", "0.2", said="--override-generation-config temperature=0.2")
    text = draft.settled()

A value that the language does not take is not put in: it becomes a loss, with the checker's own reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelkit.exchange.losses import Account
from modelkit.exchange.quoting import LONG, nearest, plain, written
from modelkit.failure import Failure
from modelkit.language.check import compile_source
from modelkit.language.diagnostic import Diagnostic, Severity
from modelkit.language.kinds import Kind, Wrong
from modelkit.language.names import MODEL_NAME, nearest_name
from modelkit.language.parameters import PARAMETERS
from modelkit.language.serve import SERVE_KEYS
from modelkit.language.source import Source
from modelkit.models.reference import Reference

_ORDER = ("NAME", "FROM", "ADAPTER", "DRAFT", "QUANTIZE", "TEMPLATE", "SYSTEM", "MESSAGE", "PARAMETER", "LICENSE",
          "ENGINE", "PLATFORM", "SERVE", "FLAG")
_GAP_BEFORE = frozenset({"TEMPLATE", "SYSTEM", "MESSAGE", "PARAMETER", "LICENSE"})
_PREFERRED = {"SYSTEM": LONG, "TEMPLATE": LONG, "LICENSE": LONG, "stop": '"'}


@dataclass(frozen=True, slots=True)
class Line:
    """One instruction, and what it came from. `why` is a comment above it, for what the value alone does not say."""

    keyword: str
    name: str
    value: str
    said: str
    why: str = ""
    at: int | None = None  # the line of the file that it came from

    def text(self) -> str:
        quoted = written(self.value, _PREFERRED.get(self.name or self.keyword, ""))
        assert quoted is not None, "put() takes only what can be written"
        return " ".join(part for part in (self.keyword, self.name, quoted) if part)


@dataclass
class Draft:
    """One model's Modelfile. `engine` is what served it, and the settings of the process go into `stage`."""

    origin: str
    engine: str
    stage: str
    account: Account
    _lines: list[Line] = field(default_factory=list)
    _staged: list[Line] = field(default_factory=list)

    def put(self, keyword: str, value: str, *, said: str, name: str = "", why: str = "", staged: bool = False,
            again: bool = False) -> None:
        """Have an instruction. One of the same keyword and name is replaced unless `again`."""
        kept, problem = nearest(value)
        if problem:
            self.account.approximated(said, problem)
        if not kept.strip() and keyword != "MESSAGE":
            return
        lines = self._staged if staged else self._lines
        if not again:
            lines[:] = [line for line in lines if (line.keyword, line.name) != (keyword, name)]
        line = Line(keyword, name, kept, said, why, self.account.line)
        if line not in lines:
            lines.append(line)

    def name(self, text: str, *, said: str) -> None:
        """The name that clients send; the nearest that there can be."""
        kept = text if not isinstance(MODEL_NAME.read(text), Wrong) else nearest_name(text, MODEL_NAME)
        if kept is None:
            self.account.lost(said, "it has no letter or digit to make a name of")
            return
        if kept != text:
            self.account.approximated(said, f"a name is made of {MODEL_NAME.says}: `{kept}`")
        self.put("NAME", kept, said=said)

    def base(self, reference: str, *, said: str, why: str = "") -> None:
        """FROM. Raises Failure for what is no reference: without its base a model is none."""
        if "$" in reference:
            raise Failure("import-refused", f"{said} holds a variable", hint="write the model's own name in its place")
        try:
            Reference.parse(reference, Path("/"))
        except Failure as failure:
            raise Failure("import-refused", f"{said}: {failure.message}", hint=failure.hint) from None
        self.put("FROM", reference, said=said, why=why)

    def parameter(self, name: str, value: object, *, said: str, why: str = "") -> None:
        """PARAMETER; `stop` adds up."""
        if self._takes(name, PARAMETERS[name].kind, value, said):
            self.put("PARAMETER", plain(value), name=name, said=said, why=why, again=name == "stop")

    def serve(self, key: str, value: object, *, said: str, why: str = "") -> None:
        if self._takes(key, SERVE_KEYS[key].kind, value, said):
            self.put("SERVE", plain(value), name=key, said=said, why=why, staged=True)

    def flag(self, flag: str, value: str | None, *, said: str, why: str = "") -> None:
        """The engine's own flag, for what the language has no word for."""
        if value is not None and ("\n" in value or "\r" in value):
            self.account.lost(said, "a FLAG's value stands on one line")
            return
        quoted = f'"{value}"' if value is not None and (value != value.strip() or value[:1] == '"') else value
        self.put("FLAG", flag if quoted is None else f"{flag} {quoted}", said=said, why=why, staged=True, again=True)

    def has(self, keyword: str, name: str = "") -> bool:
        return any((line.keyword, line.name) == (keyword, name) for line in (*self._lines, *self._staged))

    def instructions(self) -> tuple[str, ...]:
        """What has been put in so far, an instruction each, in no order of a file."""
        return tuple(line.text() for line in (*self._lines, *self._staged))

    def _takes(self, name: str, kind: Kind, value: object, said: str) -> bool:
        """Whether the language takes a value; if not, it is lost."""
        text = plain(value)
        read = kind.read(text)
        if isinstance(read, Wrong):
            self.account.lost(said, f"`{name}` would be {_shown(text)}; it must be {read.must_be}")
        return not isinstance(read, Wrong)

    def settled(self) -> str:
        """The text, without what `modelkit check` calls an error: that becomes a loss.

        Raises Failure for a draft that has no base, or whose base the checker refuses.
        """
        if not self.has("FROM"):
            raise Failure("no-base", f"{self.origin} names no model", hint="a Modelfile needs one: `FROM …`")
        while True:
            text, places = self._render()
            wrong = errors(text)
            if not wrong:
                return self._render(self._losses())[0]
            dropped = {id(line) for error in wrong if (line := _line_at(places, error)) is not None}
            for error in wrong:
                line = _line_at(places, error)
                if line is None or line.keyword == "FROM":
                    raise Failure("import-refused", f"{line.said if line else self.origin}: {error.message}",
                                  hint=error.hint)
                self.account.line = line.at
                self.account.lost(line.said, error.message + (f" ({error.hint})" if error.hint else ""))
            self._lines = [line for line in self._lines if id(line) not in dropped]
            self._staged = [line for line in self._staged if id(line) not in dropped]

    def _losses(self) -> tuple[str, ...]:
        missing = [loss for loss in self.account.graded if loss.verdict != "unneeded"]
        return tuple(f"  {loss.verdict}: {loss}" for loss in missing)

    def _render(self, losses: Iterable[str] = ()) -> tuple[str, Mapping[tuple[int, int], Line]]:
        """The text, and the line that stands at each range of it."""
        head = [f"# From {self.origin}, by `modelkit import`."]
        listed = list(losses)
        if listed:
            head += ["# What did not fit:", *(f"# {line}".rstrip() for line in listed)]
        parts, places, size = ["\n".join(head) + "\n"], dict[tuple[int, int], Line](), 0
        for line, before, indent in self._arranged():
            size = sum(map(len, parts))
            text = line.text()
            comment = f"{indent}# {line.why}\n" if line.why else ""
            parts.append(f"{before}{comment}{indent}{text}\n")
            start = size + len(before) + len(comment) + len(indent)
            places[start, start + len(text)] = line
        if self._staged:
            parts.append("}\n")
        return "".join(parts), places

    def _arranged(self) -> Iterable[tuple[Line, str, str]]:
        """The lines in the order of a file, each with what stands before it and how far it is indented."""
        previous = ""
        for line in sorted(self._lines, key=lambda line: _ORDER.index(line.keyword)):
            group = line.keyword
            yield line, "\n" if previous and group != previous and group in _GAP_BEFORE else "", ""
            previous = group
        first = True
        for line in sorted(self._staged, key=lambda line: _ORDER.index(line.keyword)):
            yield line, f"\nSTAGE {self.stage} {{\n" if first else "", "  "
            first = False


def errors(text: str) -> list[Diagnostic]:
    """What is an error in a text, by the language and by what is known of engines."""
    from modelkit.engines.checking import findings

    modelfile, found = compile_source(Source("Modelfile", text))
    if modelfile is not None:
        found = findings(modelfile)
    return [one for one in found if one.severity is Severity.ERROR]


def _line_at(places: Mapping[tuple[int, int], Line], error: Diagnostic) -> Line | None:
    return next((line for (start, end), line in places.items() if start <= error.span.start < end), None)


def _shown(text: str) -> str:
    return f"`{' '.join(text.split())[:40]}`" if text.strip() else "empty"
