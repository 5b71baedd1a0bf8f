"""The instructions whose operands have a shape of their own: FLAG, ADAPTER, UNSET, a stage's EXPECT, REPEAT.

Each function reads one value, or reports what is wrong and returns None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelkit.language.checking.context import Context, shown
from modelkit.language.checking.parts import Operands, place
from modelkit.language.checking.references import check_reference
from modelkit.language.document import Value, Word
from modelkit.language.engine_words import ENGINES
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.language.kinds import Whole, Wrong, one_of
from modelkit.language.metrics import METRIC_SYNONYMS, METRICS, OPERATORS, metric, metric_names
from modelkit.language.modelfile import Adapter, Expectation, Flag, Unset
from modelkit.language.names import MODEL_NAME
from modelkit.language.parameters import PARAMETERS
from modelkit.language.policies import POLICIES
from modelkit.language.rules.meaning import BAD_FLAG, BAD_NAME, BAD_UNSET, BAD_VALUE, UNKNOWN_METRIC
from modelkit.language.rules.production import SECRET_IN_FILE
from modelkit.language.serve import SERVE_KEYS
from modelkit.language.source import Span

_NAMES: Mapping[str, Mapping[str, object]] = {
    "PARAMETER": PARAMETERS, "SERVE": SERVE_KEYS, "POLICY": POLICIES, "EXPECT": METRICS, "FLAG": {},
}
_KEY_FLAGS = ("--api-key", "--api_key", "--hf-token", "--ssl-keyfile-password")


def read_flag(value: Value, context: Context) -> Flag | None:
    """`--enforce-eager`, `--seed 3`."""
    operands = Operands(value)
    word, rest = operands.word(), operands.rest()
    if not re.fullmatch(r"--?[A-Za-z][^\s\"']*", word.text):
        hint = "write the flag itself, inside the stage that runs the engine" if word.text.lower() in ENGINES else None
        message = f"`{shown(word.text)}` is not a flag; a flag starts with `-`"
        context.report.add(BAD_FLAG, message, word.span, hint=hint)
        return None
    flag, glued, _ = word.text.partition("=")
    if flag in _KEY_FLAGS and (rest.text or glued):
        context.report.add(SECRET_IN_FILE, f"`{flag}` is given a secret in the file", word.span,
                           hint="write `SERVE api_key env:NAME`" if "key" in flag else "keep it in the environment")
        return None
    unquoted = rest.text[1:-1] if len(rest.text) >= 2 and rest.text[0] == rest.text[-1] == '"' else rest.text
    return Flag(word.text, unquoted if rest.text else None)


def read_adapter(value: Value, context: Context) -> Adapter | None:
    """`./tone.gguf`, `./tone.gguf AS support-kind`."""
    match = re.fullmatch(r"(?P<reference>.*?\S)\s+[Aa][Ss](?:\s+(?P<name>\S.*)?)?", value.text, re.DOTALL)
    if match is None:
        check_reference(value, context)
        return Adapter(value.text)
    at = place(value, *match.span("reference"))
    check_reference(Value(match["reference"], at, at), context)
    if match["name"] is None:
        context.report.add(BAD_NAME, "`AS` names no model", value.span, hint="write a name after it, or leave it out")
        return None
    if not context.name("an adapter", MODEL_NAME, match["name"], place(value, *match.span("name"))):
        return None
    return Adapter(match["reference"], match["name"])


def read_unset(value: Value, context: Context) -> Unset | None:
    """`SYSTEM`, `PARAMETER temperature`."""
    operands = Operands(value)
    word, key = operands.word(), operands.rest()
    instruction = word.text.upper()
    row = INSTRUCTIONS.get(instruction)
    if row is None or not row.unset:
        can = [r.keyword for r in INSTRUCTIONS.values() if r.unset]
        if row is None:
            context.unknown(BAD_UNSET, "instruction", word, can)
        else:
            hint = f"UNSET takes {one_of(can)}"
            context.report.add(BAD_UNSET, f"`{instruction}` cannot be dropped", word.span, hint=hint)
        return None
    if not key.text:
        return Unset(instruction)
    names = _NAMES.get(instruction)
    if names is None:
        context.report.add(BAD_UNSET, f"`UNSET {instruction}` takes no name", key.span)
        return None
    if names and key.text not in names and not (instruction == "EXPECT" and metric(key.text)):
        context.unknown(BAD_UNSET, f"{instruction} name", key, names)
        return None
    return Unset(instruction, key.text)


def read_expectation(value: Value, context: Context) -> Expectation | None:
    """`ttft.p95 <= 500ms`, `memory <= 8GB ADVISORY`."""
    match = re.fullmatch(r"\s*(?P<metric>[^\s<>=!]*)\s*(?P<op>[<>=!]*)\s*(?P<value>.*?)"
                         r"(?P<advisory>\s+[Aa][Dd][Vv][Ii][Ss][Oo][Rr][Yy])?\s*", value.text, re.DOTALL)
    assert match is not None  # every part of the pattern may be empty

    def at(group: str) -> Span:
        return place(value, *match.span(group))

    row = metric(match["metric"])
    if row is None:
        family = [name for name in METRICS if name.split(".")[0] == match["metric"].split(".")[0].lower()]
        word = Word(match["metric"], at("metric"))
        context.unknown(UNKNOWN_METRIC, "metric", word, family or metric_names(), others=METRIC_SYNONYMS)
        return None
    op = next((known for known in OPERATORS if known == match["op"]), None)
    if op is None:
        now = f"is followed by `{match['op']}`" if match["op"] else "is compared with nothing"
        context.report.add(BAD_VALUE, f"`{match['metric']}` {now}; it must be {one_of(OPERATORS)}",
                           at("op") if match["op"] else value.span,
                           hint=f"write `EXPECT {match['metric']} <= …`" if not match["op"] else None)
        return None
    number = context.value(match["metric"], row.kind, match["value"].strip(), at("value"))
    if number is None:
        return None
    if not row.effective:
        context.later(f"EXPECT {match['metric']}", value.span)
    said = value.text[: match.start("advisory")] if match["advisory"] else value.text
    return Expectation(match["metric"], op, float(number), said.strip(), bool(match["advisory"]))


def read_repeat(value: Value, context: Context) -> tuple[int, int | None] | None:
    """`5`, `5 PASS 4`."""
    match = re.fullmatch(r"(\S+)(?:\s+[Pp][Aa][Ss][Ss]\s+(\S+))?", value.text)
    times = Whole(1, 1000).read(match[1]) if match else None
    needed = Whole(1, times).read(match[2]) if match and match[2] and isinstance(times, int) else None
    if not isinstance(times, int) or isinstance(needed, Wrong):
        context.report.add(BAD_VALUE, f"`REPEAT` is {shown(value.text)}; it must be a number from 1 to 1000, then "
                           "`PASS` and at most that number if you like", value.span)
        return None
    return times, needed
