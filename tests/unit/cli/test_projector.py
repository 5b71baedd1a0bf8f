"""A second FROM that is a projector: where the engine takes one the model sees, elsewhere that is said."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.unit.cli.conftest import Run, write
from tests.unit.models.small_model import small_model

FILE = ("FROM ./model.gguf\nFROM ./mmproj.gguf\nSTAGE prod {\n  ENGINE vllm\n}\n"
        "STAGE other EXTENDS dev {\n  FROM ./other.gguf\n}\n")


def projector(path: Path, architecture: str = "clip") -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_tensor("mm.0.bias", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def project(run: Run) -> Run:
    small_model(Path("model.gguf"))
    small_model(Path("other.gguf"))
    projector(Path("mmproj.gguf"))
    write(FILE)
    return run


def lowered(plan: dict) -> dict | None:
    return next((one for one in plan["lowered"] if one["setting"] == "projector"), None)


def test_a_projector_that_is_here_lets_the_model_see(project: Run, tmp_path: Path) -> None:
    code, out, _ = project("plan", "--json")
    plan = json.loads(out)
    assert code == 0 and plan["profile"]["images"] is True
    assert plan["projector"]["path"] == str(tmp_path / "mmproj.gguf")
    assert lowered(plan)["verdict"] == "equal" and lowered(plan)["target"] in ("--projector", "--mmproj")


def test_elsewhere_it_is_lost_and_images_are_refused(project: Run) -> None:
    plan = json.loads(project("plan", "-s", "prod", "--json")[1])
    assert plan["profile"]["images"] is False
    assert lowered(plan)["verdict"] == "lost" and "llama.cpp" in lowered(plan)["reason"]


def test_another_base_has_no_projector_of_the_first(project: Run) -> None:
    plan = json.loads(project("plan", "-s", "other", "--json")[1])
    assert plan["projector"] is None and plan["profile"]["images"] is False and lowered(plan) is None


def test_one_that_is_not_here_is_said_with_its_place(project: Run) -> None:
    Path("mmproj.gguf").unlink()
    plan = json.loads(project("plan", "--json")[1])
    (need,) = [need for need in plan["needs"] if need["code"] == "projector"]
    assert "there is no projector at `./mmproj.gguf`" in need["message"] and "Modelfile:2" in need["message"]
    assert plan["profile"]["images"] is False


def test_a_file_that_only_has_the_name_is_refused(project: Run) -> None:
    small_model(Path("mmproj.gguf"))
    code, _, err = project("plan")
    assert code != 0 and "is no projector" in err and "Modelfile:2" in err


def test_the_authors_flag_lets_it_see_as_well(project: Run) -> None:
    write("FROM ./model.gguf\nSTAGE dev {\n  ENGINE llama.cpp\n  FLAG --mmproj ./mmproj.gguf\n}\n")
    assert json.loads(project("plan", "--json")[1])["profile"]["images"] is True
