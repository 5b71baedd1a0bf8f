"""ADAPTER from the command line: planned, locked, made in the engine's form, refused before anything starts."""

from __future__ import annotations

import json
import tomllib
from argparse import Namespace
from pathlib import Path
from typing import Any, cast

import pytest

from modelkit.cli.policies import presume_policies
from modelkit.cli.stages import Stages
from modelkit.failure import Failure
from modelkit.language.check import compile_source
from modelkit.language.source import Source
from modelkit.models.artifact import Artifact, Piece, Role
from modelkit.models.store import Store
from tests.unit.cli.conftest import Run, write
from tests.unit.models.small_model import HEAD, HEADS, LAYERS, WIDTH, small_model
from tests.unit.models.test_adapters import QUERIES, in_gguf, peft

FILE = """NAME bot
FROM ./model.gguf
ADAPTER ./tone.gguf AS bot-kind
STAGE prod {
  ENGINE vllm
}
"""
LOCK = Path("Modelfile.lock")


@pytest.fixture
def project(run: Run) -> Run:
    small_model(Path("model.gguf"))
    in_gguf(Path("tone.gguf"), *(f"blk.{n}.attn_q.weight" for n in range(LAYERS)), rows=HEADS * HEAD, heads=HEADS)
    write(FILE)
    return run


def locked_stages() -> dict[str, dict[str, Any]]:
    return {stage["name"]: stage for stage in tomllib.loads(LOCK.read_text())["stage"]}


def test_each_engine_gets_its_form_and_the_lock_says_what_made_it(project: Run, tmp_path: Path) -> None:
    code, out, err = project("build", "--json")
    assert code == 0, err
    dev, prod = ({**one["adapters"][0], "stage": one["stage"]} for one in json.loads(out))
    assert (dev["form"], dev["path"], dev["name"]) == ("gguf", str(tmp_path / "tone.gguf"), "bot-kind")
    assert prod["form"] == "safetensors" and prod["recipe"]["tool"] == "modelkit peft"
    said = json.loads((Path(prod["path"]) / "adapter_config.json").read_text())
    assert (said["r"], said["target_modules"], said["base_model_name_or_path"]) == (4, ["q_proj"], "model.gguf")
    (here,), (made,) = (locked_stages()[stage]["adapters"] for stage in ("dev", "prod"))
    assert here == {"name": "bot-kind", "artifact": "./tone.gguf"}
    assert (made["tool"], made["output"]) == ("modelkit peft 1", prod["digest"])
    assert str(tmp_path) not in LOCK.read_text()
    before = LOCK.read_bytes()
    assert project("build", "--locked")[0] == 0 and project("lock", "--check")[0] == 0
    assert project("lock")[0] == 0 and LOCK.read_bytes() == before


@pytest.mark.parametrize(("old", "new", "said"), [
    ("AS bot-kind", "AS bot-cruel", "the settings of stage `dev` changed"),
    (" AS bot-kind", "", "the settings of stage `dev` changed"),
    ("ADAPTER ./tone.gguf AS bot-kind\n", "", "the settings of stage `dev` changed"),
    ("tone.gguf", "other.gguf", "the settings of stage `dev` changed"),
])
def test_another_adapter_makes_the_lock_stale(project: Run, old: str, new: str, said: str) -> None:
    assert project("lock")[0] == 0
    Path("other.gguf").write_bytes(Path("tone.gguf").read_bytes())
    write(FILE.replace(old, new))
    code, out, err = project("lock", "--check")
    assert code == 1 and (said in out or "other.gguf" in out), out + err
    assert project("build", "--locked")[0] == 1
    assert project("lock")[0] == 0 and project("lock", "--check")[0] == 0
    known = {one["reference"] for one in tomllib.loads(LOCK.read_text())["artifact"]}
    assert ("./tone.gguf" in known) == ("tone.gguf" in Path("Modelfile").read_text())


def test_an_adapter_whose_file_changed_is_taken_up_or_refused(project: Run) -> None:
    assert project("build")[0] == 0
    before = locked_stages()["prod"]["adapters"][0]["output"]
    in_gguf(Path("tone.gguf"), "blk.0.attn_q.weight", rows=HEADS * HEAD, heads=HEADS, seed=7)
    code, _, err = project("build", "--locked")
    assert code == 2 and "lock-mismatch" in err and "tone.gguf" in err
    assert project("lock", "--check")[0] == 1
    code, _, err = project("build")
    assert code == 0 and "not as locked" not in err
    assert locked_stages()["prod"]["adapters"][0]["output"] != before
    assert project("build", "--locked")[0] == 0


