"""The instructions that choose one of a table's words: ENGINE, PLATFORM, QUANTIZE, POLICY.

Each function reads one value, or reports what is wrong and returns None.
"""

from __future__ import annotations

import re

from modelkit.language.checking.context import Context, shown
from modelkit.language.checking.parts import Operands, whole
from modelkit.language.checking.versions import version_problem
from modelkit.language.document import Value, Word
from modelkit.language.engine_words import ENGINE_SYNONYMS, ENGINES, PLATFORM_SYNONYMS, PLATFORMS
from modelkit.language.metrics import Rate
from modelkit.language.modelfile import EngineChoice, Quantization
from modelkit.language.policies import POLICIES
from modelkit.language.quantization import AUTO, OTHER_WORDS, PRECISIONS, precision
from modelkit.language.rules.meaning import (
    BAD_VALUE,
    BAD_VERSION_RANGE,
    UNKNOWN_ENGINE,
    UNKNOWN_PLATFORM,
    UNKNOWN_POLICY,
    UNKNOWN_QUANTIZATION,
)
from modelkit.language.rules.production import PLATFORM_FOR_EXPERIMENTS

_AUTO = re.compile(r"(?:>=\s*(?P<type>[^\s<>=]+))?\s*(?:speed\s*>=\s*(?P<speed>\S.*?))?"
                   r"(?:(?:^|\s+)imatrix\s+(?P<imatrix>\S.*))?")


def read_engine(value: Value, context: Context) -> EngineChoice | None:
    """`vllm >=0.32,<0.34`."""
    operands = Operands(value)
    word, rest = operands.word(), operands.rest()
    row = ENGINES.get(word.text.lower())
    if row is None:
        glued = re.match(r"[A-Za-z.-]+(?=[<>=~!])", word.text)
        if glued and glued[0].lower() in ENGINES:
            hint = f"leave a blank between the name and the range: `{glued[0]} {word.text[glued.end() :]}`"
            context.report.add(UNKNOWN_ENGINE, f"no engine is called `{shown(word.text)}`", word.span, hint=hint,
                               fix=context.fix(word, f"{glued[0]} {word.text[glued.end() :]}", safe=True))
        else:
            context.unknown(UNKNOWN_ENGINE, "engine", word, ENGINES, others=ENGINE_SYNONYMS)
        return None
    if rest.text and (problem := version_problem(rest.text)) is not None:
        context.report.add(BAD_VERSION_RANGE, problem.message, rest.span, hint=problem.hint)
        return None
    if not row.effective:
        context.later(f"ENGINE {row.name}", value.span, hint="a stage on it cannot be started in this release")
    return EngineChoice(row.name, re.sub(r"\s+", "", rest.text))


def read_platform(value: Value, context: Context, experiments: bool) -> str | None:
    """`process`. `experiments` says whether the desktop programs may stand here."""
    row = PLATFORMS.get(value.text.lower())
    if row is None:
        context.unknown(UNKNOWN_PLATFORM, "platform", whole(value), PLATFORMS, others=PLATFORM_SYNONYMS)
        return None
    if row.experiments_only and not experiments:
        context.report.add(PLATFORM_FOR_EXPERIMENTS, f"`{row.name}` is a platform for experiments only", value.span,
                           hint="move it into `STAGE experiment`")
        return None
    if not row.effective:
        context.later(f"PLATFORM {row.name}", value.span)
    return row.name


def read_quantization(value: Value, context: Context) -> Quantization | None:
    """`Q4_K_M [imatrix FILE]`, `fp8`, `none`; `auto [>= TYPE] [speed >= N tok/s] [imatrix FILE]`."""
    operands = Operands(value)
    word, rest = operands.word(), operands.rest()
    if word.text.lower() != AUTO:
        row = precision(word.text)
        if row is None:
            context.unknown(UNKNOWN_QUANTIZATION, "quantization", word, (*PRECISIONS, AUTO), others=OTHER_WORDS)
        elif not rest.text:
            return Quantization(row.name)
        elif row.form != "gguf" or (given := re.fullmatch(r"imatrix\s+(\S.*)", rest.text)) is None:
            more = "`imatrix FILE`" if row.form == "gguf" else "nothing: only `auto` and GGUF types take more"
            message = f"`{shown(rest.text)}` follows `{row.name}`; it may be {more}"
            context.report.add(BAD_VALUE, message, rest.span)
        else:
            return Quantization(row.name, imatrix=given[1])
        return None
    match = _AUTO.fullmatch(rest.text)
    if match is None:
        context.report.add(BAD_VALUE, f"`auto` is followed by `{shown(rest.text)}`; it must be `>= TYPE`, "
                           "`speed >= N tok/s`, `imatrix FILE`, or several in this order", rest.span)
        return None
    least = precision(match["type"]) if match["type"] else None
    if match["type"] and (least is None or least.form == "any"):
        types = [name for name, row in PRECISIONS.items() if row.form != "any"]
        context.unknown(UNKNOWN_QUANTIZATION, "quantization", Word(match["type"], rest.span), types)
        return None
    speed = context.value("speed", Rate(), match["speed"], rest.span) if match["speed"] else None
    if match["speed"] and speed is None:
        return None
    return Quantization(AUTO, least.name if least else None, float(speed) if speed is not None else None,
                        match["imatrix"])


def read_policy(value: Value, context: Context) -> str | None:
    """`locked`."""
    row = POLICIES.get(value.text)
    if row is None:
        context.unknown(UNKNOWN_POLICY, "policy", whole(value), POLICIES, others={"license": "licence"})
        return None
    if not row.effective:
        context.later(f"POLICY {row.name}", value.span)
    return row.name
