"""Every rule of the language: the one table that the parser, the checker, the rule pages and `explain` read.

A rule's id is a slug that is never reused and never renumbered. `why` says what goes wrong for whom; `help` says what
to write instead. Both become the rule's page, so they are whole sentences.
"""

from __future__ import annotations

from modelkit.language.diagnostic import Rule, Severity

RULES: dict[str, Rule] = {}


def _rule(severity: Severity, slug: str, summary: str, why: str, help: str) -> Rule:
    assert slug not in RULES, f"two rules are called {slug}"
    RULES[slug] = rule = Rule(slug, severity, summary, why, help)
    return rule


def _error(slug: str, summary: str, *, why: str, help: str) -> Rule:
    return _rule(Severity.ERROR, slug, summary, why, help)


def _warning(slug: str, summary: str, *, why: str, help: str) -> Rule:
    return _rule(Severity.WARNING, slug, summary, why, help)


def _info(slug: str, summary: str, *, why: str, help: str) -> Rule:
    return _rule(Severity.INFO, slug, summary, why, help)


# shape

UNKNOWN_INSTRUCTION = _error(
    "unknown-instruction",
    "A line starts with a word that is no instruction.",
    why="Every line outside a quoted value starts with an instruction, a comment or a closing brace. Text of several "
    "lines without quotes ends at its first line, so its second line is read as an instruction.",
    help='Correct the word, or put text of several lines between `"""` and `"""`.',
)
MISSING_VALUE = _error(
    "missing-value",
    "An instruction has nothing after it.",
    why="An instruction's value starts on the instruction's own line; a line end right after the keyword or the "
    "parameter's name leaves it without one.",
    help="Write the value on the same line, after one space. `\"\"` is the empty text.",
)
MISSING_FROM = _error(
    "missing-from",
    "The file names no base model.",
    why="Everything else in a Modelfile changes a base model, so there must be one.",
    help="Add a line such as `FROM llama3.2` or `FROM ./model.gguf`.",
)
UNCLOSED_QUOTE = _error(
    "unclosed-quote",
    "A quoted value is never closed.",
    why="A value that starts with a quote ends only where a line ends with the same quote. A quote in the middle of "
    "a line, or text after the closing quote, does not end it: the value goes on to the end of the file.",
    help='End the line with the quote, and put comments on lines of their own. Text that merely begins with a quoted '
    'word goes between `"""` and `"""`.',
)
BAD_PARAMETER_NAME = _error(
    "bad-parameter-name",
    "A parameter's name holds a character that no name has.",
    why="A name is made of letters, digits and underscores, and one space ends it: `temperature=0.5` and `num-ctx` "
    "are not names.",
    help="Write `PARAMETER name value`, for example `PARAMETER num_ctx 4096`.",
)
BAD_ROLE = _error(
    "bad-role",
    "A MESSAGE has a role that does not exist.",
    why="The role is exactly `system`, `user` or `assistant`, in lower case, followed by one space.",
    help="Write `MESSAGE user Hello`. Tool results belong in a TEST, as `TOOL` turns.",
)
UNCLOSED_BLOCK = _error(
    "unclosed-block",
    "A STAGE or TEST block is never closed.",
    why="A block goes on until a line that holds nothing but `}`; without one the rest of the file would belong to it.",
    help="Put `}` alone on a line at the end of the block.",
)
STRAY_BRACE = _error(
    "stray-brace",
    "A closing brace closes nothing.",
    why="`}` ends the block that was opened last; here no block is open.",
    help="Remove the brace, or add the block's header above: `STAGE name {` or `TEST \"title\" {`.",
)
TEXT_AFTER_BRACE = _error(
    "text-after-brace",
    "Something follows a closing brace on its line.",
    why="`}` stands alone on its line, so that a block's end is seen at a glance and never hides in a value.",
    help="Move what follows to the next line.",
)
BAD_BLOCK_HEADER = _error(
    "bad-block-header",
    "A block's first line does not have the shape `KEYWORD operands {`.",
    why="A block opens with its keyword, what it is called, and `{` as the last character of the line.",
    help="Write `STAGE dev {` or `TEST \"title\" {`, and put the contents on the lines below.",
)
INSTRUCTION_NOT_ALLOWED_HERE = _error(
    "instruction-not-allowed-here",
    "An instruction stands where it has no meaning.",
    why="A stage overrides what the file says, a test holds a conversation, and blocks do not nest; the grammar "
    "says which instructions belong where.",
    help="Move the line to the place that the message names.",
)
BAD_ENCODING = _error(
    "bad-encoding",
    "The file is not text in UTF-8, nor in UTF-16 with a byte-order mark.",
    why="Without a byte-order mark the bytes are read as UTF-8; UTF-16 then shows as letters with NUL characters "
    "between them.",
    help="Save the file as UTF-8.",
)

