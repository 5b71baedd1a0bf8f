"""The lock: written once, the same bytes again, stale only when the Modelfile asks for something else."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run, write
from tests.unit.models.small_model import small_model

FILE = """# a comment
NAME bot
FROM ./model.gguf
SYSTEM You are terse.
PARAMETER temperature 0.5
STAGE prod {
  ENGINE vllm >=0.32,<0.34
}
"""
LOCK = Path("Modelfile.lock")


@pytest.fixture
def locked(run: Run) -> Run:
    small_model(Path("model.gguf"))
    write(FILE)
    code, _, err = run("lock")
    assert code == 0, err
    return run


def test_two_runs_give_the_same_bytes_and_no_path_of_this_machine(locked: Run, tmp_path: Path) -> None:
    first = LOCK.read_bytes()
    assert locked("lock")[0] == 0
    assert LOCK.read_bytes() == first
    LOCK.unlink()
    assert locked("lock")[0] == 0
    assert LOCK.read_bytes() == first
    assert str(tmp_path).encode() not in first
    said = tomllib.loads(first.decode())
    (artifact,) = said["artifact"]
    assert artifact["reference"] == artifact["resolved"] == "./model.gguf"
    assert [stage["name"] for stage in said["stage"]] == ["dev", "prod"]
    assert said["stage"][1]["requires"] == "vllm >=0.32,<0.34" and said["stage"][1]["engine"].startswith("0.32")
    assert said["stage"][1]["steps"][0]["kind"] == "dequantize"


def test_a_folder_elsewhere_has_the_same_lock(locked: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = LOCK.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    for name in ("model.gguf", "Modelfile"):
        Path(name).rename(other / name)
    monkeypatch.chdir(other)
    assert locked("lock")[0] == 0
    assert LOCK.read_bytes() == first


@pytest.mark.parametrize(("old", "new", "current", "said"), [
    ("# a comment", "# another", True, ""),
    ("temperature 0.5", "temperature 0.50", True, ""),
    ("temperature 0.5", "temperature 0.6", False, "the settings of stage `dev` changed"),
    ("You are terse.", "You are not.", False, "the settings of stage `dev` changed"),
    ("<0.34", "<0.35", False, "ENGINE of stage `prod` changed from `vllm >=0.32,<0.34` to `vllm >=0.32,<0.35`"),
    ("STAGE prod {", "STAGE prod {\n  QUANTIZE Q3_K_M", False, "QUANTIZE of stage `prod` changed"),
    ("STAGE prod {", "STAGE blue EXTENDS prod {\n}\nSTAGE prod {", False, "stage `blue` is not in it"),
    ("./model.gguf", "./other.gguf", False, "is not in it"),
])
def test_only_another_wish_makes_it_stale(old: str, new: str, current: bool, said: str, locked: Run) -> None:
    small_model(Path("other.gguf"))
    write(FILE.replace(old, new))
    before = LOCK.read_bytes()
    code, out, _ = locked("lock", "--check")
    assert (code, said in out) == (0 if current else 1, True)
    assert ("is up to date" in out) == current
    assert LOCK.read_bytes() == before
    assert json.loads(locked("lock", "--check", "--json")[1])["current"] == current
    assert locked("lock")[0] == 0
    assert locked("lock", "--check")[0] == 0


def test_a_model_that_changed_is_taken_up_or_refused(locked: Run) -> None:
    data = bytearray(Path("model.gguf").read_bytes())
    data[-1] ^= 1
    Path("model.gguf").write_bytes(data)
    code, _, err = locked("build", "-s", "dev", "--locked")
    assert code == 2 and "lock-mismatch" in err and "`model.gguf` is sha256:" in err and "--upgrade" in err
    assert locked("lock", "--check")[0] == 1
    before = LOCK.read_bytes()
    assert locked("build", "-s", "dev")[0] == 0
    assert LOCK.read_bytes() != before
    assert locked("build", "-s", "dev", "--locked")[0] == 0


def test_locked_and_frozen_never_write(locked: Run) -> None:
    before = LOCK.read_bytes()
    write(FILE.replace("0.5", "0.6"))
    code, _, err = locked("build", "-s", "dev", "--locked")
    assert code == 1 and "lock-stale" in err and "`--locked`" in err and "modelkit lock" in err
    assert locked("build", "-s", "dev", "--frozen")[0] == 0
    assert LOCK.read_bytes() == before
    assert locked("build", "-s", "dev")[0] == 0
    assert LOCK.read_bytes() != before


def test_stages_of_one_base_are_locked_together(run: Run) -> None:
    small_model(Path("model.gguf"))
    small_model(Path("other.gguf"))
    write(FILE + "STAGE blue EXTENDS prod {\n  FROM ./other.gguf\n}\nSTAGE red EXTENDS prod {\n  QUANTIZE Q8_0\n}\n")
    assert run("build", "-s", "dev")[0] == 0
    assert [stage["name"] for stage in tomllib.loads(LOCK.read_text())["stage"]] == ["dev", "prod"]
    code, _, err = run("build", "-s", "red")
    assert code == 2 and "quantize-up" in err


@pytest.mark.parametrize("flag", ["--locked", "--frozen"])
def test_a_lock_that_is_asked_for_must_be_there(flag: str, run: Run) -> None:
    small_model(Path("model.gguf"))
    write(FILE)
    code, _, err = run("build", "-s", "dev", flag)
    assert code == 1 and "lock-missing" in err and not LOCK.exists()


def test_policy_locked_refuses_what_is_not_locked(run: Run) -> None:
    small_model(Path("model.gguf"))
    write(FILE.replace("STAGE prod {", "STAGE prod {\n  POLICY locked"))
    code, _, err = run("build", "-s", "prod")
    assert code == 1 and "lock-stale" in err and "`POLICY locked`" in err
    assert run("build", "-s", "dev")[0] == 0
    assert run("lock")[0] == 0
    assert run("build", "-s", "prod")[0] == 0
    write(FILE.replace("STAGE prod {", "STAGE prod {\n  POLICY locked").replace("0.5", "0.6"))
    assert run("build", "-s", "prod")[0] == 1


def test_what_was_made_is_learned_and_not_forgotten(locked: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    ) -> None:
    assert locked("build", "-s", "prod")[0] == 0
    learned = LOCK.read_bytes()
    (step,) = tomllib.loads(learned.decode())["stage"][1]["steps"]
    assert step["output"].startswith("sha256:") and step["size"] > 0
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "another-home"))
    assert locked("lock")[0] == 0
    assert LOCK.read_bytes() == learned
    assert locked("lock", "--check")[0] == 0


@pytest.mark.parametrize(("text", "code", "said"), [
    ("version = 2\n", "lock-version", "a newer one"),
    ("revision = 1\n", "lock-invalid", "version"),
    ("version = 1\n<<<<<<< ours\n", "lock-invalid", "merge conflict"),
    ("version = 1\n[[stage]]\nname = 'dev'\n", "lock-invalid", "`stage.0.artifact`"),
    ('version = 1\n[[artifact]]\nreference = "/etc/m.gguf"\nresolved = "/etc/m.gguf"\nform = "gguf"\nfiles = []\n',
     "lock-invalid", "absolute path"),
    ('version = 1\n[[artifact]]\nreference = "a"\nresolved = "a"\nform = "gguf"\n[[artifact.files]]\npath = "../x"\n'
     f'digest = "sha256:{"0" * 64}"\nsize = 1\n', "path-escapes", "../x"),
])
def test_a_lock_that_is_not_ours_is_refused(text: str, code: str, said: str, locked: Run) -> None:
    LOCK.write_text(text)
    for words in (("lock", "--check"), ("build", "-s", "dev"), ("plan",)):
        status, _, err = locked(*words)
        assert status == 2 and f"error[{code}]" in err and said in err
    assert LOCK.read_text() == text


def test_fields_of_a_later_revision_are_kept(locked: Run) -> None:
    text = LOCK.read_text().replace("revision = 1", 'revision = 9\nsignature = "x"')
    LOCK.write_text(text.replace('name = "dev"', 'name = "dev"\ncolour = "blue"'))
    assert locked("lock", "--check")[0] == 0
    assert locked("build", "-s", "prod")[0] == 0
    said = tomllib.loads(LOCK.read_text())
    assert (said["revision"], said["signature"], said["stage"][0]["colour"]) == (9, "x", "blue")


def test_the_bill_of_materials_is_valid_and_the_same_again(locked: Run) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert locked("build")[0] == 0
    first, again = locked("sbom")[1], locked("sbom")[1]
    assert first == again and first == locked("sbom", "--json")[1]
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(first)
    assert problem is None, problem
    said = json.loads(first)
    kinds = [component["type"] for component in said["components"]]
    assert kinds.count("machine-learning-model") == 2
    base = next(c for c in said["components"] if c["name"] == "./model.gguf")
    assert base["hashes"][0]["content"] in LOCK.read_text()
    refs = {c["bom-ref"] for c in said["components"]} | {"modelfile"}
    assert {d["ref"] for d in said["dependencies"]} == refs
    assert {to for d in said["dependencies"] for to in d["dependsOn"]} <= refs
    only = json.loads(locked("sbom", "-s", "dev")[1])
    assert len(only["components"]) < len(said["components"]) and only["serialNumber"] != said["serialNumber"]


def test_a_bill_of_materials_wants_a_lock(run: Run) -> None:
    write(FILE)
    code, out, err = run("sbom")
    assert (code, out) == (1, "") and "lock-missing" in err
