"""What could stand at the cursor, from the language's tables: words, keys, values. Files and models are in `nearby`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from modelkit.language.assertions import ASSERTIONS
from modelkit.language.engine_words import ENGINES, PLATFORMS
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.language.kinds import Boolean, Choice, Duration, Kind, Scalar, SecretReference, Share, Size
from modelkit.language.lexer import ROLES
from modelkit.language.metrics import METRICS, OPERATORS
from modelkit.language.metrics import metric as metric_of
from modelkit.language.modelfile import KNOWN_STAGES
from modelkit.language.parameters import PARAMETERS, SYNONYMS
from modelkit.language.policies import POLICIES
from modelkit.language.quantization import AUTO, PRECISIONS
from modelkit.language.serve import SERVE_KEYS, SERVE_SYNONYMS
from modelkit.lsp import nearby
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.candidate import Candidate
from modelkit.lsp.cursor import Cursor
from modelkit.lsp.pages import instruction_page, parameter_page, serve_page

SWEPT = ("QUANTIZE", "PARAMETER", "SERVE", "ENGINE")
"""What a TRY can sweep."""

Maker = Callable[[Cursor, Analysis], Iterable[Candidate]]


_IGNORE = re.compile(r"#[ \t]*modelkit:[ \t]*ignore(-file)?[ \t]*\[(?P<ids>[^\]]*)$", re.IGNORECASE)


def candidates(cursor: Cursor, analysis: Analysis) -> list[Candidate]:
    """What could stand at the cursor, the likeliest first; nothing where the author is writing prose."""
    if cursor.prose:
        return list(_in_comment(cursor))
    if (opened := cursor.typed.rfind("${")) >= 0 and "}" not in cursor.typed[opened:]:
        return list(_variables(cursor, analysis, opened))
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


def _parameter(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    if not cursor.before:
        for row in PARAMETERS.values():
            also = tuple(word for word, ours in SYNONYMS.items() if ours == row.name)
            yield Candidate(row.name, "key", row.kind.says, parameter_page(row), also=also)
    elif len(cursor.before) == 1 and (said := PARAMETERS.get(cursor.before[0])) is not None:
        yield from _values(said.kind, said.default)


def _serve(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    if not cursor.before:
        for row in SERVE_KEYS.values():
            also = tuple(word for word, ours in SERVE_SYNONYMS.items() if ours == row.name)
            yield Candidate(row.name, "key", row.kind.says, serve_page(row), also=also)
        return
    key = cursor.before[0]
    said = SERVE_KEYS.get(key)
    if said is None or len(cursor.before) > 1:
        return
    yield from _values(said.kind, said.default)
    if key in ("tool_parser", "reasoning_parser"):
        yield from _parsers(key, analysis.engine(cursor.block)[0])
    elif key == "speculative":
        yield from (Candidate(word, "value", doc) for word, doc in _SPECULATIVE.items())


_SPECULATIVE = {"off": "nothing is guessed", "ngram": "guesses what followed the same words before",
                "draft_model": "the small model of DRAFT guesses"}


def _parsers(key: str, engine: str) -> Iterator[Candidate]:
    """The names that the stage's engine has; those of another engine would end it at its start."""
    from modelkit.engines.vllm_settings import REASONING_PARSERS, TOOL_PARSERS
    from modelkit.llamacpp import parsers

    own = (parsers.TOOL_PARSERS, parsers.REASONING_PARSERS)
    known: tuple[Iterable[str], Iterable[str]] = own if engine == "llama.cpp" else (TOOL_PARSERS, REASONING_PARSERS)
    both = {name for one in own for name in one} & (TOOL_PARSERS | REASONING_PARSERS)
    for name in sorted(known[key == "reasoning_parser"]):
        yield Candidate(name, "value", "on llama.cpp and vLLM" if name in both else f"on {engine}")


