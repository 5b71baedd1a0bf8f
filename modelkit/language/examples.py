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


def _prod(bad: str, good: str) -> Example:
    """Lines of a stage on vLLM; the engines' room, not the checker of the language, says what is wrong with them."""
    return _example(f"STAGE prod {{\n  {bad}\n}}", f"STAGE prod {{\n  {good}\n}}")


def _elsewhere(bad: str = "", good: str = "") -> Example:
    """Lines of a stage that another machine serves."""
    head = "NAME support\nFROM llama3.2:3b\nPARAMETER num_ctx 8192\nSTAGE prod {\n  PLATFORM compose\n"
    return Example(f"{head}{bad}}}\n", f"{head}{good}}}\n")


_ON_A_CLUSTER = ("NAME support\nFROM hf.co/org/llama\nPARAMETER num_ctx 8192\nSTAGE prod {{\n  PLATFORM kubernetes\n"
                 "{}  QUANTIZE auto\n}}\n")

_TEST = 'TEST "capital" {\n  USER What is the capital of France?\n  EXPECT contains "Paris"\n}'

EXAMPLES: dict[str, Example] = {
    "unknown-instruction": _example("PARAMTER temperature 0.2", "PARAMETER temperature 0.2"),
    "missing-value": _example("SYSTEM", "SYSTEM You are terse."),
    "missing-from": _example("SYSTEM You are terse.", "FROM llama3.2:3b\nSYSTEM You are terse.", base=""),
    "unclosed-quote": _example('SYSTEM """You are terse.', 'SYSTEM """You are terse."""'),
    "bad-parameter-name": _example("PARAMETER temperature=0.5", "PARAMETER temperature 0.5"),
    "bad-role": _example("MESSAGE User Hello\nMESSAGE assistant Hi!", "MESSAGE user Hello\nMESSAGE assistant Hi!"),
    "unclosed-block": _example("STAGE dev {\n  ENGINE llama.cpp", "STAGE dev {\n  ENGINE llama.cpp\n}"),
    "stray-brace": _example("SYSTEM You are terse.\n}", "SYSTEM You are terse."),
    "text-after-brace": _example("STAGE dev {\n  ENGINE llama.cpp\n} SYSTEM Hi",
                                 "STAGE dev {\n  ENGINE llama.cpp\n}\nSYSTEM Hi"),
    "bad-block-header": _example("STAGE dev\n  ENGINE llama.cpp\n}", "STAGE dev {\n  ENGINE llama.cpp\n}"),
    "instruction-not-allowed-here": _example("STAGE dev {\n  NAME support\n}", "NAME support"),
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
    "template-not-expressible": _example('TEMPLATE """{{ yesterdayDate }} {{ .Prompt }}"""',
                                         'TEMPLATE """{{ .System }} {{ .Prompt }}"""'),
    "unknown-template-variable": _example('TEMPLATE """{{ .Sytem }} {{ .Prompt }}"""',
                                          'TEMPLATE """{{ .System }} {{ .Prompt }}"""'),
    "template-fails": _example('TEMPLATE """{{ .Prompt }}{{ if .System }}{{ .System.Text }}{{ end }}"""',
                               'TEMPLATE """{{ .Prompt }}{{ if .System }}{{ .System }}{{ end }}"""'),
    "bad-template": _example('TEMPLATE """{% for m in messages %}{{ m.content }}"""',
                             'TEMPLATE """{% for m in messages %}{{ m.content }}{% endfor %}"""'),
    "not-yet": _example("STAGE prod {\n  POLICY signed\n}", "STAGE prod {\n  SERVE max_concurrency 8\n}"),
    "missing-argument": _example("ARG TONE\nSYSTEM Be ${TONE}.", "ARG TONE terse\nSYSTEM Be ${TONE}."),
    "unknown-variable": _example("ARG TONE terse\nSYSTEM Be ${TOME}.", "ARG TONE terse\nSYSTEM Be ${TONE}."),
    "unreadable-file": _example("SYSTEMFILE promt.txt", "SYSTEMFILE prompt.txt"),
    "needs-later-release": _example("SERVE task classify", "SERVE task embed"),
    "unused-ignore": _example("# modelkit: ignore[empty-value] the base's prompt is wanted\nSYSTEM You are terse.",
                              "SYSTEM You are terse."),
    "unknown-rule": _example("# modelkit: ignore[empty-vlaue] the base's prompt is wanted\nSYSTEM \"\"",
                             "# modelkit: ignore[empty-value] the base's prompt is wanted\nSYSTEM \"\""),
    "ignore-without-reason": _example("# modelkit: ignore[empty-value]\nSYSTEM \"\"",
                                      "# modelkit: ignore[empty-value] the base's prompt is wanted\nSYSTEM \"\""),
    "bad-ignore": _example("# modelkit: ignore everything below\nSYSTEM \"\"",
                           "# modelkit: ignore[empty-value] the base's prompt is wanted\nSYSTEM \"\""),
    "stray-quote": _example('SYSTEM You are terse."""', 'SYSTEM """You are terse."""'),
    "file-beside-name": _example("FROM ./llama.gguf", "SYSTEM You are terse."),
    "template-ignored": _example('RENDERER qwen3.5\nTEMPLATE """{{ .System }} {{ .Prompt }}"""', "RENDERER qwen3.5"),
    "template-without-prompt": _example('TEMPLATE """{{ .System }} Answer:"""',
                                        'TEMPLATE """{{ .System }} {{ .Prompt }} Answer:"""'),
    "system-not-in-template": _example('SYSTEM You are terse.\nTEMPLATE """{{ .Prompt }}"""',
                                       'SYSTEM You are terse.\nTEMPLATE """{{ .System }} {{ .Prompt }}"""'),
    "removed-template-variable": _example('TEMPLATE """{{ if .First }}{{ .System }}{{ end }}{{ .Prompt }}"""',
                                          'TEMPLATE """{{ .System }}{{ .Prompt }}"""'),
    "jinja-template": _example('TEMPLATE """{% for m in messages %}{{ m.content }}{% endfor %}"""',
                               'TEMPLATE """{{ .Prompt }}"""'),
    "unknown-renderer": _example("RENDERER qwen3.5-coder", "RENDERER qwen3-coder"),
    "num-gpu-counts-layers": _example("PARAMETER num_gpu 1", "PARAMETER num_gpu 99"),
    "variable-in-text": _example("SYSTEM Answer this: {{ .Prompt }}", "SYSTEM Answer what you are asked."),
    "stop-never-reached": _example('PARAMETER stop "<|im"\nPARAMETER stop "<|im_end|>"', 'PARAMETER stop "<|im_end|>"'),
    "test-cannot-pass": _example(
        _TEST.replace("\n}", '\n  EXPECT not contains "Paris"\n}'),
        _TEST.replace("\n}", "\n  EXPECT max_tokens 20\n}")),
    "test-ends-with-answer": _example(_TEST.replace("\n  EXPECT", "\n  ASSISTANT It is Paris.\n  EXPECT"), _TEST),
    "gate-without-tests": _example("STAGE prod {\n  EXPECT tests >= 100%\n}",
                                   f"STAGE prod {{\n  EXPECT tests >= 100%\n}}\n{_TEST}"),
    "cache-path": Example(
        "FROM /home/ada/.cache/huggingface/hub/models--org--llama-GGUF/snapshots/"
        "0123456789abcdef0123456789abcdef01234567/llama.Q4_K_M.gguf\n",
        "FROM hf.co/org/llama-GGUF:Q4_K_M@0123456789abcdef0123456789abcdef01234567\n"),
    "backslash-path": _example("FROM .\\models\\llama.gguf", "FROM ./models/llama.gguf", base=""),
    "second-system-message": _example("SYSTEM You are terse.\nMESSAGE system Answer in English.",
                                      'SYSTEM """You are terse.\nAnswer in English."""'),
    "turns-out-of-order": _example("MESSAGE user What is 2 + 2?",
                                   "MESSAGE user What is 2 + 2?\nMESSAGE assistant It is 4."),
    "template-token-in-text": _example("SYSTEM <|im_start|>system You are terse.<|im_end|>", "SYSTEM You are terse."),
    "template-reads-clock": _example('TEMPLATE """Today is {{ currentDate }}. {{ .Prompt }}"""',
                                     'TEMPLATE """{{ .Prompt }}"""'),
    "tools-not-in-template": _example(
        'TEMPLATE """{{ .Prompt }}"""\n' + _TEST.replace("\n  EXPECT", "\n  TOOLS tools.json\n  EXPECT"),
        'TEMPLATE """{{ .Tools }} {{ .Prompt }}"""\n' + _TEST.replace("\n  EXPECT", "\n  TOOLS tools.json\n  EXPECT")),
    "open-to-the-network": _example("SERVE host 0.0.0.0", "SERVE host 0.0.0.0\nSERVE api_key env:SUPPORT_API_KEY"),
    "privileged-port": _example("SERVE port 80", "SERVE port 8080"),
    "mutable-image": _elsewhere("  SERVE image vllm/vllm-openai:latest\n", "  SERVE image vllm/vllm-openai:v0.32.0\n"),
    "machine-setting": _example("PARAMETER num_thread 8\nSTAGE prod {\n  ENGINE vllm\n}",
                                "STAGE dev {\n  PARAMETER num_thread 8\n}\nSTAGE prod {\n  ENGINE vllm\n}"),
    "folder-name": Example(_elsewhere().good.replace("NAME support\n", ""), _elsewhere().good),
    "default-context": Example(_elsewhere().good.replace("PARAMETER num_ctx 8192\n", ""), _elsewhere().good),
    "no-room-for-prompt": _example("PARAMETER num_ctx 2048\nPARAMETER num_predict 4096",
                                   "PARAMETER num_ctx 8192\nPARAMETER num_predict 4096"),
    "upward-quantization": _example("QUANTIZE Q8_0", "QUANTIZE Q4_K_M", base="FROM hf.co/org/llama-GGUF:Q4_K_M\n"),
    "floor-above-base": _example("QUANTIZE auto >= Q8_0", "QUANTIZE auto >= Q4_K_S",
                                 base="FROM hf.co/org/llama-GGUF:Q4_K_M\n"),
    "auto-needs-hardware": Example(_ON_A_CLUSTER.format(""), _ON_A_CLUSTER.format("  SERVE accelerator L4\n")),
    "penalty-rewards": _example("PARAMETER repeat_penalty 0.9", "PARAMETER repeat_penalty 1.1"),
    "gpu-memory-full": _example("SERVE gpu_memory 1.0", "SERVE gpu_memory 0.95"),
    "max-replicas-too-low": _example("SERVE replicas 4\nSERVE max_replicas 2",
                                     "SERVE replicas 2\nSERVE max_replicas 4"),
    "not-for-this-task": _example("SERVE task embed\nSYSTEM You are terse.", "SERVE task embed\nSERVE pooling mean"),
    "draft-is-base": _example("FROM ./llama.gguf\nDRAFT ./llama.gguf",
                              "FROM ./llama.gguf\nDRAFT ./small.gguf", base=""),
    "adapter-name-twice": _example("ADAPTER ./a.gguf AS kind\nADAPTER ./b.gguf AS kind",
                                   "ADAPTER ./a.gguf AS kind\nADAPTER ./b.gguf AS curt"),
    "pickled-weights": _example("FROM ./llama.pth", "FROM ./llama.safetensors", base=""),
    "lower-case-instruction": _example("parameter temperature 0.2", "PARAMETER temperature 0.2"),
    "from-not-first": _example("SYSTEM You are terse.\nFROM llama3.2:3b",
                               "FROM llama3.2:3b\nSYSTEM You are terse.", base=""),
    "duplicate-stop": _example("PARAMETER stop User:\nPARAMETER stop User:",
                               "PARAMETER stop User:\nPARAMETER stop Bot:"),
    "duplicate-line": _example("STAGE prod {\n  FLAG --enforce-eager\n  FLAG --enforce-eager\n}",
                               "STAGE prod {\n  FLAG --enforce-eager\n}"),
    "multi-line-quote": _example('SYSTEM "You are terse.\nSay \'no\' rarely."',
                                 'SYSTEM """You are terse.\nSay \'no\' rarely."""'),
    "empty-stage": _example("STAGE dev {\n}", "STAGE dev {\n  SERVE max_concurrency 2\n}"),
    "redundant-override": _example("SERVE max_concurrency 8\nSTAGE prod {\n  SERVE max_concurrency 8\n}",
                                   "SERVE max_concurrency 8\nSTAGE dev {\n  SERVE max_concurrency 2\n}"),
    "sweep-of-one": _example("STAGE experiment {\n  TRY QUANTIZE Q4_K_M\n}",
                             "STAGE experiment {\n  TRY QUANTIZE Q4_K_M Q8_0\n}"),
    "unsteady-test": _example(
        _TEST.replace("contains", "equals").replace("\n  EXPECT", "\n  PARAMETER temperature 0.8\n  EXPECT"),
        _TEST.replace("contains", "equals")),
    "flag-not-in-engine": _prod("ENGINE vllm >=0.32,<0.33\n  FLAG --enforce-eagre",
                                "ENGINE vllm >=0.32,<0.33\n  FLAG --enforce-eager"),
    "flag-not-yours": _prod("FLAG --port 9000", "SERVE port 9000"),
    "flag-breaks-in-range": _prod("ENGINE vllm >=0.31,<0.33\n  FLAG --grpc-port 50051",
                                  "ENGINE vllm >=0.32,<0.33\n  FLAG --grpc-port 50051"),
    "flag-changes": _prod("ENGINE vllm >=0.32,<0.33\n  FLAG --no-enable-prefix-caching",
                          "ENGINE vllm >=0.32,<0.33\n  SERVE prefix_caching false"),
    "unknown-parser": _prod("SERVE tool_parser hermez", "SERVE tool_parser hermes"),
    "unknown-accelerator": _prod("SERVE accelerator H1000", "SERVE accelerator H100"),
    "lost-setting": _prod("PARAMETER num_keep 4", "PARAMETER num_ctx 8192"),
    "lost-under-strict": _example("PARAMETER num_keep 4\nSTAGE prod {\n  POLICY strict\n}",
                                  "STAGE dev {\n  PARAMETER num_keep 4\n}\nSTAGE prod {\n  POLICY strict\n}"),
    "engine-vulnerable": _prod("ENGINE vllm ==0.29.*", "ENGINE vllm >=0.32,<0.33"),
    "engine-advisory": _prod("ENGINE vllm >=0.31,<0.33", "ENGINE vllm >=0.32,<0.33"),
    "missing-file": _example("FROM ./lama.gguf", "FROM ./llama.gguf", base=""),
    "shadowed-name": _example("FROM llama3.2", "FROM llama3.2:3b", base=""),
    "context-too-long": _example("FROM ./llama.gguf\nPARAMETER num_ctx 131072",
                                 "FROM ./llama.gguf\nPARAMETER num_ctx 2048",
                                 base=""),
    "no-chat-template": _example("FROM ./base-model.gguf", "FROM ./llama.gguf", base=""),
    "adapter-of-another-model": _example("FROM ./gemma.gguf\nADAPTER ./tone.gguf",
                                         "FROM ./llama.gguf\nADAPTER ./tone.gguf", base=""),
    "draft-of-another-vocabulary": _example("FROM ./llama.gguf\nDRAFT ./gemma.gguf",
                                            "FROM ./llama.gguf\nDRAFT ./small.gguf", base=""),
}
