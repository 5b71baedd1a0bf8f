"""docs/reference/modelfile.md and rules.md, made from the language's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelkit.language import rule_pages
from modelkit.language.assertions import ASSERTIONS
from modelkit.language.engine_words import DEFAULT_ENGINE, DEFAULT_PLATFORM, ENGINES, PLATFORMS
from modelkit.language.instructions import INSTRUCTIONS, InstructionRow
from modelkit.language.kinds import Scalar
from modelkit.language.metrics import EVAL, METRICS
from modelkit.language.parameters import DEPRECATED, PARAMETERS, REMOVED
from modelkit.language.policies import POLICIES
from modelkit.language.quantization import AUTO, PRECISIONS
from modelkit.language.serve import SERVE_KEYS

NOT_YET = " *Not yet.*"
_WHERE = {"file": "file", "stage": "STAGE", "test": "TEST"}
_REPEATED = {"last": "the last wins, with a warning", "last per name": "the last wins for each name, with a warning",
             "appended": "they add up", "error": "two of the same name are an error"}


def pages() -> dict[str, str]:
    """Each page's text by its path below the project."""
    return {"docs/reference/modelfile.md": "\n".join(_modelfile()) + "\n",
            "docs/reference/rules.md": "\n".join(rule_pages.reference()) + "\n"}


def _modelfile() -> Iterator[str]:
    yield from (
        "# Modelfile", "",
        "Made from the language's tables: `make golden` rewrites it. *Not yet* marks what this release reads and",
        "checks but does not act on; `modelkit check` says so too.", "",
        "## Instructions", "",
        "One to a line: the instruction in any case, a blank, its operands to the end of the line. A text of several",
        'lines stands between `"""` and `"""`. A comment is a line that starts with `#`. A block opens with `{` at the',
        "end of its line and closes with `}` on a line of its own.", "",
    )
    ollama = [row for row in INSTRUCTIONS.values() if row.ollama]
    ours = [row for row in INSTRUCTIONS.values() if not row.ollama and row.where != ("test",)]
    tests = [row for row in INSTRUCTIONS.values() if row.where == ("test",)]
    for title, rows in (("Ollama's", ollama), ("Ours", ours), ("In a TEST", tests)):
        yield from (f"### {title}", "")
        for row in rows:
            yield from _instruction(row)
    yield from ("## Parameters", "", "`PARAMETER name value`, with Ollama's names, values and defaults.", "")
    yield from _table("| name | value | default | meaning |", (
        (f"`{p.name}`", p.kind.says, _default(p.default), p.doc + _later(p.effective)) for p in PARAMETERS.values()))
    yield from ("Accepted and ignored, as Ollama does: " + ", ".join(f"`{name}`" for name in DEPRECATED) + ".", "")
    yield from ("Errors:", "")
    yield from _table("| name | removed | instead |", (
        (f"`{r.name}`", r.since or "never was one", r.instead) for r in REMOVED.values()))
    yield from ("## SERVE", "", "`SERVE key value`.", "")
    yield from _table("| key | value | default | meaning |", (
        (f"`{k.name}`", k.kind.says, _default(k.default), k.doc + _later(k.effective)) for k in SERVE_KEYS.values()))
    yield from _words()
    yield from _measures()


def _instruction(row: InstructionRow) -> Iterator[str]:
    where = ", ".join(_WHERE[place] for place in row.where)
    yield from (f"#### {row.keyword}", "", f"`{row.keyword}` {row.operands}", "", row.doc + _later(row.effective), "",
                f"Where: {where}. Repeated: {_REPEATED[row.repeated]}.", "", "```modelfile", row.example, "```", "")


def _words() -> Iterator[str]:
    stages = ", ".join(f"`{stage}` on `{engine}`" for stage, engine in DEFAULT_ENGINE.items())
    yield from ("## Engines", "", f"Without ENGINE: {stages}.", "")
    yield from _table("| engine | meaning |", ((f"`{e.name}`", e.doc + _later(e.effective)) for e in ENGINES.values()))
    yield from ("## Platforms", "", f"Without PLATFORM: `{DEFAULT_PLATFORM}`.", "")
    yield from _table("| platform | meaning |", (
        (f"`{p.name}`", p.doc + (" Experiments only." if p.experiments_only else "") + _later(p.effective))
        for p in PLATFORMS.values()))
    yield from ("## Quantization", "",
                f"`{AUTO}` may be followed by `>= TYPE`, `speed >= N tok/s` and `imatrix FILE`.", "",
                "A GGUF type may be followed by `imatrix FILE`: an importance matrix, in llama.cpp's format. A stage "
                "on an engine that loads the other form gets the same numbers, written out in full.", "")
    yield from _table("| word | bits a weight | form | importance matrix |", (
        (f"`{p.name}`" + _later(p.effective), f"{p.bits:g}" if p.name != "none" else "the base's", p.form,
         "needed" if p.needs_imatrix else "possible" if p.form == "gguf" else "") for p in PRECISIONS.values()))
    yield from ("## Policies", "")
    yield from _table("| policy | meaning |", ((f"`{p.name}`", p.doc + _later(p.effective)) for p in POLICIES.values()))


def _measures() -> Iterator[str]:
    yield from ("## EXPECT in a stage", "", "`EXPECT metric op value`, with `< <= == != >= >`; `ADVISORY` after it: "
                "measured and shown, and it stops nothing.", "")
    yield from _table("| metric | value | meaning |", (
        (f"`{m.name}`", m.kind.says, m.doc + _later(m.effective)) for m in (*METRICS.values(), EVAL)))
    yield from ("## EXPECT in a test", "", "`EXPECT [not] kind operand`, on the last answer.", "")
    yield from _table("| kind | meaning | example |", (
        (f"`{a.name}`", a.doc, f"`{a.example}`") for a in ASSERTIONS.values()))


def _default(value: Scalar | None) -> str:
    if value is None:
        return ""
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _later(effective: bool) -> str:
    return "" if effective else NOT_YET


def _table(head: str, rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield head
    yield "|" + "---|" * (head.count("|") - 1)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""
