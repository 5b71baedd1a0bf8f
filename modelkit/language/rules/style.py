"""What is right, and would be read more easily otherwise."""

from __future__ import annotations

from modelkit.language.rules.family import Family

STYLE = Family("style", "What is right, and would be read more easily otherwise.")

LOWER_CASE_INSTRUCTION = STYLE.info(
    "lower-case-instruction",
    "An instruction is not in capitals.",
    why="Any case is read. Capitals tell instructions from text at a glance, and all documentation has them.",
    help="Write it in capitals.",
)
FROM_NOT_FIRST = STYLE.info(
    "from-not-first",
    "FROM stands below what changes it.",
    why="A reader wants to know the model first; everything else is said about it. Only NAME, ARG and REQUIRES "
    "introduce it.",
    help="Move FROM to the top.",
)
DUPLICATE_STOP = STYLE.warning(
    "duplicate-stop",
    "A stop string is said twice.",
    why="The second one does nothing. Often another one was meant.",
    help="Remove it.",
)
DUPLICATE_LINE = STYLE.warning(
    "duplicate-line",
    "A line that adds something is said twice.",
    why="The same adapter, flag or expectation a second time does nothing. Often another one was meant.",
    help="Remove it.",
)
MULTI_LINE_QUOTE = STYLE.info(
    "multi-line-quote",
    "A text of several lines stands between single quotes.",
    why="It ends at the first line that ends with `\"`, so a quoted word at a line's end cuts it short one day.",
    help='Put it between `"""` and `"""`.',
)
EMPTY_STAGE = STYLE.info(
    "empty-stage",
    "A STAGE block of a known stage says nothing.",
    why="`experiment`, `dev` and `prod` are there without a block.",
    help="Remove the block, or say what the stage has of its own.",
)
REDUNDANT_OVERRIDE = STYLE.info(
    "redundant-override",
    "A stage repeats what it would have anyway.",
    why="The line looks like a difference between stages and is none; and it stays behind when the other is changed.",
    help="Remove it from the stage.",
)
SWEEP_OF_ONE = STYLE.info(
    "sweep-of-one",
    "A TRY has one value, or one of them twice.",
    why="A sweep compares values. With one there is nothing to compare, and the same one twice costs a run.",
    help="Add values, or write the instruction itself.",
)
UNSTEADY_TEST = STYLE.info(
    "unsteady-test",
    "A test wants one exact answer of a model that draws its words.",
    why="Tests are asked greedily unless they say a temperature or REPEAT. Above temperature 0 the same question has "
        "several answers, so the test passes with some seeds only.",
    help="Take the temperature out of the test, expect less than the whole answer, or let it `REPEAT n PASS m`.",
)
