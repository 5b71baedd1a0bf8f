"""A stage's settings: the file's, then those of the stages it extends, then its own."""

from __future__ import annotations

import pytest

from modelkit.language.check import compile_source
from modelkit.language.layers import Effective, Layered, effective
from modelkit.language.modelfile import Flag, Modelfile, Unset
from modelkit.language.source import Source

TEXT = """FROM llama3.2:3b
SYSTEM file
PARAMETER temperature 0.2
PARAMETER seed 1
PARAMETER stop file-1
PARAMETER stop file-2
MESSAGE user file
LICENSE file
SERVE port 8000
SERVE host 127.0.0.1
FLAG --file
ENGINE llama.cpp

STAGE canary EXTENDS prod {
  PARAMETER temperature 0.5
  FLAG --canary
  POLICY tls
}
STAGE prod {
  FROM llama3.2:1b
  ENGINE vllm >=0.32
  SYSTEM prod
  PARAMETER temperature 0.4
  PARAMETER stop prod
  SERVE port 9000
  MESSAGE user prod
  FLAG --prod
  POLICY locked
  EXPECT ttft.p95 <= 500ms
}
"""


def modelfile(text: str) -> Modelfile:
    compiled, found = compile_source(Source("Modelfile", text))
    assert compiled is not None, [d.message for d in found]
    return compiled


def stage(name: str, text: str = TEXT) -> Effective:
    return effective(modelfile(text), name)


def values(layered: tuple[Layered[object], ...]) -> list[object]:
    return [each.value for each in layered]


def test_a_stage_that_is_not_in_the_file_is_the_file() -> None:
    dev = stage("dev")
    assert (dev.stage, dev.kind) == ("dev", "dev")
    assert dev.base is not None and dev.base.value == "llama3.2:3b"
    assert (dev.base.layer, dev.base.block) == ("modelfile", None)
    assert {k: v.value for k, v in dev.parameters.items()} == {"temperature": 0.2, "seed": 1}
    assert [s.value for s in dev.stop] == ["file-1", "file-2"]


def test_a_scalar_is_replaced_and_knows_its_block() -> None:
    prod = stage("prod")
    assert prod.base is not None and prod.base.value == "llama3.2:1b"
    assert (prod.base.layer, prod.base.block) == ("stage", "prod")
    assert prod.system is not None and prod.system.value == "prod"
    assert prod.engine is not None and prod.engine.value.version == ">=0.32"
    assert TEXT[prod.system.span.start : prod.system.span.end] == "prod"


def test_parameters_and_serving_settings_merge_by_name() -> None:
    canary = stage("canary")
    parameters = {k: (v.value, v.block) for k, v in canary.parameters.items()}
    serve = {k: (v.value, v.block) for k, v in canary.serve.items()}
    assert parameters == {"temperature": (0.5, "canary"), "seed": (1, None)}
    assert serve == {"port": (9000, "prod"), "host": ("127.0.0.1", None)}
    assert canary.kind == "prod"


def test_lists_are_replaced_whole() -> None:
    canary = stage("canary")
    assert [s.value for s in canary.stop] == ["prod"]
    assert [m.value.content for m in canary.messages] == ["prod"]
    assert [x.value for x in canary.licenses] == ["file"]


def test_flags_policies_and_gates_add_up_from_the_outside_in() -> None:
    canary = stage("canary")
    assert [f.value for f in canary.flags] == [Flag("--file"), Flag("--prod"), Flag("--canary")]
    assert [p.value for p in canary.policies] == ["locked", "tls"]
    assert [e.value.metric for e in canary.expectations] == ["ttft.p95"]


UNSETS: list[tuple[str, str, object]] = [
    ("SYSTEM", "system", None), ("ENGINE", "engine", None), ("MESSAGE", "messages", ()), ("LICENSE", "licenses", ()),
    ("PARAMETER stop", "stop", ()), ("PARAMETER", "stop", ()), ("PARAMETER", "parameters", {}), ("SERVE", "serve", {}),
    ("FLAG", "flags", ()), ("FLAG --file", "flags", ()),
]


@pytest.mark.parametrize(("operands", "field", "value"), UNSETS)
def test_unset_drops_what_the_file_said(operands: str, field: str, value: object) -> None:
    dev = stage("dev", f"{TEXT}STAGE dev {{\n  UNSET {operands}\n}}\n")
    assert getattr(dev, field) == value
    untouched = {"system", "stop", "parameters", "serve", "flags", "messages", "licenses", "engine"} - {field}
    if operands != "PARAMETER":
        assert {f: getattr(dev, f) for f in untouched} == {f: getattr(stage("dev"), f) for f in untouched}


def test_unset_drops_one_name() -> None:
    dev = stage("dev", TEXT + "STAGE dev {\n  UNSET PARAMETER seed\n  UNSET SERVE port\n}\n")
    assert set(dev.parameters) == {"temperature"} and set(dev.serve) == {"host"}
    assert [s.value for s in dev.stop] == ["file-1", "file-2"]
    assert dev.unset == {Unset("PARAMETER", "seed"), Unset("SERVE", "port")}


def test_a_stage_may_drop_and_set_again() -> None:
    dev = stage("dev", TEXT + "STAGE dev {\n  UNSET FLAG\n  FLAG --dev\n  UNSET SYSTEM\n  SYSTEM dev\n}\n")
    assert [f.value for f in dev.flags] == [Flag("--dev")]
    assert dev.system is not None and dev.system.value == "dev"
    assert Unset("SYSTEM") not in dev.unset


def test_an_inner_stage_may_set_what_an_outer_one_dropped() -> None:
    text = "FROM x:1\nSYSTEM file\nSTAGE prod {\n  UNSET SYSTEM\n}\nSTAGE canary EXTENDS prod {\n  SYSTEM canary\n}\n"
    assert stage("prod", text).system is None and Unset("SYSTEM") in stage("prod", text).unset
    canary = stage("canary", text)
    assert canary.system is not None and canary.system.value == "canary" and not canary.unset


def test_the_file_may_drop_what_its_base_model_has() -> None:
    dev = stage("dev", "FROM x:1\nUNSET SYSTEM\nUNSET PARAMETER stop\n")
    assert dev.unset == {Unset("SYSTEM"), Unset("PARAMETER", "stop")}


def test_nothing_leaks_from_one_stage_into_another() -> None:
    file = modelfile(TEXT)
    before = effective(file, "dev")
    effective(file, "canary")
    assert effective(file, "dev") == before


def test_an_unknown_stage_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        stage("staging")