# shape, accepted by Ollama in silence

QUOTE_SWALLOWS_INSTRUCTION = _warning(
    "quote-swallows-instruction",
    "A quoted value has taken in the instructions below it.",
    why="A quote closes only at the end of a line. When its own line does not end with it, the value runs on to the "
    "next line that does, and the instructions between become part of the text. Ollama says nothing.",
    help="Close the quote at the end of the line it belongs to, and remove what follows it there.",
)
INLINE_COMMENT = _warning(
    "inline-comment",
    "A `#` after a value is part of the value.",
    why="A comment is a line that starts with `#`. After a value, `# …` is text: a number with a comment behind it "
    "is no number, and a model name with one is another model.",
    help="Put the comment on the line above. If the `#` is meant, quote the value to say so.",
)
LITERAL_ESCAPE = _warning(
    "literal-escape",
    "A stop string holds a backslash and a letter, not the control character.",
    why="Values have no escapes: `\\n` is two characters that a model hardly ever writes, so the stop never fires.",
    help='Write a real line break between `"""` and `"""`.',
)
DELETED_CHARACTERS = _warning(
    "deleted-characters",
    "A value holds characters that are deleted when it is read.",
    why="Like Ollama, modelkit deletes what is not printable: zero-width joiners (emoji families fall apart), "
    "non-joiners (Persian and Indic words change), no-break spaces, soft hyphens, directional marks, controls.",
    help="Replace the character with one that prints, or keep the text in a file: SYSTEMFILE reads it as it is.",
)
DOUBLE_SPACE_BEFORE_NAME = _warning(
    "double-space-before-name",
    "Two blanks after PARAMETER leave it without a name.",
    why="One blank ends the keyword and the next one ends the name, which is then empty, and the whole rest is its "
    "value. Ollama parses this and fails later with an unknown parameter ''.",
    help="Leave one space between PARAMETER and the name.",
)
PARAMETER_ACTS_AS_INSTRUCTION = _warning(
    "parameter-acts-as-instruction",
    "A PARAMETER has the name of an instruction and acts as that instruction.",
    why="In Ollama parameters and instructions share one set of names: `PARAMETER system x` is `SYSTEM x` and "
    "`PARAMETER model x` is `FROM x`.",
    help="Write the instruction itself.",
)
CARRIAGE_RETURN_IN_VALUE = _warning(
    "carriage-return-in-value",
    "A value of several lines keeps the carriage returns of its line ends.",
    why="In a file with Windows line ends every line break inside a quoted value is two characters, and the model "
    "sees both: prompts and stop strings differ from the same file with Unix line ends.",
    help="Save the file with LF line ends.",
)
NOT_A_QUOTE = _warning(
    "not-a-quote",
    "A value stands between marks that are not quotes here.",
    why="Only `\"` and `\"\"\"` quote. Single quotes, typographic quotes and backticks stay in the value.",
    help='Use `"`, or remove the marks.',
)
SEVERAL_STRINGS = _warning(
    "several-strings",
    "A stop parameter holds what looks like several strings.",
    why="A PARAMETER has one value: `\"a\" \"b\"` is the text `a\" \"b`, and a list in brackets is its own text.",
    help="Write one `PARAMETER stop` line for each string.",
)
INVALID_BYTES = _warning(
    "invalid-bytes",
    "The file holds bytes that are not UTF-8.",
    why="Each such byte is read as the replacement character U+FFFD and stays in the value as that.",
    help="Save the file as UTF-8.",
)

