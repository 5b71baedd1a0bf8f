"""The words of the model manager, on a hub, a registry and files."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run, write
from tests.unit.models.docker_registry import DockerRegistry, running
from tests.unit.models.hub import HubServer, ask_only, hub_server
from tests.unit.models.small_model import small_model

NAME = "tiny-Q4_K_M.gguf"
LOCK = Path("Modelfile.lock")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server() as server:
        ask_only(server, tmp_path, monkeypatch)
        yield server


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRegistry]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    with running(tmp_path / "registry") as one:
        yield one


def model(number: int = 0) -> bytes:
    data = bytearray(small_model(Path("made.gguf")).read_bytes())
    data[-1] = number
    return bytes(data)


def locked_digest() -> str:
    return str(tomllib.loads(LOCK.read_text())["artifact"][0]["files"][0]["digest"])


def test_a_new_upstream_release_never_makes_the_lock_stale(run: Run, hub: HubServer) -> None:
    _, first = hub.add("org/tiny-GGUF", {NAME: model(1)})
    write("FROM hf.co/org/tiny-GGUF:Q4_K_M\n")
    code, out, err = run("lock")
    assert code == 0, err
    assert first in out
    before, digest = LOCK.read_bytes(), locked_digest()
    hub.add("org/tiny-GGUF", {NAME: model(2)})
    assert run("lock", "--check")[0] == 0
    assert run("lock")[0] == 0
    assert LOCK.read_bytes() == before
    code, out, err = run("build", "-s", "dev", "--json")
    assert code == 0, err
    assert json.loads(out)[0]["digest"] == digest
    assert LOCK.read_bytes() == before
    assert run("lock", "--upgrade")[0] == 0
    assert locked_digest() != digest
    code, out, _ = run("build", "-s", "dev", "--json", "--locked")
    assert code == 0 and json.loads(out)[0]["digest"] == locked_digest()


def test_bytes_that_were_altered_upstream_are_refused(run: Run, hub: HubServer) -> None:
    repository, _ = hub.add("org/tiny-GGUF", {NAME: model(1)})
    write("FROM hf.co/org/tiny-GGUF:Q4_K_M\n")
    assert run("lock")[0] == 0
    repository.altered[NAME] = model(3)
    code, _, err = run("build", "-s", "dev")
    assert code == 2 and "digest-mismatch" in err and NAME in err
    assert run("list", "--json")[1].strip() == "[]"


def test_pull_list_show_verify_rm(run: Run, hub: HubServer) -> None:
    hub.add("org/tiny-GGUF", {NAME: model()})
    code, out, err = run("pull", "hf.co/org/tiny-GGUF", "--json")
    assert code == 0, err
    (pulled,) = json.loads(out)
    assert pulled["reference"] == "hf://org/tiny-GGUF" and "@" in pulled["resolved"]
    code, out, _ = run("list")
    assert code == 0 and pulled["resolved"] in out and "whole" in out
    code, out, _ = run("show", "hf://org/tiny-GGUF")
    assert code == 0 and "llama" in out and NAME in out
    assert json.loads(run("show", "hf://org/tiny-GGUF", "--json")[1])["facts"]["context_length"] == 128
    assert run("verify")[0] == 0
    path = Path(pulled["path"]).resolve()
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    code, out, _ = run("verify", "hf://org/tiny-GGUF")
    assert code == 1 and "its content is" in out
    assert json.loads(run("verify", "--json")[1])["whole"] is False
    assert run("list")[1].count("damaged") == 1
    code, _, err = run("rm", "hf://org/tiny-GGUF")
    assert code == 0 and "its files stay in" in err
    assert run("list", "--json")[1].strip() == "[]"


def test_rm_takes_what_was_made_along(run: Run, registry: DockerRegistry) -> None:
    small_model(Path("made.gguf"))
    place = f"oci://{registry.host}/team/tiny:1"
    assert run("push", "./made.gguf", place)[0] == 0
    code, _, err = run("convert", place, "--to", "safetensors")
    assert code == 0, err
    assert "made from it" in run("show", place)[1] and "1, " in run("list")[1]
    code, out, err = run("rm", place, "tiny", "--json")
    assert code == 0, err
    assert json.loads(out)["files"] == 2
    assert run("list", "--json")[1].strip() == "[]" and run("verify")[0] == 0


@pytest.mark.parametrize(("words", "code", "said"), [
    (("show", "nothing"), 1, "not-in-store"), (("rm", "nothing"), 1, "not-in-store"),
    (("verify", "nothing"), 1, "not-in-store"), (("pull", "./made.gguf"), 2, "nothing-to-pull"),
    (("push", "./made.gguf", "./there"), 2, "not an OCI reference"),
    (("push", "./none.gguf", "oci://127.0.0.1:9/a/b:1"), 2, "model-missing"),
    (("convert", "./made.gguf", "--to", "gguf", "--quantize", "Q9_K"), 2, "unknown-quantization"),
    (("convert", "./made.gguf", "--to", "gguf", "--quantize", "int8"), 2, "can't be int8"),
    (("convert", "./made.gguf", "--to", "gguf", "--quantize", "Q8_0"), 2, "quantize-up"),
    (("convert", "./made.gguf", "--to", "gguf", "--quantize", "IQ1_S"), 2, "importance matrix"),
    (("convert", "./made.gguf", "--to", "safetensors", "-o", "./made.gguf"), 2, "output-exists"),
    (("convert", "./made.gguf", "--to", "gguf", "--base", "./made.gguf"), 2, "no adapter"),
    (("tool", "install"), 2, "which tool"), (("tool", "install", "quantiser"), 2, "there are quantizer"),
    (("compare", "./made.gguf", "./none.gguf"), 2, "model-missing"),
    (("lock", "--check", "--upgrade"), 2, "exclude each other"), (("pull", "--refresh"), 2, "lock --upgrade"),
    (("build", "-s", "nothing"), 2, "unknown-stage"), (("sbom", "-s", "nothing"), 2, "unknown-stage"),
])
def test_one_clear_error(words: tuple[str, ...], code: int, said: str, run: Run) -> None:
    small_model(Path("made.gguf"))
    write("FROM ./made.gguf\n")
    if words[0] == "sbom":
        assert run("lock")[0] == 0
    status, out, err = run(*words)
    assert (status, out) == (code, "")
    assert said in err and err.count("error[") == 1


def test_an_importance_matrix_that_is_not_there(run: Run) -> None:
    small_model(Path("made.gguf"))
    write("FROM ./made.gguf\nQUANTIZE Q3_K_M imatrix ./none.imatrix\n")
    for words in (("lock",), ("plan",), ("build", "-s", "dev")):
        code, out, err = run(*words)
        assert (code, out) == (2, "") and "imatrix-missing" in err and "none.imatrix" in err


def test_push_and_pull_through_a_real_registry(run: Run, registry: DockerRegistry) -> None:
    small_model(Path("made.gguf"))
    place = f"oci://{registry.host}/team/tiny:1"
    code, out, err = run("push", "./made.gguf", place, "--json")
    assert code == 0, err
    resolved = json.loads(out)["resolved"]
    assert "@sha256:" in resolved
    write(f"FROM {place}\n")
    code, out, err = run("pull")
    assert code == 0, err
    assert resolved in out and LOCK.exists()
    assert run("build", "--locked")[0] == 0
    assert Path("made.gguf").read_bytes() == Path(json.loads(run("pull", place, "--json")[1])[0]["path"]).read_bytes()


def test_compare_and_convert(run: Run) -> None:
    small_model(Path("made.gguf"))
    code, out, err = run("convert", "./made.gguf", "--to", "safetensors", "-o", "folder")
    assert code == 0, err
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in Path("folder").iterdir()}
    code, out, err = run("compare", "./made.gguf", "./folder")
    assert (code, "the same model" in out) == (0, True), out
    config = json.loads(Path("folder/config.json").read_text())
    Path("folder/config.json").unlink()
    Path("folder/config.json").write_text(json.dumps(config | {"rope_theta": 5.0}))
    code, out, _ = run("compare", "./made.gguf", "./folder")
    assert code == 1 and "rope" in out and "not the same model" in out
    assert json.loads(run("compare", "./made.gguf", "./folder", "--json")[1])["same"] is False


def test_a_wrong_pair_of_two_forms_is_refused(run: Run) -> None:
    small_model(Path("made.gguf"))
    assert run("convert", "./made.gguf", "--to", "safetensors", "-o", "folder")[0] == 0
    write("FROM ./made.gguf\nSTAGE prod {\n  FROM ./folder\n}\n")
    code, _, err = run("lock")
    assert code == 0, err
    text = LOCK.read_text()
    config = json.loads(Path("folder/config.json").read_text())
    Path("folder/config.json").unlink()
    Path("folder/config.json").write_text(json.dumps(config | {"rope_theta": 5.0}))
    for words in (("lock",), ("build",)):
        code, out, err = run(*words)
        assert (code, out) == (2, "") and "not-the-same-model" in err and "rope" in err
    assert LOCK.read_text() == text


def test_collecting_clears_what_can_be_made_again(run: Run) -> None:
    small_model(Path("made.gguf"))
    assert run("convert", "./made.gguf", "--to", "safetensors")[0] == 0
    assert json.loads(run("gc", "--json")[1])["files"] == 0
    cleared = json.loads(run("gc", "--derived", "--json")[1])
    assert cleared["files"] == 1 and cleared["size"] > 0


def test_the_tools_are_listed(run: Run) -> None:
    code, out, _ = run("tool", "list", "--json")
    assert code == 0
    assert [one["tool"] for one in json.loads(out)] == [
        "quantizer", "converter", "compressor", "balancer", "lm-eval", "inspect"]
