"""What a Modelfile means once it is checked. What is said about wrong ones is in tests/golden/errors."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelkit.language import examples
from modelkit.language.check import check, compile_source
from modelkit.language.checking.references import SCHEMES
from modelkit.language.diagnostic import Diagnostic, Report, Severity
from modelkit.language.layers import effective
from modelkit.language.modelfile import (
    Assertion,
    EngineChoice,
    Expectation,
    Flag,
    Message,
    Modelfile,
    Quantization,
    Said,
    Unset,
)
from modelkit.language.parser import parse
from modelkit.language.rules import RULES
from modelkit.language.source import Source, Span
from modelkit.language.suppressions import suppress
from modelkit.models import reference
from tests.unit.language.outsides import BESIDE

ROOT = Path(__file__).parents[3]
FROM = "FROM llama3.2:3b\n"


def compiled(text: str, name: str = "assistant.Modelfile") -> Modelfile:
    modelfile, found = compile_source(Source(name, text))
    assert modelfile is not None, [f"{d.rule.id}: {d.message}" for d in found]
    return modelfile


def said(text: str) -> list[str]:
    source = Source("Modelfile", text)
    return [d.rule.id for d in suppress(source, compile_source(source, BESIDE)[1])[0]]


def errors(found: list[Diagnostic]) -> list[str]:
    return [d.rule.id for d in found if d.severity is Severity.ERROR]


def test_every_value_has_its_type_and_its_place() -> None:
    text = FROM + 'SYSTEM """Be\nbrief."""\nPARAMETER temperature .5\nPARAMETER use_mmap F\nPARAMETER stop "#"\n'
    modelfile = compiled(text)
    layer = modelfile.layer
    assert layer.system is not None and layer.system.value == "Be\nbrief."
    assert text[layer.system.span.start : layer.system.span.end] == '"""Be\nbrief."""'
    assert (layer.parameters["temperature"].value, layer.parameters["use_mmap"].value) == (0.5, False)
    assert layer.stop == (Said("#", Span(text.index('"#"'), text.index('"#"') + 3)),)
    assert "stop" not in layer.parameters
    assert modelfile.where(layer.parameters["temperature"].span) == "assistant.Modelfile:4"


def test_a_place_counts_crlf_once() -> None:
    modelfile = compiled((FROM + "SYSTEM Hi\nPARAMETER seed 1\n").replace("\n", "\r\n"))
    assert modelfile.where(modelfile.layer.parameters["seed"].span) == "assistant.Modelfile:3"


def test_name_is_the_files_own_unless_it_is_said() -> None:
    assert compiled(FROM).name.value == "assistant"
    assert compiled(FROM, "/srv/support/Modelfile").name.value == "support"
    assert compiled(FROM + "NAME one\nNAME org/two:3b\n").name.value == "org/two:3b"


def test_the_last_of_a_scalar_wins() -> None:
    text = FROM + "SYSTEM a\nSYSTEM b\nPARAMETER seed 1\nPARAMETER seed 2\nSERVE port 1\nSERVE port 2\n"
    layer = compiled(text).layer
    assert layer.system is not None and layer.system.value == "b"
    assert (layer.parameters["seed"].value, layer.serve["port"].value) == (2, 2)


def test_lists_add_up_in_file_order() -> None:
    text = (FROM + "PARAMETER stop b\nPARAMETER stop a\nPARAMETER stop b\nMESSAGE user Hi\nMESSAGE assistant Hello\n"
            "LICENSE MIT\nLICENSE Apache-2.0\nFLAG --seed 3\nFLAG --enforce-eager\nFLAG --seed 4\n")
    layer = compiled(text).layer
    assert [s.value for s in layer.stop or ()] == ["b", "a", "b"]
    assert [m.value for m in layer.messages or ()] == [Message("user", "Hi"), Message("assistant", "Hello")]
    assert [x.value for x in layer.licenses or ()] == ["MIT", "Apache-2.0"]
    assert [f.value for f in layer.flags] == [Flag("--seed", "3"), Flag("--enforce-eager"), Flag("--seed", "4")]


def test_an_empty_text_leaves_the_bases() -> None:
    layer = compiled(FROM + 'SYSTEM ""\nTEMPLATE ""\nLICENSE ""\nPARAMETER stop ""\n').layer
    assert (layer.system, layer.template, layer.licenses, layer.stop) == (None, None, None, None)


def test_an_empty_message_is_a_message() -> None:
    assert [m.value for m in compiled(FROM + 'MESSAGE user ""\n').layer.messages or ()] == [Message("user", "")]


def test_an_empty_from_is_the_files_folder() -> None:
    modelfile = compiled("FROM \n")
    assert modelfile.layer.base is not None and modelfile.layer.base.value == "."


def test_a_projector_is_not_the_base() -> None:
    for text in ("FROM ./model.gguf\nFROM ./mmproj-f16.gguf\n", "FROM ./mmproj-f16.gguf\nFROM ./model.gguf\n"):
        base = compiled(text).layer.base
        assert base is not None and base.value == "./model.gguf"
        assert compiled(text).layer.projector is not None and said(text) == []
    assert compiled("FROM ./mmproj-f16.gguf\n").layer.projector is None


@pytest.mark.parametrize("name", ["model", "system", "template", "license", "renderer", "parser", "requires"])
def test_a_parameter_may_act_as_an_instruction(name: str) -> None:
    layer = compiled(f"FROM x:1\nPARAMETER {name} 1.2.3\n").layer
    meant = {"model": "base", "license": "licenses"}.get(name, name)
    found = getattr(layer, meant)
    assert (found[0] if meant == "licenses" else found).value == "1.2.3"
    assert not layer.parameters


def test_a_parameter_may_act_as_a_message() -> None:
    layer = compiled(FROM + "PARAMETER message user: Hi: there\n").layer
    assert [m.value for m in layer.messages or ()] == [Message("user", "Hi: there")]


@pytest.mark.parametrize(
    ("operands", "value"),
    [("Q4_K_M", Quantization("Q4_K_M")), ("q4_k", Quantization("Q4_K_M")), ("none", Quantization("none")),
     ("AUTO", Quantization("auto")), ("auto >= q5_k_m", Quantization("auto", "Q5_K_M")),
     ("auto speed >= 20 tok/s", Quantization("auto", None, 20.0)),
     ("auto >=Q4_0 speed>=7.5", Quantization("auto", "Q4_0", 7.5)),
     ("auto imatrix ./a b.imatrix", Quantization("auto", imatrix="./a b.imatrix")),
     ("auto >= IQ3_M speed >= 20 tok/s imatrix m.gguf", Quantization("auto", "IQ3_M", 20.0, "m.gguf"))],
)
def test_quantize(operands: str, value: Quantization) -> None:
    quantize = compiled(f"{FROM}QUANTIZE {operands}\n").layer.quantize
    assert quantize is not None and quantize.value == value


def test_quantize_to_what_the_base_is_has_its_effect_already() -> None:
    base = "FROM hf.co/org/model-GGUF:Q4_K_M\n"
    assert said(f"{base}QUANTIZE Q4_K_M\n") == said(f"{base}QUANTIZE none\n") == []
    assert said(f"{base}QUANTIZE Q3_K_M\n") == []
    assert said(f"{base}QUANTIZE nvfp4\n") == ["not-yet"]
    assert said(f"{base}QUANTIZE auto\n") == []


@pytest.mark.parametrize(
    ("operands", "value"),
    [("vllm", EngineChoice("vllm")), ("vLLM >=0.32,<0.34", EngineChoice("vllm", ">=0.32,<0.34")),
     ("vllm >= 0.32 , != 0.33.1", EngineChoice("vllm", ">=0.32,!=0.33.1")),
     ("vllm ~=0.32.1", EngineChoice("vllm", "~=0.32.1")),
     ("vllm ==0.32.*", EngineChoice("vllm", "==0.32.*")), ("llama-server", EngineChoice("llama-server"))],
)
def test_engine(operands: str, value: EngineChoice) -> None:
    engine = compiled(f"{FROM}ENGINE {operands}\n").layer.engine
    assert engine is not None and engine.value == value


@pytest.mark.parametrize(
    "version",
    [">=0.34,<0.32", ">0.32,<=0.32", "==0.31,>0.32", "==1,==2", "0.32", "^1", ">=", ">=x", ",", ">=1,", "~=1", "<1 <2",
     "==" + "9" * 5000],
)
def test_no_version_range(version: str) -> None:
    assert "bad-version-range" in said(f"{FROM}ENGINE vllm {version}\n")


@pytest.mark.parametrize(
    ("operands", "metric", "op", "value"),
    [("ttft.p95 <= 500ms", "ttft.p95", "<=", 0.5), ("ttft.p95<=1s", "ttft.p95", "<=", 1.0),
     ("tests >= 100%", "tests", ">=", 1.0),
     ("tokens_per_second > 20 tok/s", "tokens_per_second", ">", 20.0), ("memory < 2GB", "memory", "<", 2e9),
     ("eval.mmlu >= 0.6", "eval.mmlu", ">=", 0.6), ("errors == 0", "errors", "==", 0.0)],
)
def test_gates(operands: str, metric: str, op: str, value: float) -> None:
    gates = compiled(f"{FROM}STAGE prod {{\n  EXPECT {operands}\n}}\n").stages["prod"].layer.expectations
    assert [g.value for g in gates] == [Expectation(metric, op, value, operands)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operands", "value"),
    [("SYSTEM", Unset("SYSTEM")), ("parameter stop", Unset("PARAMETER", "stop")), ("SERVE", Unset("SERVE")),
     ("FLAG --enforce-eager", Unset("FLAG", "--enforce-eager")), ("EXPECT eval.mmlu", Unset("EXPECT", "eval.mmlu"))],
)
def test_unset(operands: str, value: Unset) -> None:
    assert [u.value for u in compiled(f"{FROM}UNSET {operands}\n").layer.unset] == [value]


def test_what_is_said_after_an_unset_counts_and_before_it_does_not() -> None:
    text = FROM + "FLAG --a\nPARAMETER stop x\nUNSET FLAG\nUNSET PARAMETER\nFLAG --b\nPARAMETER seed 1\n"
    layer = compiled(text).layer
    assert [f.value for f in layer.flags] == [Flag("--b")]
    assert layer.stop is None and set(layer.parameters) == {"seed"}
    assert [u.value for u in layer.unset] == [Unset("FLAG"), Unset("PARAMETER")]


def test_stages() -> None:
    modelfile = compiled(FROM + "STAGE canary extends prod {\n  SERVE port 9000\n}\nSTAGE prod {\n  FROM other:1\n}\n")
    canary = modelfile.stages["canary"]
    assert canary.extends is not None and canary.extends.value == "prod"
    assert [s.name for s in modelfile.lineage("canary")] == ["canary", "prod"]
    assert [modelfile.kind(s) for s in ("canary", "prod", "dev")] == ["prod", "prod", "dev"]
    assert modelfile.lineage("dev") == ()
    with pytest.raises(KeyError):
        modelfile.lineage("staging")


def test_a_plain_file_has_all_three_stages() -> None:
    modelfile = compiled(FROM)
    assert modelfile.stages == {} and [modelfile.kind(s) for s in ("experiment", "dev", "prod")]


def test_a_golden_conversation() -> None:
    text = FROM + """TEST "capital" {
  SYSTEM You are terse.
  USER What is the capital of France?
  ASSISTANT It is Paris.
  USER And of Italy?
  PARAMETER temperature 0
  PARAMETER stop "."
  TOOLS tools.json
  REPEAT 5 PASS 4
  EXPECT contains "Rome"
  EXPECT NOT regex /Par.s/
  EXPECT tool_call none
  EXPECT similar "It is Rome." >= 0.8
  EXPECT latency <= 2s
}
"""
    (test,) = compiled(text).tests
    assert (test.title, test.repeat, test.must_pass) == ("capital", 5, 4)
    assert [t.value.role for t in test.turns] == ["system", "user", "assistant", "user"]
    assert test.parameters["temperature"].value == 0.0
    assert [s.value for s in test.stop or ()] == ["."]
    assert test.tools is not None and test.tools.value == "tools.json"
    assert [e.value for e in test.expectations] == [
        Assertion("contains", "Rome"), Assertion("regex", "Par.s", negated=True), Assertion("tool_call", "none"),
        Assertion("similar", "It is Rome. >= 0.8"), Assertion("latency", "2s"),
    ]


def test_all_errors_come_at_once_and_in_file_order() -> None:
    found = compile_source(Source("Modelfile", FROM + "PARAMETER temprature 1\nSYSTM x\nENGINE vlm\nSTAGE x {\n}\n"))[1]
    assert errors(found) == ["unknown-parameter", "unknown-instruction", "unknown-engine", "unknown-stage"]
    assert [d.span.start for d in found] == sorted(d.span.start for d in found)


def test_there_is_no_modelfile_after_an_error_of_any_phase() -> None:
    source = Source("Modelfile", FROM + "SYSTM x\n")
    document, found = parse(source)
    assert check(document, Report(list(found))) is None
    assert check(document, Report()) is not None


def test_warnings_about_meaning_wait_for_a_whole_shape() -> None:
    assert said(FROM + "QUANTIZE nvfp4\nSYSTM x\n") == ["unknown-instruction"]
    assert said(FROM + "QUANTIZE nvfp4\n") == ["not-yet"]


def test_not_yet_is_said_once_for_each_thing() -> None:
    stage = "STAGE {} {{\n  POLICY signed\n  POLICY licence\n}}\n"
    assert said(FROM + stage.format("dev") + stage.format("prod")) == ["not-yet", "not-yet"]


def test_no_secret_is_repeated_in_what_is_said() -> None:
    key = "sk-ABCDEFGHIJKLMNOPQRSTUVWX"
    text = f"{FROM}SERVE api_key {key}\nFLAG --api-key {key}\n# {key}\n"
    found = compile_source(Source("Modelfile", text))[1]
    assert [d.rule.id for d in found] == ["secret-in-file", "secret-in-file", "possible-secret", "possible-secret"]
    assert not [d for d in found if key in d.message or key in (d.hint or "")]


@pytest.mark.parametrize(
    ("text", "rules"),
    [("llama3.2:3b", []), ("./model.gguf", []), ("~/models/m.gguf", []), ("./my model.gguf", []),
     ("C:\\models\\m.gguf", []), ("hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0", []), ("hf://org/repo", []),
     ("pypi://dist==1/a/b.gguf", []), ("someone/llama:1b", []), ("registry.example.com/ns/model:1", []),
     ("oci://host/ns/name@sha256:00", []), ("https://host/model.gguf", []), ("llama3.2", ["mutable-reference"]),
     ("oci://host/ns/name", ["mutable-reference"]), ("a/b:latest", ["mutable-reference"]),
     ("google/gemma-3", ["bare-org-name"]), ("org/Model-GGUF:Q4_0", ["bare-org-name"]),
     ("models/m.gguf", ["name-is-path"]), ("/home/ada/m.gguf", ["machine-path"]),
     ("C:\\Users\\ada\\m.gguf", ["machine-path"]), ("<model>", ["placeholder"]), ("${BASE}", ["placeholder"]),
     ("my model", ["bad-reference"]), ("http://host/m.gguf", ["bad-reference"])],
)
def test_references(text: str, rules: list[str]) -> None:
    assert said(f"FROM {text}\n") == rules


@pytest.mark.parametrize(
    ("template", "rules"),
    [("{{ .Prompt }}", []), ("plain {{ .Messages }}", ["template-not-expressible"]),
     ("{{ .Prompt", ["bad-template"]), ("{{ m.content }}", ["bad-template"]),
     ("{{ json .Messages }}", ["template-not-expressible"]),
     ("{% if messages %}{% endif %}", []),
     ("{% nonsense %}", ["bad-template"]),
     ("{% for m in messages %}{% generation %}{{ m }}{% endgeneration %}{% break %}{% endfor %}", []),
     ("{% if x %}", ["bad-template"]), ("{%", ["bad-template"]), ("{% if " + "(" * 3000 + " %}", ["bad-template"])],
)
def test_templates(template: str, rules: list[str]) -> None:
    assert said(f'NAME x\n{FROM}TEMPLATE """{template}"""\n') == rules


def test_the_quickstart_is_good() -> None:
    path = ROOT / "examples/quickstart/Modelfile"
    modelfile, found = compile_source(Source.read(path))
    assert modelfile is not None and {d.rule.id for d in found} <= {"not-yet"}


def test_what_ollama_parses_has_no_error_but_of_meaning() -> None:
    meaning = {rule.id for rule in RULES.values() if rule.family != "syntax"}
    cases = (ROOT / "tests/golden/syntax/ollama_cases.jsonl").read_text("utf-8").splitlines()
    accepted = [case for case in map(json.loads, cases) if "commands" in case]
    assert len(accepted) > 50
    for case in accepted:
        data = base64.b64decode(case["base64"]) if "base64" in case else case["text"].encode()
        found = compile_source(Source.decode("Modelfile", data))[1]
        assert set(errors(found)) <= meaning, case["name"]


def test_every_rule_has_an_example() -> None:
    assert set(examples.EXAMPLES) == set(RULES)


@pytest.mark.parametrize("rule", sorted(rule.id for rule in RULES.values() if rule.family not in ("engine", "model")))
def test_a_rules_examples_show_it(rule: str) -> None:
    example = examples.EXAMPLES[rule]
    assert rule in said(example.bad)
    assert compile_source(Source("Modelfile", example.good))[0] is not None
    assert rule not in said(example.good)


def test_checking_imports_nothing_slow() -> None:
    """`modelkit check` of one file has 300 ms, Python's own start included."""
    program = (
        "import sys; from pathlib import Path; from modelkit.language.check import compile_source; "
        "from modelkit.language.source import Source; "
        "modelfile, _ = compile_source(Source.read(Path(sys.argv[1]))); assert modelfile; "
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    path = ROOT / "examples/quickstart/Modelfile"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True, cwd=ROOT)
    slow = {"pydantic", "packaging", "jinja2", "numpy", "gguf", "tokenizers", "uvicorn", "asyncio", "http", "psutil"}
    assert not slow & set(done.stdout.split())


def test_a_long_lineage_is_walked_once() -> None:
    chain = "".join(f"STAGE s{i} EXTENDS s{i + 1} {{\n}}\n" for i in range(2000))
    modelfile = compiled(f"{FROM}{chain}STAGE s2000 EXTENDS prod {{\n  SERVE port 1\n}}\n")
    assert modelfile.kind("s0") == "prod" and effective(modelfile, "s0").serve["port"].value == 1
    circle = compile_source(Source("Modelfile", f"{FROM}{chain}STAGE s2000 EXTENDS s0 {{\n}}\n"))[1]
    assert [d.rule.id for d in circle] == ["extends-cycle"]


def test_the_schemes_are_those_that_the_models_room_knows() -> None:
    assert set(SCHEMES) == set(reference._SCHEMES)
