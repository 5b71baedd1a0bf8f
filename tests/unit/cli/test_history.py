"""`history`, `approve`, `reject`, `hold` and `release` through the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run, write
from tests.unit.release.told import Story, subject

ONE, TWO = subject("1").ir, subject("2").ir
TEXT = "NAME bot\nFROM ./model.gguf\nSTAGE staging EXTENDS prod {\n  SERVE port 8485\n}\n"


@pytest.fixture
def story(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    for name in ("CI", "MODELKIT_ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    write(TEXT)
    told = Story(tmp_path)
    told.tell("promote", "1", gates=[{"id": "tests", "kind": "tests", "verdict": "fail", "started": "x", "ended": "x"}],
              overrides=[{"gate": "tests", "reason": "known", "actor": "Ada", "expires": "2999-01-01T00:00:00Z"}])
    told.tell("promote", "2")
    told.tell("rollback", "1", about=TWO, reason="worse answers")
    return told


def test_the_story_says_what_is_live_why_and_what_is_kept_out(run: Run, story: Story) -> None:
    code, out, err = run("history")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "bot, stage prod"
    assert lines[1].split() == ["WHEN", "WHAT", "VERSION", "WHO", "RECORD", "WHY"]
    assert [line.split("    ")[1].strip() for line in lines[2:5]] == ["rollback", "promote dev", "promote dev"]
    assert "tests fail, overridden" in lines[4]
    assert "live: version 111111111111" in out
    assert "kept out: version 222222222222, rollback by Ada: worse answers" in out
    assert "overridden until" not in out  # that was of another promotion


def test_as_json(run: Run, story: Story) -> None:
    _, out, _ = run("history", "--json")
    (stage,) = json.loads(out)["stages"]
    assert stage["live"] == stage["head"] == stage["records"][-1]["id"] == story.store.head()
    assert list(stage["kept_out"]) == [TWO]
    assert [one["record"]["kind"] for one in stage["records"]] == ["promote", "promote", "rollback"]


def test_what_served_then(run: Run, story: Story) -> None:
    code, out, _ = run("history", "at", "2026-01-01T00:00:02")
    assert code == 0
    assert "version 222222222222" in out
    assert "vllm 0.32.0" in out
    assert "hf.co/a/b" in out
    code, out, _ = run("history", "at", "2025-12-30", "--json")
    assert (code, json.loads(out)["stages"]) == (1, {"prod": None})


def test_one_record_in_full(run: Run, story: Story) -> None:
    head = story.store.head()
    assert head is not None
    code, out, _ = run("history", "show", head[7:15])
    assert (code, json.loads(out)["reason"]) == (0, "worse answers")
    code, _, err = run("history", "show", "nonsense")
    assert code == 1
    assert "no records of stage `prod` are called `nonsense`" in err


def test_a_changed_byte_is_found(run: Run, story: Story) -> None:
    code, out, _ = run("history", "verify")
    assert code == 0
    assert "3 records and 0 pieces of evidence are as they were written, none of them signed" in out
    path = story.store.files()[0]
    path.write_bytes(path.read_bytes().replace(b"Ada", b"Eve", 1))
    code, out, _ = run("history", "verify")
    assert code == 1
    assert f"{path}: its name is not that of its bytes" in out
    code, out, _ = run("history", "verify", "--json")
    said = json.loads(out)
    assert (code, said["verified"]) == (1, False)
    assert {one["kind"] for one in said["stages"]["prod"]["problems"]} == {"missing", "changed", "stray"}


def test_a_conflict_in_head_is_a_problem_of_the_story(run: Run, story: Story) -> None:
    (story.store.folder / "HEAD").write_text("<<<<<<< ours\n")
    code, out, _ = run("history", "verify")
    assert code == 1
    assert "does not name one record" in out


def test_an_id_that_was_noted_must_be_there(run: Run, story: Story) -> None:
    head = story.store.head()
    assert head is not None
    assert run("history", "verify", "--head", head)[0] == 0
    assert run("history", "verify", "--head", "sha256:" + "0" * 64)[0] == 1


@pytest.mark.parametrize(("words", "said"), [
    (("at",), "takes a word after it"), (("show",), "takes a word after it"), (("verify", "x"), "takes no word"),
    (("at", "yesterday"), "`yesterday` is no date"), (("-s", "dev"), "has no records of stage `dev`"),
    (("verify", "--allowed-signers", "none"), "none does not exist")])
def test_bad_words(run: Run, story: Story, words: tuple[str, ...], said: str) -> None:
    code, out, err = run("history", *words)
    assert code in (1, 2)
    assert said in err
    assert out == ""


def test_a_model_without_a_story(run: Run) -> None:
    write(TEXT)
    for words in ((), ("verify",)):
        code, _, err = run("history", *words)
        assert code == 1
        assert "error[no-history]" in err


def test_words_about_versions_become_records(run: Run, story: Story) -> None:
    assert run("approve", "prod", "--version", TWO[7:19], "--reason", "looks good")[0] == 0
    code, out, _ = run("reject", "prod", "--version", TWO, "--reason", "leaks", "--json")
    said = json.loads(out)
    assert (code, said["about"], said["kind"]) == (0, TWO, "reject")
    record = json.loads(Path(said["record"]["path"]).read_bytes())
    assert record["subject"]["ir"] == ONE
    assert record["reason"] == "leaks"
    code, out, _ = run("history")
    assert "kept out: version 222222222222, reject by" in out
    assert run("release", "prod", "--version", TWO[7:19], "--reason", "mended")[0] == 0
    assert "kept out" not in run("history")[1]
    assert run("history", "verify")[0] == 0


def test_a_stage_is_held_and_let_go(run: Run, story: Story) -> None:
    code, out, _ = run("hold", "prod", "--reason", "a holiday", "--until", "2999-01-01")
    assert code == 0
    assert "until 2999-01-02T00:00:00Z" in out
    assert "held until 2999-01-02T00:00:00Z by" in run("history")[1]
    run("release", "prod", "--reason", "back")
    assert "held" not in run("history")[1]


def test_the_version_of_the_files_must_be_known_here(run: Run, story: Story) -> None:
    code, _, err = run("approve", "prod")
    assert code == 2
    assert "error[" in err
    assert "hint" in err
    assert len(story.store.files()) == 3


@pytest.mark.parametrize(("words", "said"), [
    (("hold", "nowhere", "--reason", "r"), "there is no stage `nowhere`"),
    (("hold", "prod"), "--reason"), (("hold", "prod", "--reason", " "), "the reason is empty"),
    (("hold", "prod", "--reason", "r", "--until", "2020-01-01"), "2020-01-01 is over"),
    (("hold", "prod", "--reason", "r", "--until", "soon"), "`soon` is no date"),
    (("reject", "prod", "--reason", "r", "--version", "feed"), "no versions are called `feed`"),
    (("reject", "prod", "--reason", "r", "--version", TWO, "--sign", "nokey"), "nokey does not exist")])
def test_bad_words_write_nothing(run: Run, story: Story, words: tuple[str, ...], said: str) -> None:
    code, _, err = run(*words)
    assert code in (1, 2)
    assert said in err
    assert len(story.store.files()) == 3


def test_a_signed_word(run: Run, story: Story, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    code, out, _ = run("reject", "prod", "--reason", "r", "--version", TWO, "--sign", str(key))
    assert code == 0
    assert "(signed)" in out
    (tmp_path / "promotions" / "allowed_signers").write_text("ada@example.org " + key.with_suffix(".pub").read_text())
    code, out, _ = run("history", "verify")
    assert code == 0
    assert "1 signed by ada@example.org" in out
    assert run("history", "verify", "--signed")[0] == 1


def test_gates_of_a_stage_are_listed(run: Run, tmp_path: Path) -> None:
    write("FROM ./m.gguf\nSTAGE prod {\n  POLICY tls\n  EXPECT ttft.p95 <= 1s ADVISORY\n}\n")
    code, out, _ = run("gate", "--list")
    assert code == 0
    assert "ttft.p95    slo       advisory    ttft.p95 <= 1s" in out
    code, out, _ = run("gate", "--list", "--json")
    assert [one["id"] for one in json.loads(out)["gates"]] == ["lint", "lock", "supply", "params", "parity", "ttft.p95"]


@pytest.mark.parametrize(("words", "said"), [
    (("prod", "prod"), "no gates from stage `prod` to itself"), (("dev", "nowhere"), "there is no stage `nowhere`"),
    (("--override", "tests"), "`--override` needs `--reason`"),
    (("--override", "tests", "--reason", "r"), "`--override` needs `--until`"),
    (("--max-age", "old"), "`old` is no time")])
def test_bad_words_of_gate(run: Run, words: tuple[str, ...], said: str) -> None:
    write("FROM ./m.gguf\n")
    code, out, err = run("gate", *words)
    assert code == 2
    assert said in err
    assert out == ""
