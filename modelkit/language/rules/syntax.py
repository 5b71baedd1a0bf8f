"""A file's shape: what keeps it from being read at all."""

from __future__ import annotations

from modelkit.language.rules.family import Family

SYNTAX = Family("syntax", "What is no Modelfile: words, quotes and blocks that cannot be read.")

UNKNOWN_INSTRUCTION = SYNTAX.error(
    "unknown-instruction",
    "A line starts with a word that is no instruction.",
    why="Every line outside a quoted value starts with an instruction, a comment or a closing brace. Text of several "
    "lines without quotes ends at its first line, so its second line is read as an instruction.",
    help='Correct the word, or put text of several lines between `"""` and `"""`.',
)
MISSING_VALUE = SYNTAX.error(
    "missing-value",
    "An instruction has nothing after it.",
    why="An instruction's value starts on the instruction's own line; a line end right after the keyword or the "
    "parameter's name leaves it without one.",
    help="Write the value on the same line, after one space. `\"\"` is the empty text.",
)
MISSING_FROM = SYNTAX.error(
    "missing-from",
    "The file names no base model.",
    why="Everything else in a Modelfile changes a base model, so there must be one.",
    help="Add a line such as `FROM llama3.2` or `FROM ./model.gguf`.",
)
UNCLOSED_QUOTE = SYNTAX.error(
    "unclosed-quote",
    "A quoted value is never closed.",
    why="A value that starts with a quote ends only where a line ends with the same quote. A quote in the middle of "
    "a line, or text after the closing quote, does not end it: the value goes on to the end of the file.",
    help='End the line with the quote, and put comments on lines of their own. Text that merely begins with a quoted '
    'word goes between `"""` and `"""`.',
)
BAD_PARAMETER_NAME = SYNTAX.error(
    "bad-parameter-name",
    "A parameter's name holds a character that no name has.",
    why="A name is made of letters, digits and underscores, and one space ends it: `temperature=0.5` and `num-ctx` "
    "are not names.",
    help="Write `PARAMETER name value`, for example `PARAMETER num_ctx 4096`.",
)
BAD_ROLE = SYNTAX.error(
    "bad-role",
    "A MESSAGE has a role that does not exist.",
    why="The role is exactly `system`, `user` or `assistant`, in lower case, followed by one space.",
    help="Write `MESSAGE user Hello`. Tool results belong in a TEST, as `TOOL` turns.",
)
UNCLOSED_BLOCK = SYNTAX.error(
    "unclosed-block",
    "A STAGE or TEST block is never closed.",
    why="A block goes on until a line that holds nothing but `}`; without one the rest of the file would belong to it.",
    help="Put `}` alone on a line at the end of the block.",
)
STRAY_BRACE = SYNTAX.error(
    "stray-brace",
    "A closing brace closes nothing.",
    why="`}` ends the block that was opened last; here no block is open.",
    help="Remove the brace, or add the block's header above: `STAGE name {` or `TEST \"title\" {`.",
)
TEXT_AFTER_BRACE = SYNTAX.error(
    "text-after-brace",
    "Something follows a closing brace on its line.",
    why="`}` stands alone on its line, so that a block's end is seen at a glance and never hides in a value.",
    help="Move what follows to the next line.",
)
BAD_BLOCK_HEADER = SYNTAX.error(
    "bad-block-header",
    "A block's first line does not have the shape `KEYWORD operands {`.",
    why="A block opens with its keyword, what it is called, and `{` as the last character of the line.",
    help="Write `STAGE dev {` or `TEST \"title\" {`, and put the contents on the lines below.",
)
INSTRUCTION_NOT_ALLOWED_HERE = SYNTAX.error(
    "instruction-not-allowed-here",
    "An instruction stands where it has no meaning.",
    why="A stage overrides what the file says, a test holds a conversation, and blocks do not nest; the grammar "
    "says which instructions belong where.",
    help="Move the line to the place that the message names.",
)
BAD_ENCODING = SYNTAX.error(
    "bad-encoding",
    "The file is not text in UTF-8, nor in UTF-16 with a byte-order mark.",
    why="Without a byte-order mark the bytes are read as UTF-8; UTF-16 then shows as letters with NUL characters "
    "between them.",
    help="Save the file as UTF-8.",
)