def test_the_bill_of_materials_has_it(project: Run) -> None:
    assert project("lock")[0] == 0
    said = json.loads(project("sbom")[1])
    (adapter,) = (one for one in said["components"] if one["bom-ref"].startswith("adapter:"))
    assert adapter["name"] == "./tone.gguf" and adapter["hashes"]
    depends = {one["ref"]: one["dependsOn"] for one in said["dependencies"]}
    assert adapter["bom-ref"] in depends["stage:dev"] and adapter["bom-ref"] in depends["stage:prod"]


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_an_adapter_for_another_base_is_refused_before_anything_is_made(project: Run, stage: str) -> None:
    in_gguf(Path("tone.gguf"), "blk.7.attn_q.weight", rows=HEADS * HEAD, heads=HEADS)
    code, _, err = project("plan", "-s", stage)
    assert code == 2 and "adapter-not-for-base" in err and "blk.7.attn_q.weight" in err and "Modelfile:3" in err


def test_what_vllm_refuses_is_said_by_the_plan(project: Run) -> None:
    peft(Path("dora"), QUERIES, use_dora=True)
    write(FILE.replace("./tone.gguf", "./dora"))
    code, _, err = project("plan", "-s", "prod")
    assert code == 2 and "adapter-refused" in err and "DoRA" in err and "merge" in err and "Modelfile:3" in err
    code, _, err = project("plan", "-s", "dev")
    assert code == 2 and "adapter-unfit" in err and "use_dora" in err


def test_a_rank_that_vllm_has_no_place_for_is_refused(project: Run) -> None:
    shapes = {"model.layers.0.self_attn.q_proj": (HEADS * HEAD, WIDTH)}
    peft(Path("large"), shapes, rank=513)
    write(FILE.replace("./tone.gguf", "./large"))
    code, _, err = project("plan", "-s", "prod")
    assert code == 2 and "adapter-rank" in err and "513" in err and "512" in err


def test_llama_cpp_wants_the_converter_for_pefts_form(project: Run) -> None:
    peft(Path("folder"), QUERIES)
    write(FILE.replace("./tone.gguf", "./folder"))
    code, out, _ = project("plan", "-s", "dev", "--json")
    needs = {need["code"]: need for need in json.loads(out)["needs"]}
    assert code == 0 and needs["convert"]["automatic"] and "tool install converter" in needs["tool"]["message"]
    code, _, err = project("build", "-s", "dev")
    assert code == 2 and "stage-needs" in err and "tool install converter" in err


def test_a_policy_of_safetensors_is_one_of_adapters_too(project: Run) -> None:
    assert project("convert", "./model.gguf", "--to", "safetensors", "-o", "folder")[0] == 0
    write("FROM ./folder\nADAPTER ./tone.gguf\nSTAGE prod {\n  POLICY safetensors_only\n}\n")
    modelfile, _ = compile_source(Source.read(Path("Modelfile")))
    assert modelfile is not None
    stages = Stages(modelfile, Namespace())
    found = stages.look("prod")
    with pytest.raises(Failure) as caught:
        presume_policies(modelfile, stages.plan("prod", found), found)
    assert caught.value.code == "policy-safetensors" and "./tone.gguf" in caught.value.message


def test_an_adapter_that_the_base_brings_along_is_not_left_behind(project: Run, tmp_path: Path) -> None:
    store = Store()
    pieces = []
    for name, role in (("model.gguf", "weights"), ("tone.gguf", "adapter")):
        digest = store.digest(Path(name))
        store.adopt(Path(name), digest)
        pieces.append(Piece(name, digest, Path(name).stat().st_size, cast(Role, role)))
    store.remember(Artifact("ollama://tuned:latest", f"ollama://tuned:latest@sha256:{'a' * 64}", "gguf",
                            tuple(pieces), "sha256:" + "a" * 64))
    write("FROM tuned\n")
    code, _, err = project("plan", "-s", "dev")
    assert code == 2 and "adapter-in-base" in err and "ADAPTER ollama://tuned:latest" in err
    write("FROM tuned\nADAPTER ollama://tuned:latest\n")
    code, out, err = project("build", "-s", "dev", "--json")
    assert code == 0, err
    (adapter,) = json.loads(out)[0]["adapters"]
    assert adapter["digest"] == store.digest(Path("tone.gguf"))
    assert project("lock", "--check")[0] == 0


@pytest.mark.parametrize(("lines", "code"), [
    ("ADAPTER ./nothing.gguf\n", "adapter-missing"), ("ADAPTER ./model.gguf\n", "adapter-missing"),
    ("ADAPTER ./tone.gguf AS a\nADAPTER ./tone.gguf AS a\n", "adapter-name-twice"),
])
def test_what_is_no_adapter_is_one_clear_error(project: Run, lines: str, code: str) -> None:
    write(FILE.replace("ADAPTER ./tone.gguf AS bot-kind\n", lines))
    found, _, err = project("build", "-s", "dev")
    assert found == (1 if code == "adapter-name-twice" else 2) and code in err  # the checker finds that one itself
