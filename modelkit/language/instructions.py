"""The instructions: where each may stand, what repeating it means, and what it is for.

`effective` is False for what this release understands but does not act on; `essential` marks those whose absence
would make a stage wrong rather than merely less: using them is then an error, not a warning.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Place = Literal["file", "stage", "test"]
Repeated = Literal["last", "last per name", "appended", "error"]

_FILE: tuple[Place, ...] = ("file",)
_LAYER: tuple[Place, ...] = ("file", "stage")
_STAGE: tuple[Place, ...] = ("stage",)
_TEST: tuple[Place, ...] = ("test",)
_ANYWHERE: tuple[Place, ...] = ("file", "stage", "test")


class InstructionRow(NamedTuple):
    """One instruction. `operands` is its shape in words; `repeated` says what a second one in the same block does."""

    keyword: str
    operands: str
    where: tuple[Place, ...]
    repeated: Repeated
    doc: str
    example: str
    ollama: bool = False
    block: bool = False
    unset: bool = False  # UNSET can drop it
    effective: bool = True
    essential: bool = False
    instead: str | None = None  # what to do as long as it is not effective


_ROWS = (
    InstructionRow("FROM", "reference", _LAYER, "last", "The base model: a name, a path or a URL.", "FROM llama3.2:3b",
                   ollama=True),
    InstructionRow("SYSTEM", "text", _ANYWHERE, "last",
                   "The system prompt; in a TEST, the conversation's own.", 'SYSTEM """You are terse."""',
                   ollama=True, unset=True),
    InstructionRow("TEMPLATE", "text", _LAYER, "last",
                   "The chat template: Jinja when the text has `{%`, else a Go template as in Ollama.",
                   'TEMPLATE """{% for m in messages %}{{ m.content }}{% endfor %}"""', ollama=True, unset=True),
    InstructionRow("PARAMETER", "name value", _ANYWHERE, "last per name",
                   "A sampling or runtime parameter; `stop` may be said several times and adds up.",
                   "PARAMETER temperature 0.2", ollama=True, unset=True),
    InstructionRow("MESSAGE", "role text", _LAYER, "appended",
                   "A turn that precedes every conversation, as an example for the model.",
                   "MESSAGE user What is 2 + 2?", ollama=True, unset=True),
    InstructionRow("ADAPTER", "reference [`AS` name]", _LAYER, "appended",
                   "A LoRA adapter; `AS` serves it under a model name of its own.",
                   "ADAPTER ./tone.gguf AS support-kind", ollama=True, unset=True),
    InstructionRow("LICENSE", "text", _LAYER, "appended", "The licence of what the file describes.",
                   "LICENSE Apache-2.0", ollama=True, unset=True),
    InstructionRow("DRAFT", "path", _LAYER, "last", "A small model that drafts tokens for speculative decoding.",
                   "DRAFT ./draft.gguf", ollama=True, unset=True),
    InstructionRow("RENDERER", "name", _LAYER, "last",
                   "Ollama's built-in prompt renderer; here the model's own chat template renders.",
                   "RENDERER qwen3.5", ollama=True, unset=True, effective=False,
                   instead="the model's own chat template is used"),
    InstructionRow("PARSER", "name", _LAYER, "last",
                   "Ollama's built-in output parser; here see `SERVE tool_parser` and `SERVE reasoning_parser`.",
                   "PARSER qwen3.5", ollama=True, unset=True, effective=False,
                   instead="write `SERVE tool_parser` or `SERVE reasoning_parser`"),
    InstructionRow("REQUIRES", "version", _LAYER, "last", "The oldest Ollama that can load this file.",
                   "REQUIRES 0.14.0", ollama=True),
    InstructionRow("NAME", "name", _FILE, "last",
                   "The model name that clients send. Default: the file's stem, or its folder's name for `Modelfile`.",
                   "NAME support"),
    InstructionRow("QUANTIZE", "type [`imatrix FILE`] | `auto` [`>= TYPE`] [`speed >= N tok/s`] [`imatrix FILE`]",
                   _LAYER, "last",
                   "The weights' precision; `auto` takes the best that fits memory and meets the speed.",
                   "QUANTIZE Q4_K_M", unset=True),
    InstructionRow("ENGINE", "name [version range]", _LAYER, "last", "What computes.", "ENGINE vllm >=0.32,<0.34",
                   unset=True),
    InstructionRow("PLATFORM", "name", _LAYER, "last", "What keeps it running.", "PLATFORM process", unset=True),
    InstructionRow("SERVE", "key value", _LAYER, "last per name", "A serving setting that any engine may have.",
                   "SERVE max_concurrency 8", unset=True),
    InstructionRow("FLAG", "flag [value]", _LAYER, "appended", "One of the engine's own flags, passed as written.",
                   "FLAG --enforce-eager", unset=True),
    InstructionRow("SYSTEMFILE", "path", _LAYER, "last", "The system prompt, from a file beside this one.",
                   "SYSTEMFILE prompt.txt"),
    InstructionRow("TEMPLATEFILE", "path", _LAYER, "last",
                   "The chat template, from a file: Jinja when it ends in `.jinja`, else a Go template.",
                   "TEMPLATEFILE chat.jinja"),
    InstructionRow("ARG", "NAME [default]", _FILE, "last per name",
                   "A variable: `${NAME}` stands for its value, here or from `--arg NAME=value`. Never for secrets.",
                   "ARG SIZE 3b"),
    InstructionRow("UNSET", "instruction [name]", _LAYER, "appended",
                   "Drops what the base model or an outer block set.", "UNSET PARAMETER stop"),
    InstructionRow("TRY", "instruction values…", _STAGE, "appended",
                   "In `STAGE experiment`: a sweep over values; several make a grid.", "TRY QUANTIZE Q4_K_M Q8_0",
                   effective=False),
    InstructionRow("POLICY", "name", _LAYER, "appended", "A rule of the stage that turns warnings into errors.",
                   "POLICY locked", unset=True),
    InstructionRow("EXPECT", "metric op value [`ADVISORY`] | [`not`] kind operand", _ANYWHERE, "appended",
                   "In a stage a gate for its promotion, which stops nothing if it is advisory; in a test a check of "
                   "the last answer.",
                   "EXPECT ttft.p95 <= 500ms", unset=True),
    InstructionRow("STAGE", "name [`EXTENDS` stage] {", _FILE, "error",
                   "Overrides for one stage: `experiment`, `dev`, `prod`, or one that extends another.",
                   "STAGE dev {\n  ENGINE llama.cpp\n}", block=True),
    InstructionRow("TEST", '"title" {', _FILE, "error", "A golden conversation and what its last answer must be like.",
                   'TEST "greets" {\n  USER Say hello.\n  EXPECT contains "ello"\n}', block=True),
    InstructionRow("USER", "text", _TEST, "appended", "A turn of the user.", "USER What is the capital of France?"),
    InstructionRow("ASSISTANT", "text", _TEST, "appended", "An earlier answer, given.", "ASSISTANT It is Paris."),
    InstructionRow("TOOL", "text", _TEST, "appended", "What a tool returned.", 'TOOL {"celsius": 21}'),
    InstructionRow("TOOLS", "path", _TEST, "last", "A JSON file with the tools that the test offers.",
                   "TOOLS tools.json"),
    InstructionRow("REPEAT", "n [`PASS` m]", _TEST, "last", "How often the test runs, and how often it must pass.",
                   "REPEAT 5 PASS 4"),
)

INSTRUCTIONS: dict[str, InstructionRow] = {row.keyword: row for row in _ROWS}

OLLAMA_INSTRUCTIONS = tuple(row.keyword for row in _ROWS if row.ollama)
