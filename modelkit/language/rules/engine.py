"""What an engine, or a version of it, does not have. What is known of engines is data; `engines.checking` asks it."""

from __future__ import annotations

from modelkit.language.rules.family import Family

ENGINE = Family("engine", "What the engine of a stage, or the version that its range means, does not have.")

FLAG_NOT_IN_ENGINE = ENGINE.error(
    "flag-not-in-engine",
    "A FLAG is not one of this version of the engine.",
    why="A flag is passed as it is written, and the engine would end at its start.",
    help="Correct it, or widen ENGINE's range to a version that has it.",
)
FLAG_NOT_YOURS = ENGINE.error(
    "flag-not-yours",
    "A FLAG says what modelkit says itself.",
    why="Where the engine listens, what a request means and what code it runs follow from the file. A flag beside that "
    "would make the engine something else than the plan says, so `up` refuses it.",
    help="Use the instruction or the SERVE key that means it.",
)
FLAG_BREAKS_IN_RANGE = ENGINE.warning(
    "flag-breaks-in-range",
    "A version that ENGINE allows lacks a flag that this stage uses.",
    why="The range promises that the stage runs on every version in it.",
    help="Narrow the range, or drop the flag.",
)
FLAG_CHANGES = ENGINE.info(
    "flag-changes",
    "Another version of the engine changes a flag that this stage uses.",
    why="What a version bump removes, renames or changes is cheaper to know beforehand.",
    help="`modelkit engine diff` shows everything that changes between two versions.",
)
UNKNOWN_PARSER = ENGINE.error(
    "unknown-parser",
    "A parser of tool calls or of reasoning that the engine does not have.",
    why="The engine would end at its start.",
    help="Write one of the engine's parsers, or leave the line out: modelkit knows most models' by their template.",
)
UNKNOWN_ACCELERATOR = ENGINE.error(
    "unknown-accelerator",
    "`SERVE accelerator` names no GPU that is known.",
    why="Precisions and memory are checked against the GPU, and a cluster is asked for it by this name.",
    help="Name an NVIDIA GPU as its maker does (`L4`, `A100-80GB`, `H100`), or `cpu`.",
)
LOST_SETTING = ENGINE.info(
    "lost-setting",
    "A setting of a stage does nothing on the stage's engine.",
    why="Each engine has settings that another one lacks. The plan says what is lost, and here it is said by the stage "
    "itself, for that engine.",
    help="Remove the line from the stage, or do what the message says.",
)
LOST_UNDER_STRICT = ENGINE.error(
    "lost-under-strict",
    "A setting is lost on the engine of a stage with `POLICY strict`.",
    why="The policy promises that nothing is lost, so `up` refuses the stage.",
    help="Move the setting into the stages whose engine has it, or drop it here with UNSET.",
)
ENGINE_VULNERABLE = ENGINE.warning(
    "engine-vulnerable",
    "The version of the engine has a grave weakness that is known.",
    why="It is rated high or critical by the CVSS, and is out in the open.",
    help="Allow the version that mends it.",
)
ENGINE_ADVISORY = ENGINE.info(
    "engine-advisory",
    "A weakness is known of a version that the stage may run on.",
    why="A range that goes back behind a fix lets a vulnerable version in.",
    help="Raise ENGINE's lower bound to the fixed version.",
)
