"""What the word under the cursor means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from modelkit.language.checking.parts import Operands
from modelkit.language.document import Block, Instruction, Value, Word
from modelkit.language.engine_words import ENGINES, PLATFORMS
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.language.kinds import Kind, Scalar, Wrong
from modelkit.language.parameters import PARAMETERS
from modelkit.language.policies import POLICIES
from modelkit.language.serve import SERVE_KEYS
from modelkit.language.source import Span
from modelkit.lsp import names
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.becomes import ANY_TEXT, becomes
from modelkit.lsp.meanings import of_expectation, of_flag, of_precision, of_reference, of_try, of_unset
from modelkit.lsp.pages import former_parameter, instruction_page, parameter_page, rule_page, serve_page, word_page

_RULE = re.compile(r"[a-z][a-z0-9-]+")


@dataclass(frozen=True)
class Said:
    """Markdown about the text in `span`."""

    text: str
    span: Span


def hover(analysis: Analysis, offset: int) -> Said | None:
    """What is known of the word at an offset; None where that is nothing, as in prose."""
    if (name := names.at(analysis.document, offset)) is not None:
        return Said(_of_name(analysis, name), name.span)
    for token in analysis.document.tokens:
        if token.kind == "COMMENT" and token.span.start <= offset <= token.span.end:
            return _of_comment(token.text, token.span.start, offset)
    for item in analysis.document.items:
        if not isinstance(item, (Instruction, Block)) or not item.span.start <= offset <= item.span.end:
            continue
        if _on(item.keyword, offset):
            return Said(_of_keyword(item.keyword.text.upper()), item.keyword.span)
        inner = item if isinstance(item, Instruction) else next(
            (one for one in item.body if isinstance(one, Instruction) and one.span.start <= offset <= one.span.end),
            None)
        return _of_instruction(analysis, inner, offset) if inner is not None else None
    return None


def _of_keyword(keyword: str) -> str:
    page = instruction_page(INSTRUCTIONS[keyword])
    table = becomes(_TEXTS[keyword], ANY_TEXT) if keyword in _TEXTS else ""
    return f"{page}\n\n{table}" if table else page


_TEXTS = {"SYSTEM": "system", "MESSAGE": "messages", "TEMPLATE": "template"}
"""Instructions that are settings of the engines by themselves, whatever their text."""


def _on(word: Word | None, offset: int) -> bool:
    return word is not None and bool(word.text) and word.span.start <= offset <= word.span.end


def _of_instruction(analysis: Analysis, instruction: Instruction, offset: int) -> Said | None:
    keyword = instruction.keyword.text.upper()
    if _on(instruction.keyword, offset):
        return Said(_of_keyword(keyword), instruction.keyword.span)
    if keyword in ("PARAMETER", "SERVE") and instruction.name is not None:
        on_name = _on(instruction.name, offset)
        text = _of_setting(analysis, keyword, instruction.name.text, instruction.value)
        return Said(text, instruction.name.span if on_name else instruction.value.span) if text else None
    for index, word in enumerate(_words(instruction.value)):
        if _on(word, offset):
            text = _of_word(analysis, keyword, instruction, index, offset)
            return Said(text, word.span) if text else None
    return None


def _words(value: Value) -> Iterator[Word]:
    operands = Operands(value)
    while (word := operands.word()).text:
        yield word


def _of_setting(analysis: Analysis, keyword: str, name: str, value: Value) -> str:
    """A PARAMETER or a SERVE key, and what this value of it becomes on each engine."""
    if keyword == "PARAMETER":
        parameter = PARAMETERS.get(name)
        if parameter is None:
            return former_parameter(name)
        page, setting, kind, default = parameter_page(parameter), name, parameter.kind, parameter.default
    else:
        key = SERVE_KEYS.get(name)
        if key is None:
            return ""
        page, setting, kind, default = serve_page(key), f"serve.{name}", key.kind, key.default
    said = _scalar(kind, value.text, default)
    table = becomes(setting, said, context_length=_context_length(analysis)) if said is not None else ""
    return f"{page}\n\n{table}" if table else page


def _scalar(kind: Kind, text: str, default: Scalar | None) -> Scalar | None:
    read = kind.read(text)
    return default if isinstance(read, Wrong) else read


def _context_length(analysis: Analysis) -> int | None:
    for one in analysis.said("PARAMETER"):
        if one.name is not None and one.name.text == "num_ctx":
            read = PARAMETERS["num_ctx"].kind.read(one.value.text)
            return read if isinstance(read, int) else None
    return None


def _of_word(analysis: Analysis, keyword: str, instruction: Instruction, index: int, offset: int) -> str:
    """An operand of the instructions that take words of a list."""
    words = [word.text for word in _words(instruction.value)]
    word = words[index]
    if keyword in ("FROM", "ADAPTER", "DRAFT"):
        return of_reference(analysis, word) if index == 0 else ""
    if keyword == "QUANTIZE":
        return of_precision(word)
    if keyword == "FLAG":
        return of_flag(analysis, words[0], offset)
    if keyword == "UNSET":
        return of_unset(words, index)
    if keyword == "TRY":
        return of_try(words, index)
    if keyword == "EXPECT":
        return of_expectation(word)
    rows = {"ENGINE": ENGINES, "PLATFORM": PLATFORMS}.get(keyword)
    if rows is not None and index == 0 and (row := rows.get(word.lower())) is not None:
        return word_page(f"`{keyword} {row.name}`", row.doc, row.effective)
    if keyword == "POLICY" and (policy := POLICIES.get(word)) is not None:
        return word_page(f"`POLICY {policy.name}`", policy.doc, policy.effective)
    return ""


def _of_name(analysis: Analysis, name: names.Name) -> str:
    if name.kind == "variable":
        given = next((one.value.text for one in analysis.said("ARG") if one.value.text.split()[:1] == [name.text]), "")
        default = given.partition(" ")[2].strip()
        return word_page(f"`ARG {name.text}`", f"Default: `{default}`." if default else "No default.")
    if name.kind == "adapter":
        return word_page(f"`{name.text}`", "The model name that chooses this adapter, for clients.")
    return _of_stage(analysis, name.text)


def _of_stage(analysis: Analysis, stage: str) -> str:
    """What a stage is in the end: its lineage, its engine, its platform."""
    lineage, base = [stage], analysis.stages.get(stage, "")
    while base and base not in lineage:
        lineage.append(base)
        base = analysis.stages.get(base, "")
    engine, versions = analysis.engine(stage)
    platform = next((one.value.text for one in analysis.said("PLATFORM", stage)), "process")
    said = f"Runs `{engine}`{f' {versions}' if versions else ''} on `{platform}`."
    return word_page(f"`STAGE {stage}`" + "".join(f" extends `{one}`" for one in lineage[1:]), said)


def _of_comment(text: str, start: int, offset: int) -> Said | None:
    """The rule that a comment silences."""
    if "modelkit:" not in text:
        return None
    for found in _RULE.finditer(text):
        span = Span(start + found.start(), start + found.end())
        if span.start <= offset <= span.end and (page := rule_page(found[0])):
            return Said(page, span)
    return None
