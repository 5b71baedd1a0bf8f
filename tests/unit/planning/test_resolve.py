"""Resolution: layers, defaults, origins, needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelkit.contract.effective import template_digest
from modelkit.contract.profile import Profile
from modelkit.failure import Failure
from modelkit.language.check import compile_source
from modelkit.language.source import Source
from modelkit.llamacpp.template import Template
from modelkit.models import ModelFacts
from modelkit.models.forms import Step
from modelkit.models.inherited import Inherited
from modelkit.planning.facts import Facts, Overrides
from modelkit.planning.locking import settings_digest
from modelkit.planning.plan import Engine, Plan, Weights
from modelkit.planning.resolve import resolve

LLAMA = Engine(name="llama.cpp", provider="xllamacpp", version="2026.10.11549", command=("python",))
VLLM = Engine(name="vllm", provider="environment", version="0.32.0", command=("vllm",), variant="cpu")
GGUF = Weights(reference="./m.gguf", form="gguf", path="/m.gguf", digest="sha256:1", size=1)
FOLDER = Weights(reference="./m.gguf", form="safetensors", path="/f", digest="sha256:2", size=2, recipe={"a": 1})


def facts(**more: Any) -> Facts:
    return Facts(**{"engines": {"llama.cpp": LLAMA, "vllm": VLLM}, "reference": "./m.gguf", "gguf": GGUF,
                    "safetensors": FOLDER, **more})


def plan(text: str, stage: str = "dev", known: Facts | None = None, overrides: Overrides | None = None) -> Plan:
    modelfile, diagnostics = compile_source(Source("Modelfile", text))
    assert modelfile is not None, diagnostics
    return resolve(modelfile, stage, known or facts(), overrides)


def profile(text: str, stage: str = "dev") -> Profile:
    return Profile.from_json(plan(text, stage).profile)


FILE = """FROM ./m.gguf
SYSTEM base
PARAMETER temperature 0.2
PARAMETER stop "a"
PARAMETER stop "b"
STAGE prod {
  SYSTEM other
  PARAMETER temperature 0.5
  PARAMETER stop "c"
  SERVE max_concurrency 9
}
"""


def test_a_stage_wins_and_every_value_says_where_it_comes_from() -> None:
    dev, prod = plan(FILE), plan(FILE, "prod")
    assert (dev.profile["system"], prod.profile["system"]) == ("base", "other")
    assert (dev.profile["defaults"]["temperature"], prod.profile["defaults"]["temperature"]) == (0.2, 0.5)
    assert (dev.profile["stop"], prod.profile["stop"]) == (["a", "b"], ["c"])
    origins = {name: str(setting.origin) for name in ("temperature", "top_p", "serve.max_concurrency")
               if (setting := prod.setting(name))}
    assert origins == {"temperature": "stage Modelfile:8", "top_p": "default",
                       "serve.max_concurrency": "stage Modelfile:10"}
    assert str(dev.setting("temperature").origin) == "modelfile Modelfile:3"  # type: ignore[union-attr]


def test_the_same_inputs_give_the_same_bytes() -> None:
    assert plan(FILE, "prod").model_dump_json() == plan(FILE, "prod").model_dump_json()


def test_a_plan_survives_json() -> None:
    made = plan(FILE, "prod")
    assert Plan.model_validate_json(made.model_dump_json()) == made


def test_defaults_are_whole_and_the_same_on_both_engines() -> None:
    dev, prod = profile("FROM ./m.gguf\n"), profile("FROM ./m.gguf\n", "prod")
    assert dev.defaults == prod.defaults == {
        "temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "repetition_penalty": 1.0,
        "presence_penalty": 0.0, "frequency_penalty": 0.0}
    assert (dev.system, dev.messages, dev.stop, dev.max_tokens) == (None, (), (), None)


@pytest.mark.parametrize(("line", "field", "value"), [
    ("PARAMETER seed 7", "seed", 7),
    ("PARAMETER repeat_penalty 1.2", "repetition_penalty", 1.2),
    ("PARAMETER top_k 5", "top_k", 5),
])
def test_parameters_become_request_fields(line: str, field: str, value: object) -> None:
    assert profile(f"FROM ./m.gguf\n{line}\n").defaults[field] == value


def test_a_negative_seed_is_a_random_one() -> None:
    assert "seed" not in profile("FROM ./m.gguf\nPARAMETER seed -1\n").defaults


@pytest.mark.parametrize(("line", "limit"), [("PARAMETER num_predict 5", 5), ("PARAMETER num_predict -1", None)])
def test_num_predict_is_the_default_limit(line: str, limit: int | None) -> None:
    assert profile(f"FROM ./m.gguf\n{line}\n").max_tokens == limit


def test_few_shots_and_name_reach_the_profile() -> None:
    made = profile("FROM ./m.gguf\nNAME bot\nMESSAGE user hi\nMESSAGE assistant hello\n")
    assert made.name == "bot"
    assert made.messages == ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"})


def test_engines_follow_the_stage() -> None:
    expected = (("dev", "llama.cpp", GGUF), ("experiment", "llama.cpp", GGUF), ("prod", "vllm", FOLDER))
    for stage, engine, weights in expected:
        made = plan("FROM ./m.gguf\n", stage)
        assert (made.engine_name, made.weights, made.needs) == (engine, weights, ())


def test_what_is_missing_is_a_need() -> None:
    made = plan("FROM ./m.gguf\n", "prod", Facts(reference="./m.gguf"))
    assert [(n.code, n.automatic) for n in made.needs] == [("download", True), ("dequantize", True), ("engine", False)]
    assert "modelkit engine install vllm" in made.needs[-1].message


def test_an_engine_outside_the_asked_range_is_a_need() -> None:
    made = plan("FROM ./m.gguf\nSTAGE prod {\n  ENGINE vllm >=0.33\n}\n", "prod")
    assert made.engine is None
    assert "0.32.0 is installed" in made.needs[0].message
    assert "Modelfile:3" in made.needs[0].message


def test_an_unknown_stage_names_the_known_ones() -> None:
    with pytest.raises(Failure) as caught:
        plan("FROM ./m.gguf\n", "staging")
    assert caught.value.code == "unknown-stage"
    assert "dev, prod" in str(caught.value.hint)


def model(context_length: int) -> ModelFacts:
    return ModelFacts(architecture="llama", context_length=context_length, parameters=1, quantization="Q4_1",
                      vocabulary=1, chat_template="{% for m in messages %}{% endfor %}", bos=None, eos="</s>")


def test_context_is_capped_by_the_model_when_unsaid_and_refused_when_said() -> None:
    assert plan("FROM ./m.gguf\n", known=facts(model=model(2048))).context_length == 2048
    assert plan("FROM ./m.gguf\n", known=facts(model=model(8192))).context_length == 4096
    with pytest.raises(Failure) as caught:
        plan("FROM ./m.gguf\nPARAMETER num_ctx 4096\n", known=facts(model=model(2048)))
    assert caught.value.code == "context-too-long"
    assert "Modelfile:2" in caught.value.message


def test_the_address_comes_from_the_nearest_layer() -> None:
    text = "FROM ./m.gguf\nSERVE port 9000\nSERVE api_key env:BOT_KEY\n"
    assert (plan(text).port, plan(text).api_key, plan(text).host) == (9000, "env:BOT_KEY", "127.0.0.1")
    over = plan(text, overrides=Overrides(port=9001, port_origin="environment", api_key="env:MODELKIT_API_KEY"))
    assert (over.port, over.api_key) == (9001, "env:MODELKIT_API_KEY")
    assert str(over.setting("serve.port").origin) == "environment"  # type: ignore[union-attr]


def test_a_folder_is_served_by_vllm_and_converted_for_llama_cpp() -> None:
    folder = FOLDER.model_copy(update={"recipe": None})
    assert plan("FROM ./folder\n", "prod", facts(gguf=None, base=folder)).weights == FOLDER
    steps = (Step("convert"), Step("quantize", "Q4_K_M"))
    made = plan("FROM ./folder\nQUANTIZE Q4_K_M\n", "dev",
                facts(gguf=None, base=folder, steps=steps, tools=frozenset(["converter"])))
    assert made.weights is None
    assert [(n.code, n.automatic) for n in made.needs] == [("convert", True), ("quantize", True), ("tool", False)]
    assert "modelkit tool install quantizer" in made.needs[-1].message


BASE = Inherited("You are base.", {"temperature": 0.1, "num_ctx": 2048, "top_k": 5}, ("<end>",),
                 ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}))


def test_what_a_base_brings_with_it_counts_until_the_file_says_something() -> None:
    known = facts(inherited=BASE)
    made = plan("FROM llama3\nPARAMETER temperature 0.7\n", known=known)
    assert made.profile["system"] == "You are base." and made.profile["stop"] == ["<end>"]
    assert [m["content"] for m in made.profile["messages"]] == ["hi", "ho"]
    assert made.profile["defaults"]["temperature"] == 0.7 and made.profile["defaults"]["top_k"] == 5
    assert made.context_length == 2048
    assert {s.name for s in made.settings if s.origin.kind == "model"} == {"system", "stop", "messages", "top_k",
                                                                           "num_ctx"}
    own = plan('FROM llama3\nSYSTEM mine\nPARAMETER stop "x"\nMESSAGE user a\n', known=known).profile
    assert (own["system"], own["stop"], len(own["messages"])) == ("mine", ["x"], 1)


def test_unset_drops_what_a_base_brings_with_it() -> None:
    file = "FROM llama3\nUNSET SYSTEM\nUNSET PARAMETER stop\nUNSET PARAMETER top_k\nUNSET MESSAGE\n"
    made = plan(file, known=facts(inherited=BASE)).profile
    assert (made["system"], made["stop"], made["messages"], made["defaults"]["top_k"]) == (None, [], [], 40)


def test_the_settings_digest_is_the_files_own() -> None:
    with_base = settings_digest(plan("FROM llama3\nSYSTEM mine\n", known=facts(inherited=BASE)))
    assert with_base == settings_digest(plan("FROM llama3\nSYSTEM mine\n")) == settings_digest(
        plan("FROM llama3\nSYSTEM mine\n", known=facts(model=model(512))))
    assert with_base != settings_digest(plan("FROM llama3\nSYSTEM other\n"))


def test_flags_are_passed_as_written() -> None:
    made = plan("FROM ./m.gguf\nSTAGE prod {\n  FLAG --enforce-eager\n  FLAG --seed 3\n}\n", "prod")
    assert made.flags == ("--enforce-eager", "--seed", "3")


def test_a_jinja_template_is_the_plans_as_it_is() -> None:
    jinja = 'FROM ./m.gguf\nTEMPLATE """{% for m in messages %}{{ m.content }}{% endfor %}"""\n'
    assert plan(jinja).chat_template == "{% for m in messages %}{{ m.content }}{% endfor %}"


def begun(adds: bool | None, template: str = "Q: {{ .Prompt }} A: ") -> str:
    """The prompt of a plan with a Go template, for a model whose tokenizer begins a text with `<s>`, or not."""
    known = facts(model=replace(model(512), bos="<s>", adds_bos=adds))
    made = plan(f'FROM ./m.gguf\nTEMPLATE """{template}"""\n', known=known).chat_template
    assert made is not None
    return Template(made, {"bos_token": "<s>"}).render([{"role": "user", "content": "why?"}])


def test_a_go_template_is_the_plans_as_jinja() -> None:
    assert begun(None) == "Q: why? A: "
    assert plan("FROM ./m.gguf\nTEMPLATE {{ .Prompt }}\n", "prod").chat_template == plan(
        "FROM ./m.gguf\nTEMPLATE {{ .Prompt }}\n").chat_template


def test_a_go_templates_prompt_begins_as_the_tokenizer_would_begin_it_once() -> None:
    assert begun(True) == "<s>Q: why? A: " and begun(False) == "Q: why? A: "
    assert begun(True, "<s>Q: {{ .Prompt }} A: ") == "<s>Q: why? A: "


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_a_template_that_leaves_bos_to_llama_cpp_is_given_with_it_to_every_engine(stage: str) -> None:
    own = replace(model(512), chat_template="{{ messages }}", bos="<s>", adds_bos=True)
    assert plan("FROM ./m.gguf\n", stage, known=facts(model=own)).chat_template is None  # a folder's: nobody adds it
    given = plan("FROM ./m.gguf\n", stage, known=facts(model=replace(own, leaves_bos=True)))
    assert given.chat_template == "{{ bos_token }}{{ messages }}"
    assert given.template_digest == template_digest(given.chat_template)
    said = plan('FROM ./m.gguf\nTEMPLATE """{% for m in messages %}{% endfor %}"""\n', stage,
                known=facts(model=replace(own, leaves_bos=True)))
    assert said.chat_template == "{% for m in messages %}{% endfor %}"


def test_the_bases_go_template_is_used_where_its_model_has_no_jinja() -> None:
    base = Inherited(template="<{{ .Prompt }}>")
    without = replace(model(512), chat_template=None)
    assert plan("FROM llama3\n", known=facts(model=model(512), inherited=base)).chat_template is None
    made = plan("FROM llama3\n", known=facts(model=without, inherited=base))
    assert made.chat_template is not None and str(made.setting("template").origin) == "model"  # type: ignore[union-attr]
    assert Template(made.chat_template).render([{"role": "user", "content": "why?"}]) == "<why?>"


def test_a_model_without_a_chat_template_is_refused() -> None:
    bare = ModelFacts(architecture="llama", context_length=64, parameters=1, quantization="F16", vocabulary=1,
                      chat_template=None, bos=None, eos=None)
    with pytest.raises(Failure) as caught:
        plan("FROM ./m.gguf\n", known=facts(model=bare))
    assert caught.value.code == "no-chat-template"


@pytest.mark.parametrize("engine", ["sglang", "tensorrt-llm"])
def test_an_engine_of_images_is_told_so_on_this_machine(engine: str) -> None:
    (need,) = [n for n in plan(f"FROM ./m.gguf\nENGINE {engine}").needs if n.code == "engine"]
    assert engine in need.message and "PLATFORM compose" in need.message and not need.automatic