# meaning

UNKNOWN_PARAMETER = _error(
    "unknown-parameter",
    "A PARAMETER has a name that no parameter has.",
    why="Parameters are Ollama's twenty; a name beyond them would change nothing, so it is an error and not a guess. "
    "What concerns serving is a SERVE key, and an engine's own flag is a FLAG.",
    help="Correct the name; the reference lists all of them.",
)
WRONG_CASE_PARAMETER = _error(
    "wrong-case-parameter",
    "A parameter's name is in the wrong case.",
    why="Instructions may be in any case, parameters may not: Ollama refuses `Temperature` when it creates the model.",
    help="Write the name in lower case.",
)
REMOVED_PARAMETER = _error(
    "removed-parameter",
    "A PARAMETER that Ollama no longer has, or never had.",
    why="Ollama refuses it when it creates the model. Many files from before its removal are still about.",
    help="Remove the line, or write what the hint names instead.",
)
DEPRECATED_PARAMETER = _warning(
    "deprecated-parameter",
    "A PARAMETER that is accepted and ignored.",
    why="Ollama still reads it, and does nothing with it; neither does modelkit.",
    help="Remove the line.",
)
BAD_VALUE = _error(
    "bad-value",
    "A value is of the wrong kind, or out of range.",
    why="Numbers and booleans are read as Ollama reads them: no `4k`, no `1_000`, no `yes`, nothing behind them on "
    "the line. Ranges are those that every engine accepts.",
    help="Write a value that the message names.",
)
EMPTY_VALUE = _warning(
    "empty-value",
    "An empty value does nothing.",
    why="As in Ollama an empty SYSTEM, TEMPLATE or LICENSE leaves the base's as it is, and an empty FROM means the "
    "Modelfile's own folder.",
    help="Remove the line, or drop what the base set with UNSET.",
)
DUPLICATE_SCALAR = _warning(
    "duplicate-scalar",
    "Something that has one value is said twice in one block.",
    why="The last one wins, in Ollama too, so the first line only misleads.",
    help="Remove one of the lines.",
)
UNKNOWN_SERVE_KEY = _error(
    "unknown-serve-key",
    "A SERVE key that does not exist.",
    why="SERVE holds the settings that any engine may have. An engine's own setting is a FLAG.",
    help="Correct the key, or write `FLAG --the-engines-flag value` in a stage.",
)
UNKNOWN_ENGINE = _error(
    "unknown-engine",
    "An ENGINE that does not exist.",
    why="The engine decides how everything else is passed on, so it must be one that modelkit knows.",
    help="Name one of the engines in the reference, in the form `ENGINE vllm >=0.32`.",
)
UNKNOWN_PLATFORM = _error(
    "unknown-platform",
    "A PLATFORM that does not exist.",
    why="The platform decides what keeps the engine running, so it must be one that modelkit knows.",
    help="Name one of the platforms in the reference.",
)
PLATFORM_FOR_EXPERIMENTS = _error(
    "platform-for-experiments",
    "A desktop program is the PLATFORM of a stage that is no experiment.",
    why="Ollama, LM Studio and Jan are good for trying a model out; they keep neither the versions nor the limits "
    "that dev and prod promise.",
    help="Move the line into `STAGE experiment`.",
)
UNKNOWN_QUANTIZATION = _error(
    "unknown-quantization",
    "A QUANTIZE word that does not exist.",
    why="It is a GGUF type such as `Q4_K_M`, one of `fp8 int8 awq gptq w4a16 nvfp4 none`, or `auto`.",
    help="Correct the word. `auto` may be followed by `>= TYPE` and `speed >= N tok/s`.",
)
NEEDS_IMATRIX = _warning(
    "needs-imatrix",
    "A QUANTIZE type that needs an importance matrix has none.",
    why="The types of the fewest bits (IQ1, IQ2, Q2_K_S, the smaller IQ3) are not made by llama.cpp without a matrix "
    "that says which weights matter; `up` would stop there.",
    help="Give the matrix's file, as many repositories carry one: `QUANTIZE IQ2_M imatrix ./model.imatrix`. Or name a "
    "base that has this type already.",
)
UNKNOWN_POLICY = _error(
    "unknown-policy",
    "A POLICY that does not exist.",
    why="A policy that nobody checks would be worse than none.",
    help="Name one of the policies in the reference.",
)
UNKNOWN_METRIC = _error(
    "unknown-metric",
    "An EXPECT of a stage names something that is not measured.",
    why="A gate on an unknown metric could never be met, or never fail.",
    help="Name one of the metrics in the reference, such as `ttft.p95`.",
)
UNKNOWN_ASSERTION = _error(
    "unknown-assertion",
    "An EXPECT of a test names a check that does not exist.",
    why="A check that does not exist would never fail.",
    help="Name one of the kinds in the reference, such as `contains`.",
)
BAD_VERSION_RANGE = _error(
    "bad-version-range",
    "The version range of an ENGINE cannot be read, or holds no version.",
    why="A range is made of comparisons as Python packages write them: `>=0.32,<0.34`, `==0.32.1`, `~=0.32.0`.",
    help="Write the operator before each version, and commas between.",
)
BAD_NAME = _error(
    "bad-name",
    "A name holds characters that it cannot have.",
    why="A NAME stands in URLs and requests, a stage's name on command lines; both are kept to letters, digits and "
    "`. _ -`, a NAME also to `/` and `:` between its parts.",
    help="Choose a name of those characters that starts with a letter or a digit.",
)
BAD_FLAG = _error(
    "bad-flag",
    "A FLAG is not an engine's flag.",
    why="A flag is passed on as written, so it starts with `-`, and its value follows after a blank.",
    help="Write `FLAG --enforce-eager` or `FLAG --max-num-batched-tokens 4096`.",
)
BAD_UNSET = _error(
    "bad-unset",
    "An UNSET names something that cannot be dropped.",
    why="UNSET drops what the base or an outer block may have set: an instruction, and for PARAMETER, SERVE, FLAG, "
    "POLICY and EXPECT one name of it.",
    help="Write `UNSET SYSTEM` or `UNSET PARAMETER stop`.",
)
USELESS_UNSET = _warning(
    "useless-unset",
    "An UNSET drops what its own block says.",
    why="Within one block the later line wins, so the earlier one has no effect.",
    help="Remove one of the two lines.",
)
UNKNOWN_STAGE = _error(
    "unknown-stage",
    "A STAGE that is not known and extends none.",
    why="`experiment`, `dev` and `prod` are known and decide the defaults. Another name says nothing about them, "
    "so it extends one that does.",
    help="Correct the name, or write `STAGE name EXTENDS prod {`.",
)
UNKNOWN_STAGE_EXTENDS = _error(
    "unknown-stage-extends",
    "A STAGE extends one that does not exist.",
    why="The stage after EXTENDS is `experiment`, `dev`, `prod` or another STAGE of this file.",
    help="Correct the name after EXTENDS.",
)
EXTENDS_CYCLE = _error(
    "extends-cycle",
    "Stages extend each other in a circle.",
    why="Each stage's settings lie on those of the stage it extends; in a circle there is no lowest one.",
    help="Remove one EXTENDS.",
)
DUPLICATE_STAGE = _error(
    "duplicate-stage",
    "Two STAGE blocks have the same name.",
    why="It would be unclear whether the second adds to the first or replaces it.",
    help="Merge the two blocks into one.",
)
DUPLICATE_TEST = _error(
    "duplicate-test",
    "Two TESTs have the same title.",
    why="Results are recorded by title.",
    help="Give one of them another title.",
)
EMPTY_TEST = _error(
    "empty-test",
    "A TEST has no USER turn, or no EXPECT.",
    why="Without a question there is no answer, and without an expectation the test cannot fail.",
    help="Add a `USER` line and at least one `EXPECT`.",
)
SECRET_IN_FILE = _error(
    "secret-in-file",
    "A secret is written into the Modelfile.",
    why="A Modelfile is committed, shared and shown in plans. A secret is only ever named in it: `env:NAME` for an "
    "environment variable, `file:path` for a file.",
    help="Move the secret out, name its place, and change it: it has been written down.",
)
POSSIBLE_SECRET = _warning(
    "possible-secret",
    "A text looks like an access token.",
    why="A Modelfile is committed and shared; its text even reaches the model.",
    help="Remove the token and revoke it. Credentials for downloads come from the environment.",
)
SEVERAL_ADAPTERS = _warning(
    "several-adapters",
    "More than one ADAPTER is to be part of the model itself.",
    why="Without `AS` an adapter is part of the model that the file is about, and there it can only be one: as in "
    "Ollama, the last one counts.",
    help="Write `AS name` behind those that are to be models of their own beside it, or keep one.",
)
NAME_IS_PATH = _warning(
    "name-is-path",
    "A reference looks like a file but is not written as a path.",
    why="A path starts with `./`, `../`, `/` or `~`. To Ollama anything else is a file only if there is one of that "
    "name, and a model's name if not: a file that is missing is then reported as a bad model name.",
    help="Put `./` before it.",
)
BAD_REFERENCE = _error(
    "bad-reference",
    "A reference is neither a model's name, a URL of a known kind, nor a path.",
    why="Names hold no blanks, and URLs start with `hf`, `ollama`, `oci`, `https`, `pypi` or `file`.",
    help="Correct it; a path starts with `./`, `../`, `/` or `~`.",
)
MUTABLE_REFERENCE = _info(
    "mutable-reference",
    "A reference may mean another model tomorrow.",
    why="Without a tag, or with `latest`, the registry decides which model is meant, and may change its mind.",
    help="Name a tag, or a digest where the registry has them.",
)
BARE_ORG_NAME = _info(
    "bare-org-name",
    "A reference `org/name` means Ollama's registry.",
    why="As in Ollama a name without a host is looked up in Ollama's registry, even when it looks like one of "
    "Hugging Face's.",
    help="Write `hf.co/org/name` for Hugging Face.",
)
PLACEHOLDER = _warning(
    "placeholder",
    "A reference holds a placeholder.",
    why="`<…>` and `${…}` are left from a template; they are not replaced, and no model is called so.",
    help="Write the reference itself.",
)
MACHINE_PATH = _info(
    "machine-path",
    "A path leads into one person's home folder.",
    why="The file will not be found on another machine.",
    help="Write a path that starts with `./`, relative to the Modelfile, or with `~`.",
)
GO_TEMPLATE = _warning(
    "go-template",
    "A TEMPLATE is a Go template, which this release does not use.",
    why="Engines render Jinja. This release uses the model's own chat template, which is nearly always the one that "
    "the Go template was written after. Text with `{%` is Jinja and is used as it is.",
    help="Remove the TEMPLATE, or write it in Jinja.",
)
BAD_TEMPLATE = _error(
    "bad-template",
    "A Jinja TEMPLATE does not parse.",
    why="Every request would fail when it is rendered.",
    help="Correct the template at the line that the message names.",
)
NOT_YET = _warning(
    "not-yet",
    "Something is understood but does nothing in this release.",
    why="The language is ahead of this release: the line is read and checked, so that it need not change later, but "
    "it has no effect yet.",
    help="Keep the line if it does no harm to have it ignored.",
)
NEEDS_LATER_RELEASE = _error(
    "needs-later-release",
    "Something is understood, cannot be done in this release, and cannot be left out.",
    why="The model would behave otherwise than the file says, for example without its adapter or its system prompt.",
    help="Remove the line, or say the same in a way that the hint names.",
)
