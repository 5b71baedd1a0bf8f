"""DRAFT from the command line: a GGUF of this machine that guesses ahead where the engine can load it."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from modelkit.cli.stages import Stages
from modelkit.failure import Failure
from modelkit.language.check import compile_source
from modelkit.language.source import Source
from tests.unit.cli.conftest import Run, write
from tests.unit.models.small_model import small_model

FILE = "FROM ./model.gguf\nDRAFT ./small.gguf\nPARAMETER draft_num_predict 6\nSTAGE prod {\n  ENGINE vllm\n}\n"


@pytest.fixture
def project(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    small_model(Path("model.gguf"))
    write(FILE)
    return run


def test_a_draft_that_is_here_is_planned(project: Run, tmp_path: Path) -> None:
    small_model(Path("small.gguf"))
    code, out, _ = project("plan", "--json")
    plan = json.loads(out)
    assert code == 0 and plan["draft"]["path"] == str(tmp_path / "small.gguf")
    assert not [need for need in plan["needs"] if need["code"] == "draft"]
    lowered = {one["setting"]: one["verdict"] for one in plan["lowered"]}
    assert (lowered["draft"], lowered["draft_num_predict"]) == ("equal", "equal")


def test_a_draft_that_is_not_here_is_said_with_its_place(project: Run) -> None:
    code, out, _ = project("plan", "--json")
    (need,) = [need for need in json.loads(out)["needs"] if need["code"] == "draft"]
    assert code == 0 and not need["automatic"]
    assert "there is no GGUF at `./small.gguf`" in need["message"] and "Modelfile:2" in need["message"]
    modelfile, _ = compile_source(Source("Modelfile", FILE))
    assert modelfile is not None
    with pytest.raises(Failure, match="there is no GGUF at"):
        Stages(modelfile, Namespace(file=None, frozen=False, locked=False)).ready("dev", engine=False)


def test_on_vllm_it_is_lost_and_that_is_said(project: Run) -> None:
    _, out, _ = project("plan", "-s", "prod", "--json")
    plan = json.loads(out)
    (one,) = [one for one in plan["lowered"] if one["setting"] == "draft"]
    assert one["verdict"] == "lost" and one["reason"] and plan["draft"] is None
