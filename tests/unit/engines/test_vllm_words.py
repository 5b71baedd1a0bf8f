"""What is explained is what is done: words, launch, container and configuration are one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from modelkit.engines import llama_server, vllm
from modelkit.engines.launch import RUN
from modelkit.engines.vllm_config import config_text
from modelkit.engines.vllm_words import address_words, author_words, model_words, setting_words, variable_words
from modelkit.engines.word import Word, argv, variables
from modelkit.failure import Failure
from modelkit.planning.plan import ModelSource, Origin, Plan, Shape
from tests.unit.engines.test_vllm import option, plan
from tests.unit.platforms.cases import CASES, engine_of, plan_of

IMAGE = "docker.io/vllm/vllm-openai@sha256:" + "0" * 64
HUB = ModelSource(kind="hub", name="org/model", revision="a" * 40)
FOLDER = ModelSource(kind="folder", name="/models/here")
OURS = Origin(kind="engine")


def contained(settings: dict[str, Any] | None = None, *, variant: str = "cuda", **more: Any) -> Plan:
    return plan(settings, variant=variant, **{"image": IMAGE, "source": HUB, "platform": "kubernetes",
                                              "reference": "hf://org/model", **more})


def config(made: Plan) -> dict[str, Any]:
    """The configuration as YAML's own reader has it."""
    text = next(file.content for file in vllm.container(made).files if file.path == "vllm.yaml")
    read: dict[str, Any] = yaml.safe_load(text)
    return read


@pytest.mark.parametrize("case", [name for name in CASES if engine_of(name, "process") == "vllm"])
def test_the_words_are_the_launch(case: str) -> None:
    made = plan_of(case, "process")
    assert made.engine is not None
    launch, words = vllm.launch(made), vllm.words(made)
    assert launch.argv == (*made.engine.command, "serve", *argv(words))
    assert launch.env == variables(words)
    assert all(word.reason and str(word.origin) for word in words)


def test_llama_cpps_words_are_its_flags() -> None:
    from tests.unit.engines.test_llama_server import config as host
    from tests.unit.engines.test_llama_server import plan as llama_plan

    made = llama_plan(flags=("--threads-http", "3", "--swa-full"), serve_kv_cache="q8_0", main_gpu=1, num_batch=64)
    words = llama_server.words(made)
    assert [list(argv((word,))) for word in words] == host(llama_server.launch(made))["flags"]
    assert all(word.reason and str(word.origin) for word in words)


@pytest.mark.parametrize("case", [name for name in CASES
                                  if engine_of(name, "kubernetes") == "vllm" and name != "adapters"])
@pytest.mark.parametrize("platform", ["compose", "kubernetes"])
def test_the_words_are_the_container(case: str, platform: str) -> None:
    made = plan_of(case, platform)
    container, words = vllm.container(made), vllm.words(made)
    assert container.env == variables(words)
    args = [word for word in container.args if word not in ("--config", "/etc/modelkit/vllm.yaml")]
    assert args == list(argv((*model_words(made), *address_words(made), *author_words(made))))
    assert words == (*model_words(made), *address_words(made), *setting_words(made), *author_words(made),
                     *variable_words(made))
    said = config(made)
    assert [f"--{key}" for key in said] == [word.flag for word in setting_words(made)]
    assert not [key for key, value in said.items() if value is False or value is None or isinstance(value, dict)]
    assert RUN not in "".join((*container.args, *container.env.values(), *map(str, said.values())))


def test_a_container_fetches_by_revision_and_listens_for_its_platform() -> None:
    made = vllm.container(contained())
    assert made.args[:7] == ("org/model", "--revision", "a" * 40, "--tokenizer-revision", "a" * 40, "--config",
                             "/etc/modelkit/vllm.yaml")
    assert not any(word.startswith("--config=") for word in made.args)
    assert made.args[7:] == ("--host", "0.0.0.0", "--port", "8000", "--shutdown-timeout", "60")
    assert made.drain_seconds == 60 and made.health == "/health" and made.image == IMAGE
    assert "HF_HUB_OFFLINE" not in made.env and made.env["VLLM_NO_USAGE_STATS"] == "1"
    assert [(one.variable, one.optional) for one in made.secrets] == [("HF_TOKEN", True)]
    assert not made.mounts


