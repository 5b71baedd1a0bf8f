"""What could stand at the cursor, from the language's tables: words, keys, values. Files and models are in `nearby`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from modelkit.language.assertions import ASSERTIONS
from modelkit.language.engine_words import ENGINES
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.language.kinds import Duration, Kind, Scalar, Share, Size, Whole
from modelkit.language.lexer import ROLES
from modelkit.language.metrics import METRICS, OPERATORS
from modelkit.language.metrics import metric as metric_of
from modelkit.language.modelfile import KNOWN_STAGES
from modelkit.language.parameters import PARAMETERS
from modelkit.language.policies import POLICIES
from modelkit.language.serve import SERVE_KEYS
from modelkit.lsp import nearby
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.candidate import Candidate
from modelkit.lsp.cursor import Cursor
from modelkit.lsp.pages import instruction_page
from modelkit.lsp.settings import engine, flag, parameter, platform, precisions, quantize, serve, values

SWEPT = ("QUANTIZE", "PARAMETER", "SERVE", "ENGINE")
"""What a TRY can sweep."""

Maker = Callable[[Cursor, Analysis], Iterable[Candidate]]


_IGNORE = re.compile(r"#[ \t]*modelkit:[ \t]*ignore(-file)?[ \t]*\[(?P<ids>[^\]]*)$", re.IGNORECASE)


def candidates(cursor: Cursor, analysis: Analysis) -> list[Candidate]:
    """What could stand at the cursor, the likeliest first; nothing where the author is writing prose."""
    if cursor.prose == "comment":
        return list(_in_comment(cursor))
    if (opened := cursor.typed.rfind("${")) >= 0 and "}" not in cursor.typed[opened:]:
        return list(_variables(cursor, analysis, opened))
    if cursor.prose:
        return []
    if not cursor.keyword:
        return list(_instructions(cursor, analysis))
    maker = _MAKERS.get(cursor.keyword)
    return list(maker(cursor, analysis)) if maker is not None else []


def _instructions(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    """What may stand in this block. A blank is written behind the word where nothing follows it yet."""
    left = [name for name in ("dev", "prod", "experiment") if name not in analysis.stages]
    stage = f"${{1|{','.join(left)}|}}" if left else "${1:name} EXTENDS ${2|dev,prod,experiment|}"
    snippets = {"STAGE": f"STAGE {stage} {{\n  $0\n}}",
                "TEST": 'TEST "${1:what it shows}" {\n  USER ${2:a question}\n  EXPECT contains "${3:a word}"$0\n}'}
    for row in INSTRUCTIONS.values():
        if cursor.room in row.where and (row.keyword != "TRY" or analysis.kind(cursor.block) == "experiment"):
            yield Candidate(row.keyword, "keyword", row.operands, instruction_page(row),
                            insert=row.keyword + " " * cursor.ends,
                            snippet=snippets.get(row.keyword, "") if cursor.ends else "")



def _in_comment(cursor: Cursor) -> Iterator[Candidate]:
    """Rules, in a comment that leaves one out."""
    from modelkit.findings.examine import rules

    if (opened := _IGNORE.search(cursor.line)) is not None:
        typed = opened["ids"].rpartition(",")[2].lstrip()
        for rule in rules().values():
            yield Candidate(rule.id, "value", rule.severity.value, rule.summary, replaces=len(typed))


def _variables(cursor: Cursor, analysis: Analysis, opened: int) -> Iterator[Candidate]:
    for instruction in analysis.said("ARG"):
        name, _, default = instruction.value.text.partition(" ")
        closed = cursor.span.end > cursor.span.start + len(cursor.typed)
        yield Candidate(name, "variable", default.strip(), "", insert=name if closed else name + "}",
                        replaces=len(cursor.typed) - opened - 2, keeps=closed)


def _unset(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    """What can be dropped; what the file does set comes first."""
    if not cursor.before:
        rows = [row for row in INSTRUCTIONS.values() if row.unset]
        for row in sorted(rows, key=lambda row: not analysis.said(row.keyword, cursor.block)):
            set_here = "set in this file" if analysis.said(row.keyword, cursor.block) else ""
            yield Candidate(row.keyword, "keyword", set_here, instruction_page(row))
        return
    keyword = cursor.upper[0]
    if len(cursor.before) > 1:
        return
    said = [one.name.text if one.name else one.value.text.partition(" ")[0]
            for one in analysis.said(keyword, cursor.block)] if keyword in _DROPPED_BY_NAME else []
    yield from (Candidate(word, "key", "set in this file") for word in dict.fromkeys(said))
    known: Iterable[str] = _DROPPED_BY_NAME.get(keyword, ())
    yield from (Candidate(word, "key") for word in known if word not in said)


_DROPPED_BY_NAME: Mapping[str, Iterable[str]] = {"PARAMETER": PARAMETERS, "SERVE": SERVE_KEYS, "POLICY": POLICIES,
                                                 "EXPECT": METRICS, "FLAG": ()}


def _policy(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    said = {one.value.text for one in analysis.said("POLICY", cursor.block)}
    for row in POLICIES.values() if not cursor.before else ():
        if row.name not in said or row.name == cursor.typed:
            yield Candidate(row.name, "value", "", row.doc)


def _expect(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    if cursor.room == "test":
        yield from _assertion(cursor, analysis)
    elif not cursor.before:
        yield from (Candidate(row.name, "key", row.kind.says, row.doc) for row in METRICS.values())
        yield Candidate("eval.", "key", "a share", "The score of an evaluation by its name.")
    elif len(cursor.before) == 1:
        name = cursor.before[0]
        first = ">=" if name.startswith("eval.") or name in _AT_LEAST else "<="
        yield from (Candidate(op, "operator") for op in sorted(OPERATORS, key=lambda op: op != first))
    elif len(cursor.before) == 2 and (row := metric_of(cursor.before[0])) is not None:
        example = _EXAMPLES.get(type(row.kind), "25 tok/s")
        yield Candidate(example, "value", row.kind.says, row.doc)
    elif len(cursor.before) == 3:
        yield Candidate("ADVISORY", "keyword", "measured and shown; it stops nothing")


_AT_LEAST = ("tokens_per_second", "tests", "soak", "approvals")
_EXAMPLES: Mapping[type, str] = {Duration: "500ms", Share: "95%", Size: "4GB", Whole: "1"}


def _assertion(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    before = cursor.before[1:] if cursor.upper[:1] == ("NOT",) else cursor.before
    if not before:
        if not cursor.before:
            yield Candidate("not", "operator", "the opposite")
        for row in ASSERTIONS.values():
            yield Candidate(row.name, "key", row.example.partition(" ")[2], row.doc)
    elif len(before) == 1:
        if before[0] == "finish_reason":
            yield from (Candidate(word, "value") for word in ("stop", "length", "tool_calls", "content_filter"))
        elif before[0] == "json":
            yield from nearby.files(cursor.typed, analysis.folder, (".json",))
        elif before[0] == "tool_call":
            yield from nearby.tools(analysis, cursor.block)


def _try(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    before = cursor.upper
    if not before:
        yield from (Candidate(word, "keyword", INSTRUCTIONS[word].operands) for word in SWEPT)
    elif before[0] == "QUANTIZE":
        yield from (one for one in precisions() if one.label.upper() not in before)
    elif before[0] == "ENGINE":
        yield from (Candidate(row.name, "value", "", row.doc) for row in ENGINES.values()
                    if row.name.upper() not in before)
    elif before[0] in ("PARAMETER", "SERVE"):
        rows: Mapping[str, tuple[Kind, Scalar | None]] = {
            row.name: (row.kind, row.default)
            for row in (PARAMETERS if before[0] == "PARAMETER" else SERVE_KEYS).values()}
        if len(before) == 1:
            yield from (Candidate(name, "key", kind.says) for name, (kind, _) in rows.items())
        elif cursor.before[1] in rows:
            yield from (one for one in values(*rows[cursor.before[1]]) if one.label.upper() not in before)


def _stage(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    if not cursor.before:
        yield from (Candidate(name, "stage", "known") for name in KNOWN_STAGES
                    if name not in analysis.stages or name == cursor.typed)
    elif len(cursor.before) == 1:
        yield Candidate("EXTENDS", "keyword", "the stage whose settings it starts from")
    elif len(cursor.before) == 2:
        names = dict.fromkeys((*KNOWN_STAGES, *analysis.stages))
        yield from (Candidate(name, "stage", "in this file" if name in analysis.stages else "known")
                    for name in names if name != cursor.before[0])


def _base(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    """FROM and DRAFT: what is on this machine, files, and the ways to spell a reference."""
    if not cursor.before:
        yield from nearby.models(cursor.typed, analysis.folder)


def _adapter(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    if not cursor.before:
        yield from nearby.models(cursor.typed, analysis.folder)
    elif len(cursor.before) == 1:
        yield Candidate("AS", "keyword", "serve it under a model name of its own")


def _path(suffixes: tuple[str, ...] = ()) -> Maker:
    return lambda cursor, analysis: () if cursor.before else nearby.files(cursor.typed, analysis.folder, suffixes)


def _message(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    yield from (Candidate(role, "value") for role in ROLES if not cursor.before)


def _repeat(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    if len(cursor.before) == 1:
        yield Candidate("PASS", "keyword", "how often it must pass")


def _name(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    from modelkit.language.names import default_name

    if not cursor.before and analysis.folder is not None:
        yield Candidate(default_name(analysis.source.name), "value", "the default")


_MAKERS: dict[str, Maker] = {
    "FROM": _base, "DRAFT": _base, "ADAPTER": _adapter, "PARAMETER": parameter, "SERVE": serve, "MESSAGE": _message,
    "QUANTIZE": quantize, "ENGINE": engine, "PLATFORM": platform, "FLAG": flag, "UNSET": _unset, "POLICY": _policy,
    "EXPECT": _expect, "TRY": _try, "STAGE": _stage, "SYSTEMFILE": _path(), "TEMPLATEFILE": _path(),
    "TOOLS": _path((".json",)), "REPEAT": _repeat, "NAME": _name,
}
