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
    why="Values have no escapes: `\\n` is two characters, and a model hardly ever writes them, so the stop never fires.",
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
