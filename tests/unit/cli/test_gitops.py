"""`promote --render`: a change in a folder and a record, for a cluster that Git tells what to run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Run, write
from tests.unit.cli.test_bundle import PINNED
from tests.unit.models.hub import ask_only, hub_server
from tests.unit.models.small_model import small_model

FILE = """NAME bot
FROM hf.co/acme/tiny
SYSTEM You are terse.
STAGE prod {{
  PLATFORM {platform}
  SERVE image {image}
  {more}
}}
TEST "says hello" {{
  USER Hello
  EXPECT contains "hello"
}}
"""
GATE = "registry.example/modelkit@sha256:" + "2" * 64


def bot(platform: str = "kubernetes", more: str = "") -> None:
    write(FILE.format(platform=platform, image=PINNED, more=more))


@pytest.fixture
def hub(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A Hub that has a small model."""
    small_model(Path("model.gguf"))
    write("FROM ./model.gguf\n")
    assert run("convert", "./model.gguf", "--to", "safetensors", "-o", "folder")[0] == 0
    with hub_server() as server:
        ask_only(server, tmp_path / "hub", monkeypatch)
        server.add("acme/tiny", {p.name: p.read_bytes() for p in Path("folder").iterdir()})
        yield run


def rendered(run: Run, *words: str) -> dict[str, Any]:
    code, out, err = run("promote", "dev", "prod", "--render", "-o", "deploy", "--json", *words)
    assert code == 0, err
    return dict(json.loads(out))


def test_the_folder_and_the_record_are_one_change(hub: Run) -> None:
    bot()
    said = rendered(hub)
    assert Path("deploy/deployment.yaml").is_file() and "deployment.yaml" in said["files"]
    record = json.loads(Path(said["record"]["path"]).read_text())
    assert (record["kind"], record["from"], record["to"]) == ("promote", "dev", "prod")
    (weights,) = record["subject"]["artifacts"]
    assert weights["uri"].startswith("hf.co/acme/tiny") or "acme/tiny" in weights["uri"]
    assert record["subject"]["engine"]["image"] == PINNED
    verdicts = {gate["id"]: gate["verdict"] for gate in record["gates"]}
    assert verdicts["lint"] == verdicts["lock"] == "pass" and verdicts["parity"] == verdicts["tests"] == "skipped"
    assert hub("history", "verify")[0] == 0


def test_another_revision_is_another_subject(hub: Run) -> None:
    bot()
    first = json.loads(Path(rendered(hub)["record"]["path"]).read_text())["subject"]["ir"]
    bot(more="PARAMETER top_k 3")
    assert json.loads(Path(rendered(hub)["record"]["path"]).read_text())["subject"]["ir"] != first


def test_a_stage_that_is_held_is_not_rendered(hub: Run) -> None:
    bot()
    assert hub("hold", "prod", "--reason", "audit")[0] == 0
    code, _, err = hub("promote", "dev", "prod", "--render", "-o", "deploy")
    assert code == 1 and "error[held]" in err and not Path("deploy").exists()


def test_a_gate_that_says_no_writes_nothing(hub: Run) -> None:
    bot(more="POLICY api_key")
    code, _, err = hub("promote", "dev", "prod", "--render", "-o", "deploy")
    assert code == 1 and "error[" in err and not Path("deploy").exists() and not Path("promotions").exists()


def test_blue_green_holds_the_tests_in_a_job(hub: Run) -> None:
    Path("bot.golden.yaml").write_text("schema: modelkit.golden/1\ncases: []\n")
    bot(more="EXPECT ttft.p95 <= 500ms")
    said = rendered(hub, "--strategy", "blue-green", "--gate-image", GATE)
    assert {"rollout.yaml", "analysistemplate.yaml", "service-preview.yaml"} <= set(said["files"])
    text = Path("deploy/analysistemplate.yaml").read_text()
    assert GATE in text and "name: tests" in text and "name: latency" in text
    assert "bot.golden.yaml" in Path("deploy/configmap-gates-1.yaml").read_text()


def test_weights_follow_the_folder(hub: Run) -> None:
    bot("kserve")
    rendered(hub)
    bot("kserve", more="PARAMETER top_k 3")
    said = rendered(hub, "--weight", "10")
    assert "10 %" in said["notes"][-1] and "90 %" in said["notes"][-1]
    assert len([path for path in said["files"] if path.endswith("llminferenceservice.yaml")]) == 2


@pytest.mark.parametrize(("words", "code"), [
    (("--render",), "usage"), (("-o", "deploy"), "usage"),
    (("--render", "-o", "deploy", "--canary", "5,100"), "usage"),
    (("--render", "-o", "deploy", "--weight", "5"), "usage"),
    (("--render", "-o", "deploy", "--gate-image", GATE), "usage"),
    (("--render", "-o", "deploy", "--strategy", "blue-green", "--gate-image", "x:latest"), "image-unpinned"),
    (("--render", "-o", "."), "bundle-folder"),
])
def test_what_does_not_go_together_is_said(hub: Run, words: tuple[str, ...], code: str) -> None:
    bot()
    exit_code, _, err = hub("promote", "dev", "prod", *words)
    assert exit_code == 2 and f"error[{code}]" in err and not Path("promotions").exists()


def test_a_stage_of_this_machine_is_not_rendered(run: Run) -> None:
    small_model(Path("model.gguf"))
    write("FROM ./model.gguf\n")
    code, _, err = run("promote", "dev", "prod", "--render", "-o", "deploy")
    assert code == 2 and "error[usage]" in err and not Path("deploy").exists() and not Path("Modelfile.lock").exists()
