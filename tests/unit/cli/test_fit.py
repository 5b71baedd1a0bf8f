"""`modelkit fit`: what it says of Modelfiles and of models alone, on this machine and on others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelkit.cli.fit import subject as fit_subject
from tests.unit.cli.conftest import Run, write
from tests.unit.cli.fit_machine import stand_in
from tests.unit.models.small_model import small_model

TEXT = "NAME bot\nFROM ./m.gguf\nPARAMETER num_ctx 128\nSERVE max_concurrency 2\n"


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)


@pytest.fixture
def fit(run: Run) -> Run:
    """`fit` in a folder with a Modelfile and its model."""
    small_model(Path("m.gguf"))
    write(TEXT)
    return lambda *words: run("fit", *words)


def lines_of(document: dict[str, Any]) -> dict[str, int]:
    return {line["name"]: line["size"] for line in document["now"]["budget"]["lines"]}


def test_a_sum_that_adds_up(fit: Run) -> None:
    code, out, err = fit()
    assert code == 0, err
    head, verdict, *_ = out.splitlines()
    assert head.startswith("bot  stage dev  llama.cpp  on this machine (4 cores, 8.0 GiB")
    assert verdict.endswith("2 conversations of 128 tokens: fits")
    for word in ("weights", "attention cache", "in all", "free", "of 8.0 GiB", "one user", "tok/s", "taken"):
        assert word in out
    document = json.loads(fit("--json")[1])
    budget = document["now"]["budget"]
    assert document["fits"] and budget["total"]["ram"] == sum(lines_of(document).values())
    assert budget["free"]["ram"] == (8 << 30) - budget["total"]["ram"]


def test_settings_by_flag_are_those_of_the_file(fit: Run) -> None:
    """All at once: four times the tokens, twice the conversations, of 17 instead of 32 bytes."""
    before, after = (lines_of(json.loads(fit("--json", *words)[1]))["attention cache"] for words in (
        ("--context", "2048"), ("--context", "8192", "--concurrency", "4", "--kv-cache", "q8_0")))
    assert after == pytest.approx(before * 4 * 2 * 17 / 32, rel=0.01)


def test_a_model_alone(fit: Run) -> None:
    code, out, err = fit(str(Path("m.gguf").absolute()), "--json")
    assert code == 0 and json.loads(out)["model"] == "m", err
    Path("odd name #1").write_bytes(Path("m.gguf").read_bytes())
    assert fit("odd name #1")[0] == 0
    assert not Path("(no Modelfile).lock").exists() and not list(Path().glob("*.lock"))


def test_several_machines_stand_side_by_side(fit: Run) -> None:
    code, out, _ = fit("--hardware", "rtx4090,h100x2", "--hardware", "rtx4090")
    assert code == 0
    header, *rows = out.splitlines()
    assert header.split() == ["HARDWARE", "MODEL", "STAGE", "PRECISION", "NEEDS", "HAS", "HOLDS", "SPEED", "VERDICT"]
    assert [row.split()[0] for row in rows] == ["rtx4090", "h100x2"]
    documents = json.loads(fit("--hardware", "rtx4090,h100x2", "--json")[1])
    assert [one["hardware"]["name"] for one in documents] == ["rtx4090", "h100x2"]


def test_what_does_not_fit_is_exit_code_1_with_ways_out(fit: Run) -> None:
    code, out, _ = fit("--context", "400000000")
    assert code == 1 and "does not fit" in out and "missing" in out
    assert "PARAMETER num_ctx" in out
    document = json.loads(fit("--context", "400000000", "--json")[1])
    assert document["fits"] is False and document["now"]["budget"]["free"]["ram"] < 0
    assert any(one["fits"] for one in document["ways_out"])


@pytest.mark.parametrize(("words", "code", "says"), [
    (("--hardware", "rtx4091"), 2, "error[unknown-hardware]"), (("--hardware", ""), 2, "error[unknown-hardware]"),
    (("--verify", "--hardware", "rtx4090"), 2, "leave `--hardware` out"),
    (("--plot", "a.jpg"), 2, "neither a .svg nor a .png"), (("--plot", "x/a.svg"), 2, "error[unwritable]"),
    (("--context", "0"), 2, "not a number above 0"), (("--kv-cache", "q9"), 2, "no precision of an attention cache"),
    (("--price", "-1"), 2, "no price"), (("--users-at", "itl"), 2, "no limit"),
    (("--users-at", "e2e.p95 <= 1s"), 2, "nothing predicts that"), (("--users-at", "itl.p95 >= 1s"), 2, "error[usage]"),
    (("none.gguf",), 2, "error[model-missing]"), (("no/Modelfile",), 2, "error[no-modelfile]"),
    (("-s", "staging"), 2, "error[unknown-stage]"), (("m.gguf", "--arg", "A=1"), 2, "`--arg` goes with a Modelfile"),
    (("m.gguf", "--locked"), 2, "a model alone has no lock"),
    (("m.gguf", "Modelfile", "--plot", "a.svg"), 2, "one model on one machine")])
def test_mistakes_are_said(fit: Run, words: tuple[str, ...], code: int, says: str) -> None:
    found, _, err = fit(*words)
    assert found == code and says in err


def test_what_is_no_model_is_one_error(fit: Run) -> None:
    Path("broken.gguf").write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 64)
    code, _, err = fit("broken.gguf")
    assert code == 2 and err.count("error[") == 1


def test_users_and_cost(fit: Run) -> None:
    code, out, _ = fit("--users-at", "itl.p95 <= 50ms", "--users-at", "ttft.p95 <= 1s", "--price", "0.5")
    assert code == 0 and "USERS AT" in out and "a million tokens cost" in out
    document = json.loads(fit("--users-at", "itl.p95 <= 50ms", "--price", "0.5", "--json")[1])
    (users,) = document["users"]
    assert users["users"]["sure"] <= users["users"]["expected"] <= users["users"]["best"]
    cost = document["cost_per_million"]
    total = document["now"]["speed"]["total"]
    assert cost["expected"] == pytest.approx(0.5 / (total["expected"] * 3600) * 1e6)


def test_pictures(fit: Run) -> None:
    code, out, _ = fit("--plot")
    assert code == 0 and "MEMORY AGAINST CONTEXT" in out and "SPEED AGAINST QUALITY" in out
    assert fit("--plot", "a.svg")[0] == 0 and Path("a.svg").read_text().startswith("<svg")
    assert fit("--plot", "a.PNG")[0] == 0 and Path("a.PNG").read_bytes().startswith(b"\x89PNG")
    steps = json.loads(fit("--json", "--plot", "b.svg")[1])["plot"]["memory"][0]["steps"]
    assert [one["tokens"] for one in steps] == [128] and not list(Path().glob(".*.new"))


@pytest.mark.parametrize(("word", "model"), [
    ("Modelfile", False), ("Modelfile.dev", False), ("a.Modelfile", False), ("./x/Modelfile", False), ("./x", False),
    ("x.gguf", True), ("../x.GGUF", True), ("hf.co/o/r", True), ("hf:o/r", True), ("llama3.2", True),
    ("pypi://a==1/x.gguf", True), ("full", False), ("weights", True), ("empty", False)])
def test_what_a_word_is(word: str, model: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, name in (("full", "Modelfile"), ("full", "m.gguf"), ("weights", "model.safetensors")):
        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / name).write_bytes(b"")
    Path("empty").mkdir()
    assert fit_subject.is_model(word) is model


def test_plan_says_what_it_takes(fit: Run, run: Run) -> None:
    code, out, _ = run("plan")
    assert code == 0 and "fits on this machine" in out
    rows = out[out.index("MEMORY ") :].splitlines()
    assert rows[1].startswith("weights") and any(row.startswith("in all") and "of 8.0 GiB" in row for row in rows)
    document = json.loads(run("plan", "--json")[1])
    assert document["memory_use"]["budget"]["fits"] is True
    Path("m.gguf").unlink()
    write(TEXT.replace("./m.gguf", "hf.co/o/r"))
    assert "the model is not here" in json.loads(run("plan", "--json")[1])["memory_use"]["problem"]