def test_a_container_with_a_mounted_model_fetches_nothing() -> None:
    made = vllm.container(contained(source=FOLDER, api_key="env:KEY"))
    assert made.args[0] == "/models/base" and "--revision" not in made.args
    assert made.env["HF_HUB_OFFLINE"] == "1" and [mount.path for mount in made.mounts] == ["/models/base"]
    assert [(one.variable, one.reference, one.optional) for one in made.secrets] == [("VLLM_API_KEY", "env:KEY", False)]


def test_the_contract_and_the_template_come_along() -> None:
    made = vllm.container(contained({"template": "the Modelfile's"}, chat_template="{{ x }}"))
    files = {file.path: file.content for file in made.files}
    assert files["chat_template.jinja"] == "{{ x }}" and "python/modelkit/contract/middleware.py" in files
    said = config(contained({"template": "t"}, chat_template="x"))
    assert said["chat-template"] == "/etc/modelkit/chat_template.jinja"
    assert made.env["MODELKIT_PROFILE"] == "/etc/modelkit/profile.json"
    assert made.env["PYTHONPATH"] == "/etc/modelkit/python"


@pytest.mark.parametrize(("settings", "variant", "gpus", "shared"), [
    ({}, "cuda", 1, False), ({"serve.tensor_parallel": 2}, "cuda", 2, True),
    ({"serve.tensor_parallel": 2, "serve.pipeline_parallel": 3}, "cuda", 6, True), ({}, "cpu", 0, True),
])
def test_gpus_and_shared_memory(settings: dict[str, Any], variant: str, gpus: int, shared: bool) -> None:
    made = vllm.container(contained(settings, variant=variant))
    assert made.gpus == gpus and (made.shm_bytes > 0) == shared


@pytest.mark.parametrize(("precision", "base", "source", "flag"), [
    ("fp8", "bfloat16", HUB, "fp8"), ("fp8", "fp8", HUB, None), ("fp8", "bfloat16", FOLDER, None),
    ("int8", "compressed-tensors", HUB, None), ("none", "bfloat16", HUB, None), ("Q8_0", "bfloat16", HUB, None),
    ("awq", "bfloat16", FOLDER, None),
])
def test_what_becomes_of_a_precision_in_a_container(precision: str, base: str, source: ModelSource,
                                                    flag: str | None) -> None:
    made = contained({"quantize": precision}, source=source, shape=Shape(precision=base))
    assert config(made).get("quantization") == flag
    assert next(one for one in vllm.lower(made) if one.setting == "quantize").verdict != "lost"


@pytest.mark.parametrize("precision", ["int8", "awq", "gptq", "w4a16"])
def test_weights_that_nobody_makes_there_are_refused(precision: str) -> None:
    with pytest.raises(Failure, match="Modelfile:3") as refused:
        vllm.container(contained({"quantize": precision}, shape=Shape(precision="bfloat16")))
    assert refused.value.code == "precision-not-pushed" and "push" in (refused.value.hint or "")


@pytest.mark.parametrize(("settings", "gpu", "code"), [
    ({"quantize": "fp8"}, "V100", "precision-not-there"), ({"quantize": "fp8"}, "T4", None),
    ({"quantize": "int8"}, "P100", "precision-not-there"), ({"quantize": "gptq"}, "P100", None),
    ({"serve.kv_cache": "fp8"}, "T4", "precision-not-there"), ({"serve.kv_cache": "fp8"}, "L4", None),
    ({"serve.kv_cache": "bf16"}, "T4", "precision-not-there"), ({"serve.kv_cache": "f16"}, "T4", None),
    ({"serve.kv_cache": "fp8"}, None, None),
])
def test_what_a_gpu_lacks_is_refused(settings: dict[str, Any], gpu: str | None, code: str | None) -> None:
    made = plan(settings, variant="cuda", accelerator=gpu)
    if code is None:
        vllm.presume_machine(made)
        return
    with pytest.raises(Failure, match="Modelfile:3") as refused:
        vllm.launch(made)
    assert refused.value.code == code and refused.value.hint


def test_a_checkpoint_that_the_gpu_cannot_compute_is_refused() -> None:
    with pytest.raises(Failure, match="mxfp4") as refused:
        vllm.launch(plan(variant="cuda", accelerator="T4", reference="hf://a/b", shape=Shape(precision="mxfp4")))
    assert refused.value.code == "precision-not-there"


def test_old_gpus_compute_in_half() -> None:
    assert option(vllm.launch(plan(variant="cuda", accelerator="T4")), "--dtype") == "half"
    assert option(vllm.launch(plan(variant="cuda", accelerator="A10")), "--dtype") == "auto"


