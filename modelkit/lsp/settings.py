"""What could stand behind the instructions that take a setting: parameters, serving, precisions, engines, flags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelkit.language.engine_words import ENGINES, PLATFORMS
from modelkit.language.kinds import Boolean, Choice, Kind, Scalar, SecretReference, Size
from modelkit.language.parameters import PARAMETERS, SYNONYMS
from modelkit.language.quantization import AUTO, PRECISIONS
from modelkit.language.serve import SERVE_KEYS, SERVE_SYNONYMS
from modelkit.lsp import nearby
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.candidate import Candidate
from modelkit.lsp.cursor import Cursor
from modelkit.lsp.pages import parameter_page, serve_page


def parameter(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    if not cursor.before:
        for row in PARAMETERS.values():
            also = tuple(word for word, ours in SYNONYMS.items() if ours == row.name)
            yield Candidate(row.name, "key", row.kind.says, parameter_page(row), also=also)
    elif len(cursor.before) == 1 and (said := PARAMETERS.get(cursor.before[0])) is not None:
        yield from values(said.kind, said.default)


def serve(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    if not cursor.before:
        for row in SERVE_KEYS.values():
            also = tuple(word for word, ours in SERVE_SYNONYMS.items() if ours == row.name)
            yield Candidate(row.name, "key", row.kind.says, serve_page(row), also=also)
        return
    key = cursor.before[0]
    said = SERVE_KEYS.get(key)
    if said is None or len(cursor.before) > 1:
        return
    yield from values(said.kind, said.default)
    if key in ("tool_parser", "reasoning_parser"):
        yield from _parsers(key, analysis.engine(cursor.block)[0])
    elif key == "speculative":
        yield from (Candidate(word, "value", doc) for word, doc in _SPECULATIVE.items())


_SPECULATIVE = {"off": "nothing is guessed", "ngram": "guesses what followed the same words before",
                "draft_model": "the small model of DRAFT guesses"}


def _parsers(key: str, engine: str) -> Iterator[Candidate]:
    """The names that the stage's engine has; those of another engine would end it at its start."""
    from modelkit.engines.vllm import REASONING_PARSERS, TOOL_PARSERS
    from modelkit.llamacpp import parsers

    own = (parsers.TOOL_PARSERS, parsers.REASONING_PARSERS)
    known: tuple[Iterable[str], Iterable[str]] = own if engine == "llama.cpp" else (TOOL_PARSERS, REASONING_PARSERS)
    both = {name for one in own for name in one} & (TOOL_PARSERS | REASONING_PARSERS)
    for name in sorted(known[key == "reasoning_parser"]):
        yield Candidate(name, "value", "on llama.cpp and vLLM" if name in both else f"on {engine}")


def values(kind: Kind | Size, default: Scalar | None) -> Iterator[Candidate]:
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


def quantize(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    before = cursor.upper
    if not before:
        yield Candidate(AUTO, "value", "the best that fits memory and meets the speed")
        yield from precisions()
    elif before[0] == AUTO.upper() and before[-1] == ">=":
        yield from (one for one in precisions() if one.label != "none")
    elif before[0] == AUTO.upper() and len(before) in (1, 3):
        yield from (Candidate(word, "operator", doc) for word, doc in
                    ((">=", "the least precision"), ("speed", "the least tokens a second: `speed >= 20 tok/s`"),
                     ("imatrix", "an importance matrix's file"))
                    if word.upper() not in before)
    elif len(before) == 1:
        yield Candidate("imatrix", "keyword", "an importance matrix's file")
    elif before[-1] == "IMATRIX":
        yield from nearby.files(cursor.typed, analysis.folder)


def precisions() -> Iterator[Candidate]:
    for row in PRECISIONS.values():
        bits = "as the base" if row.name == "none" else f"{row.bits:g} bits a weight"
        doc = row.doc + (" Needs an importance matrix." if row.needs_imatrix else "")
        yield Candidate(row.name, "value", f"{bits}, {row.form}" if row.form != "any" else bits, doc)


def engine(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    if not cursor.before:
        yield from (Candidate(row.name, "value", "", row.doc) for row in ENGINES.values())
    elif len(cursor.before) == 1:
        yield from nearby.version_ranges(cursor.before[0].lower())


def platform(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    experiment = analysis.kind(cursor.block) == "experiment"
    for row in PLATFORMS.values() if not cursor.before else ():
        if experiment or not row.experiments_only:
            yield Candidate(row.name, "value", "experiments only" if row.experiments_only else "", row.doc)


def flag(cursor: Cursor, analysis: Analysis) -> Iterator[Candidate]:
    engine, versions = analysis.engine(cursor.block)
    if not cursor.before:
        yield from nearby.flags(engine, versions)
    elif len(cursor.before) == 1:
        yield from nearby.flag_values(engine, versions, cursor.before[0])
