"""`modelkit check`: files that are mended, formats, selections, exit codes; and `modelkit explain RULE`."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from junitparser import JUnitXml

from modelkit.language.rules import RULES
from tests.unit.cli.conftest import Run, write

BAD = 'FROM llama3.2:3b\nSYSTEM ""\nPARAMETER Top_K 4\nPARAMETER temprature 1\n'
SAFE = "FROM llama3.2:3b\nPARAMETER top_k 4\nPARAMETER temprature 1\n"
GOOD = "FROM llama3.2:3b\nPARAMETER top_k 4\nPARAMETER temperature 1\n"


def held() -> str:
    return Path("Modelfile").read_bytes().decode()


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_safe_fixes_are_made_and_guesses_only_when_asked_for(run: Run) -> None:
    write(BAD)
    code, out, err = run("check", "--fix")
    assert (code, out, held()) == (1, "", SAFE)
    assert "mended in Modelfile: `Top_K` is in the wrong case [wrong-case-parameter]: write `top_k`" in err
    assert err.endswith("1 file checked: 1 error; 2 mended; --fix --unsafe-fixes guesses 1\n")
    code, _, err = run("check", "--fix", "--unsafe-fixes")
    assert (code, held()) == (0, GOOD)
    assert run("check", "--fix", "--unsafe-fixes")[2].endswith("1 file checked, nothing to say; 0 mended\n")


def test_without_fix_nothing_is_written(run: Run) -> None:
    write(BAD)
    code, _, err = run("check")
    assert (code, held()) == (1, BAD)
    assert "--fix mends 2; --fix --unsafe-fixes guesses at 1 more" in err


def test_a_diff_is_a_patch_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    write(BAD)
    code, out, err = run("check", "--diff", "--unsafe-fixes")
    assert (code, held()) == (1, BAD)
    assert "3 would be mended" in err
    done = subprocess.run(["git", "apply", "-p0", "-"], input=out, text=True, cwd=tmp_path, capture_output=True,
                          check=False, env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})
    assert done.returncode == 0, done.stderr
    assert held() == GOOD
    assert run("check", "--diff", "--unsafe-fixes")[:2] == (0, "")


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_encoding_and_line_ends_stay(run: Run, codec: str, end: str) -> None:
    text = BAD.replace("FROM", "# caf\u00e9 \U0001f680\nFROM").replace("\n", end)
    Path("Modelfile").write_bytes(text.encode(codec))
    run("check", "--fix")
    assert Path("Modelfile").read_bytes() == text.replace(f'SYSTEM ""{end}', "").replace("Top_K", "top_k").encode(codec)


def test_bytes_that_are_no_text_are_left_alone(run: Run) -> None:
    data = b'FROM llama3.2:3b\nSYSTEM ""\n# caf\xe9\n'
    Path("Modelfile").write_bytes(data)
    _, _, err = run("check", "--fix")
    assert Path("Modelfile").read_bytes() == data
    assert "left as it is" in err and "empty-value" in err


def test_the_files_mode_and_link_stay(run: Run) -> None:
    write(BAD, "real")
    Path("real").chmod(0o640)
    Path("Modelfile").symlink_to("real")
    run("check", "--fix")
    assert Path("Modelfile").is_symlink() and Path("real").read_text() == SAFE
    assert Path("real").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in Path().iterdir()) == ["Modelfile", "real"]


def test_a_file_that_is_good_is_not_touched(run: Run) -> None:
    write(GOOD)
    os.utime("Modelfile", (1, 1))
    run("check", "--fix")
    assert Path("Modelfile").stat().st_mtime == 1


def test_a_folder_that_cannot_be_written_is_one_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(BAD)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    code, _, err = run("check", "--fix")
    assert (code, held()) == (2, BAD)
    assert "error[unwritable]: Modelfile cannot be written: permission denied" in err
    assert [path.name for path in Path().iterdir()] == ["Modelfile"]


def test_standard_input_is_checked_and_mended_to_stdout(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, BAD.encode("utf-16"))
    code, _, err = run("check", "-")
    assert code == 1 and "--> <stdin>:4:11" in err
    stdin(monkeypatch, BAD.replace("\n", "\r\n").encode())
    code, out, _ = run("check", "--fix", "--unsafe-fixes", "-")
    assert (code, out) == (0, GOOD.replace("\n", "\r\n"))


def test_only_what_is_selected_is_said_and_mended(run: Run) -> None:
    text = 'from llama3.2\nSYSTEM ""\nPARAMETER top_k 4\nPARAMETER top_k 5\n'
    write(text)
    _, out, _ = run("check", "--format", "concise", "--select", "style,empty-value")
    assert re.findall(r"\[(.*?)\]", out) == ["lower-case-instruction", "empty-value"]
    run("check", "--fix", "--select", "style")
    assert held() == text.replace("from", "FROM")
    run("check", "--fix", "--ignore", "empty-value")
    assert held() == 'FROM llama3.2\nSYSTEM ""\nPARAMETER top_k 5\n'
    write(BAD)
    run("check", "--fix", "--select", "style")
    assert held() == BAD
    assert "mutable" not in run("check", "--ignore", "production,empty-value", "--format", "concise")[1]


@pytest.mark.parametrize(("words", "said"), [
    (("--select", "stlye"), "did you mean `style`?"), (("--ignore", "unknown-parameter"), "cannot be ignored"),
    (("--diff", "--format", "sarif"), "--diff prints a patch"), (("-", "Modelfile"), "stands alone"),
    (("--fix", "--json", "-"), "goes to stdout"), (("--format", "xml"), "invalid choice"),
    (("--fail-on", "hint"), "invalid choice"),
])
def test_what_cannot_be_asked_for_is_one_error(run: Run, words: tuple[str, ...], said: str) -> None:
    write(BAD)
    code, out, err = run("check", *words)
    assert code == 2 and said in err + out and held() == BAD


@pytest.mark.parametrize(("text", "level", "code"), [
    ("FROM llama3.2\n", "error", 0), ("FROM llama3.2\n", "warning", 0), ("FROM llama3.2\n", "info", 1),
    ('FROM llama3.2:3b\nSYSTEM ""\n', "error", 0), ('FROM llama3.2:3b\nSYSTEM ""\n', "warning", 1),
])
def test_what_fails_a_run_is_chosen(run: Run, text: str, level: str, code: int) -> None:
    write(text)
    assert run("check", "--fail-on", level)[0] == code


def test_concise_is_a_line_each_on_stdout(run: Run) -> None:
    write(BAD)
    code, out, err = run("check", "--format", "concise", "-q")
    assert (code, err) == (1, "")
    assert out.splitlines()[2] == "Modelfile:4:11: error[unknown-parameter] no parameter is called `temprature`"


def test_json_has_the_fix_what_was_mended_and_what_was_left_out(run: Run) -> None:
    write(BAD + '# modelkit: ignore[empty-value] the base\'s\nLICENSE ""\n')
    said = json.loads(run("check", "--json")[1])
    assert said == json.loads(run("check", "--format", "json")[1]) and said["fixed"] == []
    (wrong,) = [one for one in said["diagnostics"] if one["rule"] == "wrong-case-parameter"]
    assert wrong["fix"]["safe"] is True
    assert wrong["fix"]["edits"][0]["text"] == "top_k" and wrong["fix"]["edits"][0]["start"]["line"] == 3
    assert [(one["rule"], one["reason"]) for one in said["ignored"]] == [("empty-value", "the base's")]
    fixed = json.loads(run("check", "--json", "--fix")[1])
    assert [one["rule"] for one in fixed["fixed"]] == ["empty-value", "wrong-case-parameter"]
    assert [one["rule"] for one in fixed["diagnostics"]] == ["unknown-parameter"]


def test_sarif_junit_and_github_go_to_stdout(run: Run) -> None:
    write(BAD)
    assert json.loads(run("check", "--format", "sarif")[1])["version"] == "2.1.0"
    assert JUnitXml.fromstring(run("check", "--format", "junit")[1].encode()).failures == 2
    assert re.match(r"::\w+ file=Modelfile,line=2", run("check", "--format", "github")[1])


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_a_name_that_is_no_text_and_a_poor_locale_are_no_crash(tmp_path: Path, encoding: str) -> None:
    name = os.fsdecode(b"caf\xe9.Modelfile")
    (tmp_path / name).write_text(BAD.replace("temprature", "t\u00e9mp"), "utf-8")
    for form in ("full", "concise", "json", "github", "sarif", "junit"):
        done = subprocess.run([sys.executable, "-m", "modelkit", "check", "--format", form, name], cwd=tmp_path,
                              capture_output=True, timeout=60, check=False,
                              env={**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": encoding})
        assert done.returncode == 1 and b"Traceback" not in done.stderr, done.stderr


def test_what_a_comment_leaves_out_is_counted(run: Run) -> None:
    write("# modelkit: ignore[mutable-reference] the newest is wanted\nFROM llama3.2\n")
    code, _, err = run("check")
    assert (code, err) == (0, "1 file checked, nothing to say; 1 left out by comments\n")


def test_a_flags_slip_is_guessed(run: Run) -> None:
    text = "FROM llama3.2:3b\nSTAGE prod {\n  ENGINE vllm\n  FLAG --enforce-eagr\n}\n"
    write(text)
    assert run("check", "--fix", "--unsafe-fixes")[0] == 0
    assert held() == text.replace("eagr", "eager")


def test_an_engines_finding_can_be_left_out(run: Run) -> None:
    flag = "  FLAG --ours\n"
    write(f"FROM llama3.2:3b\nSTAGE prod {{\n  ENGINE vllm\n{flag}}}\n")
    assert run("check")[0] == 1
    write(held().replace(flag, f"  # modelkit: ignore[flag-not-in-engine] our own build has it\n{flag}"))
    code, _, err = run("check", "--ignore", "engine-advisory,engine-vulnerable")
    assert code == 0 and "1 left out by comments" in err, err


@pytest.mark.parametrize("rule", ["unknown-parameter", "Mutable-Reference", "flag-not-in-engine"])
def test_a_rules_page(run: Run, rule: str) -> None:
    code, out, _ = run("explain", rule)
    assert code == 0 and out.startswith(f"# {rule.lower()}\n") and max(map(len, out.splitlines())) <= 100
    said = json.loads(run("explain", rule, "--json")[1])
    assert said["rule"] == rule.lower() and said["why"] == RULES[rule.lower()].why


def test_all_rules_are_listed(run: Run) -> None:
    assert len(run("explain", "--rules")[1].splitlines()) == len(RULES) + 1
    said = json.loads(run("explain", "--rules", "--json")[1])["rules"]
    assert {one["rule"] for one in said} == set(RULES)
    assert next(one for one in said if one["rule"] == "wrong-case-parameter")["fix"]["safe"] is True


def test_a_file_is_a_file_though_a_rule_has_its_name(run: Run) -> None:
    write("nonsense\n", "not-yet")
    assert "unknown-instruction" in run("explain", "not-yet")[2]


@pytest.mark.parametrize(("word", "said"), [("unknown-paramter", "did you mean `unknown-parameter`?"),
                                            ("zebra", "modelkit explain --rules"), ("a/b", "does not exist")])
def test_neither_a_file_nor_a_rule(run: Run, word: str, said: str) -> None:
    code, _, err = run("explain", word)
    assert code == 2 and said in err


def test_other_commands_do_not_say_what_is_left_out(run: Run) -> None:
    write('FROM ./absent.gguf\nSYSTEM ""\n')
    assert "empty-value" in run("plan")[2]
    write('FROM ./absent.gguf\n# modelkit: ignore[empty-value, flag-changes] the base\'s\nSYSTEM ""\n')
    assert "warning[" not in run("plan")[2]
