"""The table of docs/parity.md: which promises hold on which engine, and every difference that is left, by name.

    pytest tests/conformance -m "live_llamacpp or live_vllm" --parity tests/conformance/parity.json
    python -m tests.conformance.parity
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.conformance.differences import DECLARED, Difference
from tests.conformance.observation import Fact, Observations

HERE = Path(__file__).parent
RECORD = HERE / "parity.json"
PAGE = HERE.parents[1] / "docs" / "parity.md"
ENGINES = ("llama.cpp", "llama-server", "vllm")
TITLES = {"llama.cpp": "our engine", "llama-server": "llama-server", "vllm": "vLLM"}


@dataclass(frozen=True, order=True)
class Found:
    """One fact that some engines show in a case and others, asked the same, do not."""

    case: str
    said: str
    by: tuple[str, ...]
    of: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.case}: {self.said!r} on {', '.join(self.by)} of {', '.join(self.of)}"


@dataclass
class Record:
    """What each engine showed in each case."""

    cases: dict[str, dict[str, frozenset[Fact]]] = field(default_factory=dict)
    engines: dict[str, str] = field(default_factory=dict)

    def add(self, case: str, engine: str, seen: Observations) -> None:
        self.cases.setdefault(case, {})[engine] = frozenset(seen.facts)

    def updated(self, later: Record) -> Record:
        """This record with what a later run saw instead of what it had of the same cases and engines."""
        cases = {case: self.cases.get(case, {}) | later.cases.get(case, {}) for case in self.cases | later.cases}
        return Record(cases, self.engines | later.engines)

    def differences(self) -> list[Found]:
        """Every fact that not all engines show, where at least two were asked."""
        found = []
        for case, by_engine in sorted(self.cases.items()):
            said = {engine: _atoms(facts) for engine, facts in by_engine.items()}
            asked = tuple(engine for engine in ENGINES if engine in said)
            for atom in sorted(set().union(*said.values())):
                by = tuple(engine for engine in asked if atom in said[engine])
                if by != asked:
                    found.append(Found(case, atom, by, asked))
        return found

    def dumps(self) -> str:
        """One line for each case, so that two runs can be compared by diff."""
        shapes = {fact.shape: fact.fields for by in self.cases.values() for facts in by.values() for fact in facts
                  if fact.fields}
        lines = []
        for case, by_engine in sorted(self.cases.items()):
            said: dict[str, list[str]] = defaultdict(list)
            for engine, facts in by_engine.items():
                said[" | ".join(sorted(f"{f.kind}: {f.end} {f.shape}".strip() for f in facts))].append(engine)
            shown = {",".join(e for e in ENGINES if e in engines): line for line, engines in said.items()}
            lines.append(f"{json.dumps(case)}: {json.dumps(dict(sorted(shown.items())))}")
        tables = [f"{json.dumps(name)}: {json.dumps(' '.join(f.replace(' ', '~') for f in fields))}"
                  for name, fields in sorted(shapes.items())]
        return (f'{{"engines": {json.dumps(self.engines, sort_keys=True)},\n"shapes": {{\n' + ",\n".join(tables)
                + '\n},\n"cases": {\n' + ",\n".join(lines) + "\n}}\n")

    @classmethod
    def loads(cls, text: str) -> Record:
        value = json.loads(text)
        shapes = {name: tuple(f.replace("~", " ") for f in said.split()) for name, said in value["shapes"].items()}
        record = cls(engines=value["engines"])
        for case, said in value["cases"].items():
            for engines, line in said.items():
                facts = frozenset(_fact(part, shapes) for part in line.split(" | ") if part)
                record.cases.setdefault(case, {}).update(dict.fromkeys(engines.split(","), facts))
        return record


def _fact(text: str, shapes: Mapping[str, tuple[str, ...]]) -> Fact:
    kind, _, rest = text.partition(": ")
    end, _, shape = rest.rpartition(" ")
    return Fact(kind, end, shapes[shape]) if shape in shapes else Fact(kind, rest)


def _atoms(facts: Iterable[Fact]) -> frozenset[str]:
    """The smallest things that can differ: how a kind of exchange ended, and each field of its answers."""
    return frozenset([f"{fact.kind}: {fact.end}" for fact in facts]
                     + [f"{fact.kind}: field {name}" for fact in facts for name in fact.fields])


@dataclass(frozen=True)
class Verdict:
    """Differences against the declared ones. Both lists are empty where the table is true."""

    undeclared: tuple[Found, ...]
    vanished: tuple[Difference, ...]
    declared: Mapping[str, tuple[Found, ...]]  # by id


def judge(record: Record) -> Verdict:
    """A declared difference has vanished when every engine that it is about was asked, and it was not seen."""
    undeclared, declared = [], defaultdict(list)
    for found in record.differences():
        ids = [one.id for one in DECLARED if one.explains(found.case, found.said, found.by, found.of)]
        for name in ids:
            declared[name].append(found)
        if not ids:
            undeclared.append(found)
    vanished = [one for one in DECLARED if one.id not in declared and _was_asked(one, record)]
    return Verdict(tuple(undeclared), tuple(vanished), {name: tuple(found) for name, found in declared.items()})


def _was_asked(one: Difference, record: Record) -> bool:
    return any(one.about(case) and set(ENGINES) <= set(asked) for case, asked in record.cases.items())


# the page

def page(record: Record) -> str:
    """docs/parity.md for a run."""
    verdict = judge(record)
    apart: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))  # case, engine, ids
    for name in (one.id for one in DECLARED if one.marked):
        for found in verdict.declared.get(name, ()):
            for engine in _standing_apart(found):
                apart[found.case][engine].add(name)
    return "\n".join([*_head(record, verdict), *_features(record, apart), *_differences(verdict)]) + "\n"


def _standing_apart(found: Found) -> tuple[str, ...]:
    """Whom a mark is put at: the fewer of those that show it and those that do not; with vLLM the others."""
    others = tuple(engine for engine in found.of if engine not in found.by)
    return found.by if "vllm" in others else others


def _head(record: Record, verdict: Verdict) -> Iterator[str]:
    asked = sum(len(by) for by in record.cases.values())
    versions = ", ".join(f"{TITLES[engine]} (`{record.engines[engine]}`)" for engine in ENGINES
                         if engine in record.engines)
    yield "# Parity"
    yield ""
    yield ("What is the same on every engine, and what is not. This page is made from a run of `tests/conformance`: "
           "the same requests, through the official `openai` client and as raw HTTP, to each engine with one Modelfile "
           "and one model (SmolLM2 135M, the GGUF and the folder made from it).")
    yield ""
    yield (f"Engines: {versions}. {len(record.cases)} cases, {asked} checks; {len(verdict.declared)} "
           "named differences. Status codes, error codes and params, finish reasons, fields of answers and of stream "
           "chunks, and token ids are compared; texts are not, since the engines compute in other number formats.")
    yield ""
    everywhere = ", ".join(one.id for one in DECLARED if not one.marked)
    yield (f"`=` means the same as vLLM; a name stands for a difference below. {everywhere} are in every answer, and "
           "not marked. A run that finds a difference without a name fails, and so does one that no longer finds a "
           "named one.")


def _features(record: Record, apart: Mapping[str, Mapping[str, set[str]]]) -> Iterator[str]:
    for module, cases in _grouped(record.cases, lambda case: case.partition("::")[0]).items():
        yield ""
        yield f"## {_titles(module)}"
        yield ""
        yield "| what | cases | " + " | ".join(TITLES[engine] for engine in ENGINES) + " |"
        yield "|---|---|" + "---|" * len(ENGINES)
        for sentence, some in _grouped(cases, _sentence).items():
            cells = [_cell(engine, some, record, apart) for engine in ENGINES]
            yield f"| {sentence} | {len(some)} | " + " | ".join(cells) + " |"


def _cell(engine: str, cases: list[str], record: Record, apart: Mapping[str, Mapping[str, set[str]]]) -> str:
    if not any(engine in record.cases[case] for case in cases):
        return "–"
    names = sorted(set().union(*(apart[case][engine] for case in cases if case in apart and engine in apart[case])))
    return " ".join(f"[{name}](#{name.lower()})" for name in names) or "="


def _differences(verdict: Verdict) -> Iterator[str]:
    yield ""
    yield "## The differences"
    for one in DECLARED:
        found = verdict.declared.get(one.id, ())
        cases = sorted({each.case for each in found})
        yield ""
        yield f"### {one.id}"
        yield ""
        yield f"**{one.what}** {one.why}"
        yield ""
        yield f"Seen in {len(cases)} case{'s' * (len(cases) != 1)}, on {_sides(found)}."


def _sides(found: Iterable[Found]) -> str:
    sides = sorted({found_one.by for found_one in found})
    return "; ".join(" and ".join(TITLES[engine] for engine in by) for by in sides)


def _grouped(cases: Iterable[str], key: Any) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for case in cases:
        groups.setdefault(key(case), []).append(case)
    return groups


def _sentence(case: str) -> str:
    name = re.sub(r"\[.*", "", case.partition("::")[2], flags=re.S)
    return name.removeprefix("test_").replace("_", " ")


@cache
def _titles(module: str) -> str:
    """A module's docstring says what its cases are about."""
    said = ast.get_docstring(ast.parse((HERE / f"{module}.py").read_text("utf-8"))) or module
    return said.partition("\n")[0].rstrip(".")


if __name__ == "__main__":
    PAGE.write_text(page(Record.loads(RECORD.read_text("utf-8"))), "utf-8")
    print(f"wrote {PAGE}")
