"""What Ollama takes in silence, ignores, or refuses late."""

from __future__ import annotations

from modelkit.language.rules.family import Family

OLLAMA = Family("ollama", "What Ollama takes in silence and means otherwise, ignores, or refuses only late.")

QUOTE_SWALLOWS_INSTRUCTION = OLLAMA.warning(
    "quote-swallows-instruction",
    "A quoted value has taken in the instructions below it.",
    why="A quote closes only at the end of a line. When its own line does not end with it, the value runs on to the "
    "next line that does, and the instructions between become part of the text. Ollama says nothing.",
    help="Close the quote at the end of the line it belongs to, and remove what follows it there.",
)
INLINE_COMMENT = OLLAMA.warning(
    "inline-comment",
    "A `#` after a value is part of the value.",
    why="A comment is a line that starts with `#`. After a value, `# …` is text: a number with a comment behind it "
    "is no number, and a model name with one is another model.",
    help="Put the comment on the line above. If the `#` is meant, quote the value to say so.",
)
LITERAL_ESCAPE = OLLAMA.warning(
    "literal-escape",
    "A stop string holds a backslash and a letter, not the control character.",
    why="Values have no escapes: `\\n` is two characters that a model hardly ever writes, so the stop never fires.",
    help='Write a real line break between `"""` and `"""`.',
)
DELETED_CHARACTERS = OLLAMA.warning(
    "deleted-characters",
    "A value holds characters that are deleted when it is read.",
    why="Like Ollama, modelkit deletes what is not printable: zero-width joiners (emoji families fall apart), "
    "non-joiners (Persian and Indic words change), no-break spaces, soft hyphens, directional marks, controls.",
    help="Replace the character with one that prints, or keep the text in a file: SYSTEMFILE reads it as it is.",
)
DOUBLE_SPACE_BEFORE_NAME = OLLAMA.warning(
    "double-space-before-name",
    "Two blanks after PARAMETER leave it without a name.",
    why="One blank ends the keyword and the next one ends the name, which is then empty, and the whole rest is its "
    "value. Ollama parses this and fails later with an unknown parameter ''.",
    help="Leave one space between PARAMETER and the name.",
)
PARAMETER_ACTS_AS_INSTRUCTION = OLLAMA.warning(
    "parameter-acts-as-instruction",
    "A PARAMETER has the name of an instruction and acts as that instruction.",
    why="In Ollama parameters and instructions share one set of names: `PARAMETER system x` is `SYSTEM x` and "
    "`PARAMETER model x` is `FROM x`.",
    help="Write the instruction itself.",
)
CARRIAGE_RETURN_IN_VALUE = OLLAMA.warning(
    "carriage-return-in-value",
    "A value of several lines keeps the carriage returns of its line ends.",
    why="In a file with Windows line ends every line break inside a quoted value is two characters, and the model "
    "sees both: prompts and stop strings differ from the same file with Unix line ends.",
    help="Save the file with LF line ends.",
)
NOT_A_QUOTE = OLLAMA.warning(
    "not-a-quote",
    "A value stands between marks that are not quotes here.",
    why="Only `\"` and `\"\"\"` quote. Single quotes, typographic quotes and backticks stay in the value.",
    help='Use `"`, or remove the marks.',
)
SEVERAL_STRINGS = OLLAMA.warning(
    "several-strings",
    "A stop parameter holds what looks like several strings.",
    why="A PARAMETER has one value: `\"a\" \"b\"` is the text `a\" \"b`, and a list in brackets is its own text.",
    help="Write one `PARAMETER stop` line for each string.",
)
INVALID_BYTES = OLLAMA.warning(
    "invalid-bytes",
    "The file holds bytes that are not UTF-8.",
    why="Each such byte is read as the replacement character U+FFFD and stays in the value as that.",
    help="Save the file as UTF-8.",
)
WRONG_CASE_PARAMETER = OLLAMA.error(
    "wrong-case-parameter",
    "A parameter's name is in the wrong case.",
    why="Instructions may be in any case, parameters may not: Ollama refuses `Temperature` when it creates the model.",
    help="Write the name in lower case.",
)
REMOVED_PARAMETER = OLLAMA.error(
    "removed-parameter",
    "A PARAMETER that Ollama no longer has, or never had.",
    why="Ollama refuses it when it creates the model. Many files from before its removal are still about.",
    help="Remove the line, or write what the hint names instead.",
)
DEPRECATED_PARAMETER = OLLAMA.warning(
    "deprecated-parameter",
    "A PARAMETER that is accepted and ignored.",
    why="Ollama still reads it, and does nothing with it; neither does modelkit.",
    help="Remove the line.",
)
EMPTY_VALUE = OLLAMA.warning(
    "empty-value",
    "An empty value does nothing.",
    why="As in Ollama an empty SYSTEM, TEMPLATE or LICENSE leaves the base's as it is, and an empty FROM means the "
    "Modelfile's own folder.",
    help="Remove the line, or drop what the base set with UNSET.",
)
DUPLICATE_SCALAR = OLLAMA.warning(
    "duplicate-scalar",
    "Something that has one value is said twice in one block.",
    why="The last one wins, in Ollama too, so the first line only misleads.",
    help="Remove one of the lines.",
)
SEVERAL_ADAPTERS = OLLAMA.warning(
    "several-adapters",
    "More than one ADAPTER is to be part of the model itself.",
    why="Without `AS` an adapter is part of the model that the file is about, and there it can only be one: as in "
    "Ollama, the last one counts.",
    help="Write `AS name` behind those that are to be models of their own beside it, or keep one.",
)
NAME_IS_PATH = OLLAMA.warning(
    "name-is-path",
    "A reference looks like a file but is not written as a path.",
    why="A path starts with `./`, `../`, `/` or `~`. To Ollama anything else is a file only if there is one of that "
    "name, and a model's name if not: a file that is missing is then reported as a bad model name.",
    help="Put `./` before it.",
)
BARE_ORG_NAME = OLLAMA.info(
    "bare-org-name",
    "A reference `org/name` means Ollama's registry.",
    why="As in Ollama a name without a host is looked up in Ollama's registry, even when it looks like one of "
    "Hugging Face's.",
    help="Write `hf.co/org/name` for Hugging Face.",
)
STRAY_QUOTE = OLLAMA.warning(
    "stray-quote",
    "A text ends with quotes that nothing opened.",
    why='Quotes that do not start a value are part of it: the model reads the `"""` at the end. Most often the ones at '
    "the beginning were forgotten, and then the text has already ended with its first line.",
    help='Put `"""` at the beginning too, or remove it from the end.',
)
FILE_BESIDE_NAME = OLLAMA.warning(
    "file-beside-name",
    "One FROM names a file and another one a model.",
    why="Ollama ignores every file as soon as one FROM is a model's name, a vision projector's file too, and says "
    "nothing. Here the last FROM counts, so one file has two meanings.",
    help="Keep the one that is meant. A stage of its own may have another FROM.",
)
TEMPLATE_IGNORED = OLLAMA.warning(
    "template-ignored",
    "A TEMPLATE stands beside a RENDERER.",
    why="Ollama's built-in renderers write the prompt themselves. A TEMPLATE in the same file is stored and never "
    "used.",
    help="Remove one of the two.",
)
TEMPLATE_WITHOUT_PROMPT = OLLAMA.warning(
    "template-without-prompt",
    "A TEMPLATE never prints what the user says.",
    why="The prompt is what the template prints, and nothing else. Without `.Prompt` or `.Messages`, in Jinja "
    "`messages`, every conversation is the same prompt to the model.",
    help="Print `.Prompt`, or go through `.Messages`.",
)
SYSTEM_NOT_IN_TEMPLATE = OLLAMA.warning(
    "system-not-in-template",
    "There is a SYSTEM, and the TEMPLATE never prints it.",
    why="Ollama hands the system prompt to the template as `.System`, or as the first of `.Messages`. A template that "
    "prints neither drops it in silence.",
    help="Print `.System` in the TEMPLATE, or remove the TEMPLATE so that the model's own is used.",
)
REMOVED_TEMPLATE_VARIABLE = OLLAMA.warning(
    "removed-template-variable",
    "A TEMPLATE uses a variable that Ollama no longer sets.",
    why="`.First` and `.Context` went with Ollama's first versions. What is not set is false in an `if` and prints "
    "`<no value>`; what stood behind `{{ if .First }}` is never printed, which was mostly the system prompt.",
    help="Remove it; a template is rendered for the whole conversation, or for each turn, and needs no `.First`.",
)
JINJA_TEMPLATE = OLLAMA.info(
    "jinja-template",
    "A TEMPLATE in Jinja, in a file that is Ollama's otherwise.",
    why="To Ollama `{%` is text: it is sent to the model as it stands, or the template is refused for its `{{ }}`. "
    "modelkit renders Jinja on every engine.",
    help="Nothing, if only modelkit reads the file; remove the TEMPLATE where the model has its own.",
)
UNKNOWN_RENDERER = OLLAMA.warning(
    "unknown-renderer",
    "A RENDERER or PARSER that Ollama does not have.",
    why="Ollama does not look at the name when it makes the model. The first conversation fails.",
    help="Write one of the names that Ollama has, in lower case. They are those of Ollama 0.33.",
)
NUM_GPU_COUNTS_LAYERS = OLLAMA.warning(
    "num-gpu-counts-layers",
    "`num_gpu` is so small that it looks like a number of GPUs.",
    why="It is the number of the model's layers that go to the GPU. `num_gpu 1` leaves all but one of them to the "
    "processor, and the model is as slow as without a GPU.",
    help="Remove the line: as many layers as fit go to the GPU. For several GPUs there is `SERVE tensor_parallel`.",
)
VARIABLE_IN_TEXT = OLLAMA.warning(
    "variable-in-text",
    "A text holds a variable of templates.",
    why="Only a TEMPLATE is a template. In SYSTEM and MESSAGE `{{ .Prompt }}` is not replaced: the model reads it as "
    "it stands.",
    help="Remove it, or put it into the TEMPLATE.",
)
STOP_NEVER_REACHED = OLLAMA.warning(
    "stop-never-reached",
    "A stop string can never be what ends an answer.",
    why="Another stop string is its beginning, and an answer has ended before the longer one is complete.",
    help="Remove the longer one, or the shorter one if the longer was meant.",
)