def _values(kind: Kind | Size, default: Scalar | None) -> Iterator[Candidate]:
    """Words that a kind of value has, and the default; numbers are the author's own."""
    said = {"true": "", "false": ""} if isinstance(kind, Boolean) else {}
    if isinstance(kind, Choice):
        said = dict.fromkeys(kind.words, "")
    elif isinstance(kind, SecretReference):
        said = {"env:": "an environment variable", "file:": "a file"}
    if default is not None:
        plain = str(default).lower() if isinstance(default, bool) else str(default)
        said = {plain: "the default"} | {word: doc for word, doc in said.items() if word != plain}
    for word, doc in said.items():
        yield Candidate(word, "value", doc)


def _quantize(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    before = cursor.upper
    if not before:
        yield Candidate(AUTO, "value", "the best that fits memory and meets the speed")
        yield from _precisions()
    elif before[0] == AUTO.upper() and before[-1] == ">=":
        yield from (one for one in _precisions() if one.label != "none")
    elif before[0] == AUTO.upper() and len(before) in (1, 3):
        yield from (Candidate(word, "operator", doc) for word, doc in
                    ((">=", "the least precision"), ("speed", "the least tokens a second: `speed >= 20 tok/s`"))
                    if word.upper() not in before)
    elif len(before) == 1:
        yield Candidate("imatrix", "keyword", "an importance matrix's file")
    elif before[-1] == "IMATRIX":
        yield from nearby.files(cursor.typed, analysis.folder)


def _precisions() -> Iterator[Candidate]:
    for row in PRECISIONS.values():
        bits = "as the base" if row.name == "none" else f"{row.bits:g} bits a weight"
        doc = row.doc + (" Needs an importance matrix." if row.needs_imatrix else "")
        yield Candidate(row.name, "value", f"{bits}, {row.form}" if row.form != "any" else bits, doc)


def _engine(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    if not cursor.before:
        yield from (Candidate(row.name, "value", "", row.doc) for row in ENGINES.values())
    elif len(cursor.before) == 1:
        yield from nearby.version_ranges(cursor.before[0].lower())


def _platform(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    experiment = analysis.kind(cursor.block) == "experiment"
    for row in PLATFORMS.values() if not cursor.before else ():
        if experiment or not row.experiments_only:
            yield Candidate(row.name, "value", "experiments only" if row.experiments_only else "", row.doc)


def _flag(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    engine, versions = analysis.engine(cursor.block)
    if not cursor.before:
        yield from nearby.flags(engine, versions)
    elif len(cursor.before) == 1:
        yield from nearby.flag_values(engine, versions, cursor.before[0])


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
        least = cursor.before[0] in ("tokens_per_second", "tests") or cursor.before[0].startswith("eval.")
        first = ">=" if least else "<="
        yield from (Candidate(op, "operator") for op in sorted(OPERATORS, key=lambda op: op != first))
    elif len(cursor.before) == 2 and (row := metric_of(cursor.before[0])) is not None:
        example = _EXAMPLES.get(type(row.kind), "25 tok/s")
        yield Candidate(example, "value", row.kind.says, row.doc)


_EXAMPLES: Mapping[type, str] = {Duration: "500ms", Share: "95%", Size: "4GB"}


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
        yield from (one for one in _precisions() if one.label.upper() not in before)
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
            yield from (one for one in _values(*rows[cursor.before[1]]) if one.label.upper() not in before)


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
    "FROM": _base, "DRAFT": _base, "ADAPTER": _adapter, "PARAMETER": _parameter, "SERVE": _serve, "MESSAGE": _message,
    "QUANTIZE": _quantize, "ENGINE": _engine, "PLATFORM": _platform, "FLAG": _flag, "UNSET": _unset, "POLICY": _policy,
    "EXPECT": _expect, "TRY": _try, "STAGE": _stage, "SYSTEMFILE": _path(), "TEMPLATEFILE": _path(),
    "TOOLS": _path((".json",)), "REPEAT": _repeat, "NAME": _name,
}
