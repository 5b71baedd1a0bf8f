"""What llama.cpp's last words mean, for the person who started it."""

from __future__ import annotations

import re

_LAST_WORDS: tuple[tuple[str, str, str], ...] = (
    (r"cannot read (?P<what>.+): No such file", "the model file {what} is gone", "run `modelkit up` again to fetch it"),
    (r"(?P<what>\S+) is not a GGUF file", "{what} is not a GGUF file", "llama.cpp needs one: check FROM"),
    (r"data is not within the file bounds|corrupted or incomplete|exceeds remaining file size"
     r"|failed to read (?:magic|header|key|tensor)|unexpected EOF",
     "the model file is cut short or damaged", "delete it and fetch it again"),
    (r"invalid magic|bad magic", "the model file is not a GGUF file", "llama.cpp needs one: check FROM"),
    (r"unknown (?:model )?architecture: '(?P<what>[^']+)'", "this llama.cpp does not know the architecture {what}",
     "a newer llama.cpp may: `pip install --upgrade xllamacpp`"),
    (r"quantized V cache requires flash_attn", "a quantized `SERVE kv_cache` needs flash attention",
     "drop the FLAG that turns it off, or write `SERVE kv_cache f16`"),
    (r"out of memory|(?:failed|unable) to allocate|cannot allocate memory|bad_alloc|OutOfDeviceMemory|by SIGKILL",
     "llama.cpp ran out of memory", "lower `num_ctx` or `SERVE max_concurrency`, or take a smaller quantization"),
    (r"error: (?:invalid|unknown) argument: (?P<what>\S+)", "this llama-server does not know the flag {what}",
     "remove the FLAG, or install a newer llama.cpp"),
    (r"`(?P<what>--[^`]+)`: (?:.+)", "llama.cpp refuses the flag {what}", "change or remove that FLAG"),
    (r"(?P<what>lib[\w.+-]+): cannot open shared object file", "the system library {what} is missing",
     "install it: libgomp.so.1 is in the package libgomp1 (Debian, Ubuntu) or libgomp (Fedora)"),
    (r"xllamacpp cannot be loaded: (?P<what>.+)", "the xllamacpp wheel does not load: {what}",
     "reinstall it: `pip install --force-reinstall xllamacpp`"),
    (r"Illegal instruction|SIGILL|\(core dumped\) *$", "this processor lacks instructions that llama.cpp was built for",
     "the xllamacpp wheel needs AVX2: put a `llama-server` built for this machine on PATH"),
    (r"(?:Unable to generate parser|chat template|Failed to parse .*template|jinja)",
     "llama.cpp cannot read the chat template", "check TEMPLATE, or leave it out to use the model's own"),
    (r"GGML_ASSERT\((?P<what>.+?)\) failed", "llama.cpp stopped at a check of its own: {what}",
     "report it to llama.cpp with these lines"),
    (r"couldn't bind|Address already in use", "llama-server cannot listen on its socket",
     "run `modelkit down` and try again"),
)


def explain_exit(tail: list[str]) -> tuple[str, str] | None:
    """What an engine's last lines mean: one sentence and what to do. None for words that nobody has seen yet."""
    text = "\n".join(tail)
    for pattern, message, hint in _LAST_WORDS:
        if found := re.search(pattern, text, re.IGNORECASE | re.MULTILINE):
            return message.format(**found.groupdict()), hint
    # Its log's first error is the cause, the others are what follows from it.
    if found := re.search(r"^[\d.]+ E (?P<what>.+)$", text, re.MULTILINE):
        return f"llama.cpp says: {' '.join(found['what'].split())}", "modelkit logs shows the rest"
    return None
