"""What a row of the language's tables says, as Markdown: for hovers, and beside completions."""

from __future__ import annotations

from modelkit.language.instructions import InstructionRow
from modelkit.language.kinds import Scalar
from modelkit.language.parameters import DEPRECATED, REMOVED, Parameter
from modelkit.language.serve import ServeKey

NOT_YET = "*Read and checked, but not yet acted on.*"
_WHERE = {"file": "the file", "stage": "a STAGE", "test": "a TEST"}
_REPEATED = {"last": "the last one wins", "last per name": "the last one wins for each name", "appended": "they add up",
             "error": "two of the same name are an error"}


def instruction_page(row: InstructionRow) -> str:
    """An instruction: its shape, what it is for, where it may stand, an example."""
    where = ", ".join(_WHERE[place] for place in row.where)
    return _paragraphs(f"`{row.keyword}` {row.operands}", row.doc, "" if row.effective else NOT_YET,
                       f"Stands in {where}. Repeated: {_REPEATED[row.repeated]}." + " Ollama's own." * row.ollama,
                       f"```modelfile\n{row.example}\n```")


def parameter_page(row: Parameter) -> str:
    """A parameter of Ollama's table."""
    return _paragraphs(f"`PARAMETER {row.name}` · {row.kind.says}", row.doc, _default(row.default),
                       "" if row.effective else NOT_YET)


def serve_page(row: ServeKey) -> str:
    """A key of SERVE."""
    return _paragraphs(f"`SERVE {row.name}` · {row.kind.says}", row.doc, _default(row.default),
                       "" if row.effective else NOT_YET)


def former_parameter(name: str) -> str:
    """A parameter that is ignored or gone; "" for any other word."""
    if name in DEPRECATED:
        return _paragraphs(f"`PARAMETER {name}`", "Accepted and ignored, as Ollama does.")
    if (row := REMOVED.get(name)) is None:
        return ""
    gone = f"Ollama removed it in {row.since}." if row.since else "It never was a parameter."
    return _paragraphs(f"`PARAMETER {name}`", f"{gone} Instead: {row.instead}.")


def rule_page(id: str) -> str:
    """A rule of the checker; "" for a word that is none."""
    from modelkit.findings.examine import rules

    rule = rules().get(id)
    if rule is None:
        return ""
    return _paragraphs(f"**{rule.severity.value}** `{rule.id}` · {rule.summary}", rule.why, rule.help)


def word_page(title: str, doc: str, effective: bool = True) -> str:
    """One word of a list: an engine, a platform, a policy, a precision, a metric, a check."""
    return _paragraphs(title, doc, "" if effective else NOT_YET)


def _default(value: Scalar | None) -> str:
    if value is None:
        return "Default: depends on the stage, the model, the engine or the machine."
    return f"Default: `{str(value).lower() if isinstance(value, bool) else value}`."


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
