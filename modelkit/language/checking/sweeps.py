"""`TRY instruction values…`: each value is checked as if it stood alone."""

from __future__ import annotations

from modelkit.language.checking.choices import read_engine, read_quantization
from modelkit.language.checking.context import Context
from modelkit.language.checking.parts import Operands
from modelkit.language.checking.settings import read_parameter, read_serve
from modelkit.language.document import Instruction, Value, Word
from modelkit.language.rules.meaning import BAD_VALUE
from modelkit.language.rules.style import SWEEP_OF_ONE
from modelkit.language.rules.syntax import INSTRUCTION_NOT_ALLOWED_HERE

SWEPT = ("QUANTIZE", "PARAMETER", "SERVE", "ENGINE")


def check_sweep(instruction: Instruction, context: Context, experiments: bool) -> None:
    """Reports what is wrong with a TRY. This release checks sweeps and does not run them."""
    if not experiments:
        context.report.add(INSTRUCTION_NOT_ALLOWED_HERE, "`TRY` can stand in an experiment only",
                           instruction.keyword.span, hint="move it into `STAGE experiment`")
        return
    operands = Operands(instruction.value)
    swept = operands.word()
    keyword = swept.text.upper()
    if keyword not in SWEPT:
        context.unknown(BAD_VALUE, "instruction to sweep", swept, SWEPT)
        return
    name = operands.word() if keyword in ("PARAMETER", "SERVE") else None
    values = []
    while (word := operands.word()).text:
        values.append(word)
    if not values:
        context.report.add(BAD_VALUE, f"`TRY {instruction.value.text}` names no values", instruction.value.span,
                           hint="write the values to try, with blanks between")
    said = [word.text.lower() for word in values]
    if len(values) == 1 or len(set(said)) < len(said):
        what = "has one value" if len(values) == 1 else "has a value twice"
        context.report.add(SWEEP_OF_ONE, f"this sweep {what}", instruction.value.span)
    # An experiment with one unknown name has one mistake, however many values follow it.
    for word in values:
        found = len(context.report.found)
        _check(keyword, name, word, context)
        if len(context.report.found) > found and name is not None and context.report.found[-1].span == name.span:
            return


def _check(keyword: str, name: Word | None, word: Word, context: Context) -> None:
    value = Value(word.text, word.span, word.span)
    if keyword == "PARAMETER" and name is not None:
        read_parameter(name, value, context)
    elif keyword == "SERVE" and name is not None:
        read_serve(name, value, context)
    elif keyword == "ENGINE":
        read_engine(value, context)
    else:
        read_quantization(value, context)
