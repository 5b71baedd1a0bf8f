"""For every rule a Modelfile that breaks it, and the same one put right: the rule pages show them, a test runs them.

Kept apart from the rules: only documentation reads this.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """Whole files. `bad` shows the rule; `good` has no finding of that rule, and no error."""

    bad: str
    good: str


_BASE = "FROM llama3.2:3b\n"


def _example(bad: str, good: str, base: str = _BASE) -> Example:
    return Example(f"{base}{bad}\n", f"{base}{good}\n")


_TEST = 'TEST "capital" {\n  USER What is the capital of France?\n  EXPECT contains "Paris"\n}'

EXAMPLES: dict[str, Example] = {
    "unknown-instruction": _example("PARAMTER temperature 0.2", "PARAMETER temperature 0.2"),
    "missing-value": _example("SYSTEM", "SYSTEM You are terse."),
    "missing-from": _example("SYSTEM You are terse.", "FROM llama3.2:3b\nSYSTEM You are terse.", base=""),
    "unclosed-quote": _example('SYSTEM """You are terse.', 'SYSTEM """You are terse."""'),
    "bad-parameter-name": _example("PARAMETER temperature=0.5", "PARAMETER temperature 0.5"),
    "bad-role": _example("MESSAGE User Hello", "MESSAGE user Hello"),
    "unclosed-block": _example("STAGE dev {\n  ENGINE llama.cpp", "STAGE dev {\n  ENGINE llama.cpp\n}"),
    "stray-brace": _example("SYSTEM You are terse.\n}", "SYSTEM You are terse."),
    "text-after-brace": _example("STAGE dev {\n  ENGINE llama.cpp\n} SYSTEM Hi",
                                 "STAGE dev {\n  ENGINE llama.cpp\n}\nSYSTEM Hi"),
    "bad-block-header": _example("STAGE dev\n  ENGINE llama.cpp\n}", "STAGE dev {\n  ENGINE llama.cpp\n}"),
    "instruction-not-allowed-here": _example("STAGE dev {\n  NAME support\n}", "NAME support\nSTAGE dev {\n}"),
    "bad-encoding": Example("".join(f"{c}\0" for c in "FROM llama3.2:3b\n"), "FROM llama3.2:3b\n"),
    "quote-swallows-instruction": _example(
        'PARAMETER stop "User:\nPARAMETER stop "Bot:"', 'PARAMETER stop "User:"\nPARAMETER stop "Bot:"'),
    "inline-comment": _example("SERVE port 8000 # behind the proxy", "# behind the proxy\nSERVE port 8000"),
    "literal-escape": _example('PARAMETER stop "\\nUser:"', 'PARAMETER stop """\nUser:"""'),
    "deleted-characters": _example("SYSTEM Answer in\u00a0short.", "SYSTEM Answer in short."),
    "double-space-before-name": _example("PARAMETER  temperature 0.5", "PARAMETER temperature 0.5"),
    "parameter-acts-as-instruction": _example("PARAMETER system You are terse.", "SYSTEM You are terse."),
    "carriage-return-in-value": _example('SYSTEM """You are\r\nterse."""', 'SYSTEM """You are\nterse."""'),
    "not-a-quote": _example("SYSTEM 'You are terse.'", 'SYSTEM "You are terse."'),
    "several-strings": _example('PARAMETER stop ["User:", "Bot:"]', 'PARAMETER stop "User:"\nPARAMETER stop "Bot:"'),
    "invalid-bytes": _example("SYSTEM D\ufffdj\ufffd vu", "SYSTEM Déjà vu"),
    "unknown-parameter": _example("PARAMETER temprature 0.2", "PARAMETER temperature 0.2"),
    "wrong-case-parameter": _example("PARAMETER Temperature 0.2", "PARAMETER temperature 0.2"),
    "removed-parameter": _example("PARAMETER tfs_z 0.9", "PARAMETER min_p 0.05"),
    "deprecated-parameter": _example("PARAMETER mirostat 2\nPARAMETER top_p 0.9", "PARAMETER top_p 0.9"),
    "bad-value": _example("PARAMETER num_ctx 4k", "PARAMETER num_ctx 4096"),
    "empty-value": _example('SYSTEM ""', "UNSET SYSTEM"),
    "duplicate-scalar": _example("PARAMETER seed 1\nPARAMETER seed 2", "PARAMETER seed 2"),
    "unknown-serve-key": _example("SERVE concurrency 8", "SERVE max_concurrency 8"),
    "unknown-engine": _example("STAGE prod {\n  ENGINE vlm\n}", "STAGE prod {\n  ENGINE vllm\n}"),
    "unknown-platform": _example("PLATFORM proces", "PLATFORM process"),
    "platform-for-experiments": _example("STAGE dev {\n  PLATFORM ollama\n}",
                                         "STAGE experiment {\n  PLATFORM ollama\n}"),
    "unknown-quantization": _example("QUANTIZE Q4KM", "QUANTIZE Q4_K_M"),
    "needs-imatrix": _example("QUANTIZE IQ2_M", "QUANTIZE IQ2_M imatrix ./model.imatrix"),
    "unknown-policy": _example("STAGE prod {\n  POLICY lock\n}", "STAGE prod {\n  POLICY locked\n}"),
    "unknown-metric": _example("STAGE prod {\n  EXPECT ttft.p96 <= 500ms\n}",
                               "STAGE prod {\n  EXPECT ttft.p95 <= 500ms\n}"),
    "unknown-assertion": _example(_TEST.replace("contains", "includes"), _TEST),
    "bad-version-range": _example("STAGE prod {\n  ENGINE vllm 0.32\n}", "STAGE prod {\n  ENGINE vllm >=0.32,<0.34\n}"),
    "bad-name": _example("NAME support bot", "NAME support-bot"),
    "bad-flag": _example("STAGE prod {\n  FLAG enforce-eager\n}", "STAGE prod {\n  FLAG --enforce-eager\n}"),
    "bad-unset": _example("STAGE prod {\n  UNSET PARAMETER stops\n}", "STAGE prod {\n  UNSET PARAMETER stop\n}"),
    "useless-unset": _example("SYSTEM You are terse.\nUNSET SYSTEM", "UNSET SYSTEM"),
    "unknown-stage": _example("STAGE canary {\n  SERVE max_concurrency 2\n}",
                              "STAGE canary EXTENDS prod {\n  SERVE max_concurrency 2\n}"),
    "unknown-stage-extends": _example("STAGE canary EXTENDS production {\n}", "STAGE canary EXTENDS prod {\n}"),
    "extends-cycle": _example("STAGE blue EXTENDS green {\n}\nSTAGE green EXTENDS blue {\n}",
                              "STAGE blue EXTENDS prod {\n}\nSTAGE green EXTENDS blue {\n}"),
    "duplicate-stage": _example("STAGE dev {\n  ENGINE llama.cpp\n}\nSTAGE dev {\n  SERVE port 8001\n}",
                                "STAGE dev {\n  ENGINE llama.cpp\n  SERVE port 8001\n}"),
    "duplicate-test": _example(f"{_TEST}\n{_TEST}", _TEST + "\n" + _TEST.replace("TEST \"", "TEST \"the ")),
    "empty-test": _example('TEST "capital" {\n  USER What is the capital of France?\n}', _TEST),
    "secret-in-file": _example("SERVE api_key my-secret-key", "SERVE api_key env:SUPPORT_API_KEY"),
    "possible-secret": _example("# export HF_TOKEN=hf_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefgh", "# needs HF_TOKEN"),
    "several-adapters": _example("ADAPTER ./tone.gguf\nADAPTER ./facts.gguf", "SYSTEM Be kind. Stick to the facts."),
    "name-is-path": _example("FROM model.gguf", "FROM ./model.gguf", base=""),
    "bad-reference": _example("FROM s3://models/llama.gguf", "FROM https://models.example.com/llama.gguf", base=""),
    "mutable-reference": _example("FROM llama3.2", "FROM llama3.2:3b-instruct-q4_K_M", base=""),
    "bare-org-name": _example("FROM Qwen/Qwen3-0.6B", "FROM hf.co/Qwen/Qwen3-0.6B", base=""),
    "placeholder": _example("FROM <your-model>", "FROM llama3.2:3b", base=""),
    "machine-path": _example("FROM /home/ada/models/llama.gguf", "FROM ./models/llama.gguf", base=""),
    "go-template": _example('TEMPLATE """{{ .System }} {{ .Prompt }}"""',
                            'TEMPLATE """{% for m in messages %}{{ m.content }}{% endfor %}"""'),
    "bad-template": _example('TEMPLATE """{% for m in messages %}{{ m.content }}"""',
                             'TEMPLATE """{% for m in messages %}{{ m.content }}{% endfor %}"""'),
    "not-yet": _example("STAGE prod {\n  POLICY signed\n}", "STAGE prod {\n  SERVE max_concurrency 8\n}"),
    "needs-later-release": _example("SYSTEMFILE prompt.txt", 'SYSTEM """You are terse."""'),
    "unused-ignore": _example("# modelkit: ignore[empty-value] the base's prompt is wanted\nSYSTEM You are terse.",
                              "SYSTEM You are terse."),
    "unknown-rule": _example("# modelkit: ignore[empty-vlaue] the base's prompt is wanted\nSYSTEM \"\"",
                             "# modelkit: ignore[empty-value] the base's prompt is wanted\nSYSTEM \"\""),
    "ignore-without-reason": _example("# modelkit: ignore[empty-value]\nSYSTEM \"\"",
                                      "# modelkit: ignore[empty-value] the base's prompt is wanted\nSYSTEM \"\""),
    "bad-ignore": _example("# modelkit: ignore everything below\nSYSTEM \"\"",
                           "# modelkit: ignore[empty-value] the base's prompt is wanted\nSYSTEM \"\""),
}
