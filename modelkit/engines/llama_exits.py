"""What llama.cpp's last words mean, for the person who started it."""

from __future__ import annotations

import re

_REBUILD = "`modelkit engine install llama.cpp --reinstall` compiles it on this machine"

# Of our own engine, which says what it cannot do in one sentence; and of Python, when native code ends it.
_OUR_WORDS: tuple[tuple[str, str, str], ...] = (
    (r"llama-cpp-python (?P<what>\S+) is not known to this engine; it needs (?P<needs>\S+)",
     "llama-cpp-python {what} is not the release that modelkit's engine was written for, which is {needs}",
     "`modelkit engine install llama.cpp` brings that one"),
    (r"llama-cpp-python (?P<what>\S+ (?:lacks \w+|has penalties of \d+))",
     "llama-cpp-python {what}: it is not what that release was", _REBUILD),
    (r"No module named '(?P<what>[^']+)'", "the Python of the engine lacks {what}",
     "`modelkit doctor` says what is missing; `modelkit engine install llama.cpp` brings all of it"),
    (r"llama-cpp-python does not work in this Python: (?!.*cannot open shared object)(?P<what>.+)",
     "llama-cpp-python does not load: {what}", _REBUILD),
    (r"the adapter (?P<what>\S+) does not fit", "the adapter {what} was not made for this model",
     "check ADAPTER: it must come from a training of the model in FROM"),
    (r"the draft model(?:'s| has) ", "the model of DRAFT has another vocabulary than the one of FROM",
     "take a small model of the same family, or `SERVE speculative ngram`"),
    (r"attention cache of (?P<what>\d+) tokens has no room for one conversation",
     "`FLAG --kv-tokens {what}` is less than `num_ctx`", "raise it, or leave it out"),
    (r"cannot make a context of (?P<what>\d+) tokens", "there is no memory for an attention cache of {what} tokens",
     "lower `num_ctx` or `SERVE max_concurrency`, or write `SERVE kv_cache q8_0`"),
    (r"Fatal Python error: Illegal instruction",
     "this processor lacks instructions that llama-cpp-python was compiled for", _REBUILD),
)

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
    (r"Fatal Python error: (?:Segmentation fault|Aborted|Bus error|Floating point exception)", "llama.cpp crashed",
     "`modelkit logs` has the place; report it to llama.cpp with those lines"),
    (r"couldn't bind|Address already in use", "llama-server cannot listen on its socket",
     "run `modelkit down` and try again"),
)


def explain_exit(tail: list[str]) -> tuple[str, str] | None:
    """What an engine's last lines mean: one sentence and what to do. None for words that nobody has seen yet."""
    text = "\n".join(tail)
    for pattern, message, hint in (*_OUR_WORDS, *_LAST_WORDS):
        if found := re.search(pattern, text, re.IGNORECASE | re.MULTILINE):
            return message.format(**found.groupdict()), hint
    # Its log's first error is the cause, the others are what follows from it.
    if found := re.search(r"^[\d.]+ E (?P<what>.+)$", text, re.MULTILINE):
        return f"llama.cpp says: {' '.join(found['what'].split())}", "modelkit logs shows the rest"
    return None
