"""What a Modelfile's words mean: names that nothing has, values out of range, blocks that contradict each other."""

from __future__ import annotations

from modelkit.language.rules.family import Family

MEANING = Family("meaning", "Words that no table has, values out of range, and blocks that contradict each other.")

UNKNOWN_PARAMETER = MEANING.error(
    "unknown-parameter",
    "A PARAMETER has a name that no parameter has.",
    why="Parameters are Ollama's twenty; a name beyond them would change nothing, so it is an error and not a guess. "
    "What concerns serving is a SERVE key, and an engine's own flag is a FLAG.",
    help="Correct the name; the reference lists all of them.",
)
BAD_VALUE = MEANING.error(
    "bad-value",
    "A value is of the wrong kind, or out of range.",
    why="Numbers and booleans are read as Ollama reads them: no `4k`, no `1_000`, no `yes`, nothing behind them on "
    "the line. Ranges are those that every engine accepts.",
    help="Write a value that the message names.",
)
UNKNOWN_SERVE_KEY = MEANING.error(
    "unknown-serve-key",
    "A SERVE key that does not exist.",
    why="SERVE holds the settings that any engine may have. An engine's own setting is a FLAG.",
    help="Correct the key, or write `FLAG --the-engines-flag value` in a stage.",
)
UNKNOWN_ENGINE = MEANING.error(
    "unknown-engine",
    "An ENGINE that does not exist.",
    why="The engine decides how everything else is passed on, so it must be one that modelkit knows.",
    help="Name one of the engines in the reference, in the form `ENGINE vllm >=0.32`.",
)
UNKNOWN_PLATFORM = MEANING.error(
    "unknown-platform",
    "A PLATFORM that does not exist.",
    why="The platform decides what keeps the engine running, so it must be one that modelkit knows.",
    help="Name one of the platforms in the reference.",
)
UNKNOWN_QUANTIZATION = MEANING.error(
    "unknown-quantization",
    "A QUANTIZE word that does not exist.",
    why="It is a GGUF type such as `Q4_K_M`, one of `fp8 int8 awq gptq w4a16 nvfp4 none`, or `auto`.",
    help="Correct the word. `auto` may be followed by `>= TYPE`, `speed >= N tok/s` and `imatrix FILE`.",
)
UNKNOWN_POLICY = MEANING.error(
    "unknown-policy",
    "A POLICY that does not exist.",
    why="A policy that nobody checks would be worse than none.",
    help="Name one of the policies in the reference.",
)
UNKNOWN_METRIC = MEANING.error(
    "unknown-metric",
    "An EXPECT of a stage names something that is not measured.",
    why="A gate on an unknown metric could never be met, or never fail.",
    help="Name one of the metrics in the reference, such as `ttft.p95`.",
)
UNKNOWN_ASSERTION = MEANING.error(
    "unknown-assertion",
    "An EXPECT of a test names a check that does not exist.",
    why="A check that does not exist would never fail.",
    help="Name one of the kinds in the reference, such as `contains`.",
)
BAD_VERSION_RANGE = MEANING.error(
    "bad-version-range",
    "The version range of an ENGINE cannot be read, or holds no version.",
    why="A range is made of comparisons as Python packages write them: `>=0.32,<0.34`, `==0.32.1`, `~=0.32.0`.",
    help="Write the operator before each version, and commas between.",
)
BAD_NAME = MEANING.error(
    "bad-name",
    "A name holds characters that it cannot have.",
    why="A NAME stands in URLs and requests, a stage's name on command lines; both are kept to letters, digits and "
    "`. _ -`, a NAME also to `/` and `:` between its parts.",
    help="Choose a name of those characters that starts with a letter or a digit.",
)
BAD_FLAG = MEANING.error(
    "bad-flag",
    "A FLAG is not an engine's flag.",
    why="A flag is passed on as written, so it starts with `-`, and its value follows after a blank.",
    help="Write `FLAG --enforce-eager` or `FLAG --max-num-batched-tokens 4096`.",
)
BAD_UNSET = MEANING.error(
    "bad-unset",
    "An UNSET names something that cannot be dropped.",
    why="UNSET drops what the base or an outer block may have set: an instruction, and for PARAMETER, SERVE, FLAG, "
    "POLICY and EXPECT one name of it.",
    help="Write `UNSET SYSTEM` or `UNSET PARAMETER stop`.",
)
USELESS_UNSET = MEANING.warning(
    "useless-unset",
    "An UNSET drops what its own block says.",
    why="Within one block the later line wins, so the earlier one has no effect.",
    help="Remove one of the two lines.",
)
UNKNOWN_STAGE = MEANING.error(
    "unknown-stage",
    "A STAGE that is not known and extends none.",
    why="`experiment`, `dev` and `prod` are known and decide the defaults. Another name says nothing about them, "
    "so it extends one that does.",
    help="Correct the name, or write `STAGE name EXTENDS prod {`.",
)
UNKNOWN_STAGE_EXTENDS = MEANING.error(
    "unknown-stage-extends",
    "A STAGE extends one that does not exist.",
    why="The stage after EXTENDS is `experiment`, `dev`, `prod` or another STAGE of this file.",
    help="Correct the name after EXTENDS.",
)
EXTENDS_CYCLE = MEANING.error(
    "extends-cycle",
    "Stages extend each other in a circle.",
    why="Each stage's settings lie on those of the stage it extends; in a circle there is no lowest one.",
    help="Remove one EXTENDS.",
)
DUPLICATE_STAGE = MEANING.error(
    "duplicate-stage",
    "Two STAGE blocks have the same name.",
    why="It would be unclear whether the second adds to the first or replaces it.",
    help="Merge the two blocks into one.",
)
DUPLICATE_TEST = MEANING.error(
    "duplicate-test",
    "Two TESTs have the same title.",
    why="Results are recorded by title.",
    help="Give one of them another title.",
)
EMPTY_TEST = MEANING.error(
    "empty-test",
    "A TEST has no USER turn, or no EXPECT.",
    why="Without a question there is no answer, and without an expectation the test cannot fail.",
    help="Add a `USER` line and at least one `EXPECT`.",
)
BAD_REFERENCE = MEANING.error(
    "bad-reference",
    "A reference is neither a model's name, a URL of a known kind, nor a path.",
    why="Names hold no blanks, and URLs start with `hf`, `ollama`, `oci`, `https`, `pypi` or `file`.",
    help="Correct it; a path starts with `./`, `../`, `/` or `~`.",
)
NOT_YET = MEANING.warning(
    "not-yet",
    "Something is understood but does nothing in this release.",
    why="The language is ahead of this release: the line is read and checked, so that it need not change later, but "
    "it has no effect yet.",
    help="Keep the line if it does no harm to have it ignored.",
)
MISSING_ARGUMENT = MEANING.error(
    "missing-argument",
    "An ARG has neither a default nor a value from the command line.",
    why="What the file means is not known without it.",
    help="Write a default after the name, or set it: `--arg NAME=value`.",
)
UNKNOWN_VARIABLE = MEANING.error(
    "unknown-variable",
    "A `${NAME}` that no ARG declares, in a file that has ARGs.",
    why="In such a file `${…}` is replaced everywhere, texts and templates too; a name that stayed as it is would "
    "reach the model. A file without ARG keeps `${…}` as it is, as Ollama does.",
    help="Correct the name, declare it with ARG, or write `$${NAME}` for the text `${NAME}` itself.",
)
UNREADABLE_FILE = MEANING.error(
    "unreadable-file",
    "A SYSTEMFILE or TEMPLATEFILE that is missing, too large, or cannot be read.",
    why="Its text is what the model reads. The path is relative to the Modelfile; the file may have 1 MiB.",
    help="Correct the path, or put the text itself into SYSTEM or TEMPLATE.",
)
NEEDS_LATER_RELEASE = MEANING.error(
    "needs-later-release",
    "Something is understood, cannot be done in this release, and cannot be left out.",
    why="The model would behave otherwise than the file says, for example for another task.",
    help="Remove the line, or say the same in a way that the hint names.",
)
TEST_CANNOT_PASS = MEANING.warning(
    "test-cannot-pass",
    "Two EXPECTs of a test contradict each other.",
    why="The same check is wanted and excluded, so no answer passes.",
    help="Remove one of the two.",
)
TEST_ENDS_WITH_ANSWER = MEANING.warning(
    "test-ends-with-answer",
    "A TEST's conversation ends with an ASSISTANT turn.",
    why="The expectations are about the answer that the model gives next, and after an answer nobody has asked "
    "anything.",
    help="End with a USER or TOOL turn; what the answer should be goes into EXPECT.",
)
GATE_WITHOUT_TESTS = MEANING.warning(
    "gate-without-tests",
    "A stage expects tests to pass, and the file has none.",
    why="The part of no tests that pass is nothing, so the gate says nothing.",
    help="Add a `TEST`, or remove the line.",
)