def test_a_template_that_vllm_does_not_ask_is_lost() -> None:
    made = plan({"template": "the Modelfile's"}, chat_template="{{ x }}", shape=Shape(architecture="gpt_oss"))
    (one,) = vllm.lower(made)
    assert one.verdict == "lost" and "MK-TPL-004" in one.reason
    assert "--chat-template" not in vllm.launch(made).argv


@pytest.mark.parametrize(("settings", "draft", "says"), [
    ({"serve.speculative": "ngram"}, None, {"method": "ngram", "num_speculative_tokens": 4}),
    ({"serve.speculative": "ngram", "draft_num_predict": 7}, None, {"method": "ngram", "num_speculative_tokens": 7}),
    ({"draft": "./d"}, "/m/draft", {"method": "draft_model", "model": "/m/draft"}),
    ({"draft": "./d", "serve.speculative": "eagle3"}, "/m/draft", {"method": "eagle3", "model": "/m/draft"}),
    ({"serve.speculative": "off", "draft": "./d"}, "/m/draft", None),
    ({"serve.speculative": "ngrma"}, None, None), ({"draft": "./d"}, None, None),
    ({"serve.speculative": "eagle"}, None, None),
    ({"serve.speculative": "ngram", "draft_num_predict": 0}, None, None),
])
def test_speculation(settings: dict[str, Any], draft: str | None, says: dict[str, Any] | None) -> None:
    weights = plan().weights
    assert weights is not None
    made = plan(settings, draft=weights.model_copy(update={"path": draft}) if draft else None)
    launch = vllm.launch(made)
    assert ("--speculative-config" in launch.argv) == (says is not None)
    if says is not None:
        assert launch.argv.count("--speculative-config") == 1
        assert says.items() <= json.loads(option(launch, "--speculative-config")).items()
    elif settings.get("serve.speculative") != "off":
        assert "lost" in {one.verdict for one in vllm.lower(made)}


@pytest.mark.parametrize("value", [
    None, "4096", "0.85", "-1", "auto", "true", "no", "null", "1e5", "0x10", "1_000", "12:30", "", " ", "a: b", "#x",
    '{"method": "ngram", "n": 4}', "it's", '"quoted"', 'both "and\' here', "line\nline", "tab\t", "\x85\u2028\x7f",
    "日本 🦙", ("a=/p", "b=/q r"), ('{"name": "x, y", "path": "/p"}',), ("1", "yes"), "2026-11-23",
    "[a]", "*a", "&a", "!x", "%",
])
def test_yaml_says_every_value_as_it_is(value: str | tuple[str, ...] | None) -> None:
    """As vLLM reads it: a truth is a bare flag, a list several words, anything else `str` of what YAML makes of it."""
    read = yaml.safe_load(config_text([Word("--key", value, OURS, "why")]))["key"]
    if value is None:
        assert read is True
    elif isinstance(value, tuple):
        assert [str(one) for one in read] == list(value)
    else:
        assert not isinstance(read, (bool, list, dict)) and str(read) == value


def test_a_flag_stands_in_the_configuration_once() -> None:
    word = Word("--middleware", "a.B", OURS, "why")
    for words in ((word, word), (Word("", "x", OURS, "why"),), (Word("VARIABLE", "x", OURS, "why"),)):
        with pytest.raises(ValueError, match="configuration"):
            config_text(words)


def test_no_word_is_a_secret() -> None:
    for case in ("api-key", "key-file"):
        words = vllm.words(plan_of(case, "kubernetes"))
        assert not [word for word in words if re.search("(?i)key", word.flag)]


@pytest.mark.parametrize(("parser", "guided"), [(None, True), ("hermes", True), ("glm47", False), ("openai", False)])
def test_llguidance_shapes_answers_but_where_calls_are_forced_by_tags(parser: str | None, guided: bool) -> None:
    said = {word.flag: word.value for word in vllm.words(plan({"serve.tool_parser": parser} if parser else None))}
    assert ("--structured-outputs-config" in said) == guided
    assert said.get("VLLM_ENFORCE_STRICT_TOOL_CALLING") == ("0" if guided else None)
    assert ("--tool-strict-level" in said) != guided
    if guided:
        assert json.loads(said["--structured-outputs-config"] or "") == {
            "backend": "guidance", "disable_any_whitespace": True, "disable_additional_properties": True}
