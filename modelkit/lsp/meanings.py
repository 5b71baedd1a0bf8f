"""What one operand means: words of the language's lists, flags, references."""

from __future__ import annotations

from pathlib import Path

from modelkit.language.assertions import ASSERTIONS
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.language.metrics import metric
from modelkit.language.parameters import PARAMETERS
from modelkit.language.policies import POLICIES
from modelkit.language.quantization import AUTO, precision
from modelkit.language.serve import SERVE_KEYS
from modelkit.lsp import nearby
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.becomes import becomes
from modelkit.lsp.cursor import cursor
from modelkit.lsp.pages import former_parameter, instruction_page, parameter_page, serve_page, word_page


def of_precision(word: str) -> str:
    if word.lower() == AUTO:
        return word_page("`QUANTIZE auto`", "The best that fits memory and meets the speed.")
    if (row := precision(word)) is None:
        return ""
    title = f"`QUANTIZE {row.name}`" + ("" if row.name == "none" else f" · about {row.bits:g} bits a weight")
    need = " Needs an importance matrix." if row.needs_imatrix else ""
    page = word_page(title, row.doc + need, row.effective)
    return f"{page}\n\n{becomes('quantize', row.name)}".strip()


def of_flag(analysis: Analysis, word: str, offset: int) -> str:
    here = cursor(analysis.document, offset)
    engine, versions = analysis.engine(here.block if here.room == "stage" else "")
    flag, known = nearby.flag_of(engine, versions, word), nearby.flag_table(engine, versions)
    if flag is None or known is None:
        return ""
    also = [f"`{one}`" for one in flag.words if one != flag.flag and one not in flag.hidden]
    return word_page(f"`{flag.flag}` · {nearby.flag_shape(flag)}", "\n\n".join(part for part in (
        f"A flag of {known.engine} {known.version}, passed as written." + " Deprecated." * flag.deprecated,
        "Also: " + ", ".join(also) if also else "",
        "One of: " + ", ".join(f"`{choice}`" for choice in flag.choices) if flag.choices else "") if part))


def of_unset(words: list[str], index: int) -> str:
    instruction = words[0].upper()
    if index == 0:
        row = INSTRUCTIONS.get(instruction)
        return instruction_page(row) if row is not None else ""
    return _of_key(instruction, words[index])


def of_try(words: list[str], index: int) -> str:
    swept = words[0].upper()
    if index == 0:
        return instruction_page(INSTRUCTIONS[swept]) if swept in INSTRUCTIONS else ""
    if swept == "QUANTIZE":
        return of_precision(words[index])
    return _of_key(swept, words[index]) if index == 1 else ""


def _of_key(instruction: str, word: str) -> str:
    if instruction == "PARAMETER":
        return parameter_page(PARAMETERS[word]) if word in PARAMETERS else former_parameter(word)
    if instruction == "SERVE" and word in SERVE_KEYS:
        return serve_page(SERVE_KEYS[word])
    if instruction == "POLICY" and word in POLICIES:
        return word_page(f"`POLICY {word}`", POLICIES[word].doc, POLICIES[word].effective)
    return of_expectation(word) if instruction == "EXPECT" else ""


def of_expectation(word: str) -> str:
    if (row := metric(word)) is not None:
        return word_page(f"`EXPECT {word}` · {row.kind.says}", row.doc, row.effective)
    if (kind := ASSERTIONS.get(word)) is not None:
        return word_page(f"`EXPECT [not] {kind.name}`", f"{kind.doc}\n\n```modelfile\n{kind.example}\n```")
    return ""


def of_reference(analysis: Analysis, word: str) -> str:
    """What is meant, in its canonical spelling, and whether it is on this machine."""
    from modelkit.failure import Failure
    from modelkit.models.reference import Reference

    if analysis.folder is None:
        return ""
    try:
        reference = Reference.parse(word, analysis.folder)
    except Failure as failure:
        return str(failure)
    kinds = {"path": "a file or folder", "pypi": "a file in a wheel from PyPI", "ollama": "Ollama's registry",
             "hf": "Hugging Face", "oci": "a container registry", "https": "a URL"}
    stored = nearby.stored(reference.text)
    here = f"On this machine: {stored}." if stored else "Not on this machine: `modelkit pull` brings it."
    if reference.path is not None:
        here = "It is there." if _exists(reference.path) else "**It is not there.**"
    always = "always the same bytes" if reference.pinned else "may mean other bytes tomorrow; the lock pins it"
    return "\n\n".join((f"`{reference.text}`", f"From {kinds[reference.kind]}; {always}.", here))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
