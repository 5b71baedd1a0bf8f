"""`modelkit fmt`: what it writes, what it leaves alone, what it says and with which exit code."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest

from modelkit.cli.differences import patch
from tests.unit.cli.conftest import Run

UNTIDY = "from  x:1\n\n\n\n# why\nparameter temperature   0.2  \nSTAGE dev{\nquantize Q4_K_M\n}\n"
TIDY = "FROM x:1\n\n# why\nPARAMETER temperature 0.2\n\nSTAGE dev {\n  QUANTIZE Q4_K_M\n}\n"
WRONG = "from  x:1\nsystme hi\n"


def write(text: str, name: str = "Modelfile", encoding: str = "utf-8") -> Path:
    Path(name).write_bytes(text.encode(encoding))
    return Path(name)


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_it_lays_the_folders_modelfile_out(run: Run) -> None:
    path = write(UNTIDY)
    assert run("fmt") == (0, "", "1 file formatted\n")
    assert path.read_text() == TIDY
    assert run("fmt", ".") == (0, "", "1 file unchanged\n")
    assert run("fmt", "-q") == (0, "", "")


def test_check_lists_and_writes_nothing(run: Run) -> None:
    write(UNTIDY, "a.Modelfile")
    write(TIDY, "b.Modelfile")
    code, out, err = run("fmt", "--check", "a.Modelfile", "b.Modelfile", "./a.Modelfile")
    assert (code, err) == (1, "1 file would be formatted, 1 file unchanged\n")
    assert [Path(line).name for line in out.splitlines()] == ["a.Modelfile"]
    assert Path("a.Modelfile").read_text() == UNTIDY
    assert run("fmt", "--check", "b.Modelfile")[0] == 0


def test_diff_is_a_patch(run: Run) -> None:
    write(UNTIDY)
    code, out, _ = run("fmt", "--diff")
    assert code == 1
    assert out.startswith("--- Modelfile\n+++ Modelfile\n@@ ")
    assert {"-from  x:1", "+FROM x:1", "+  QUANTIZE Q4_K_M"} <= set(out.splitlines())
    assert Path("Modelfile").read_text() == UNTIDY
    write(TIDY)
    assert run("fmt", "--diff")[:2] == (0, "")


def test_a_file_with_errors_is_left_alone_and_the_others_are_not(run: Run) -> None:
    wrong, right = write(WRONG, "wrong.Modelfile"), write(UNTIDY, "right.Modelfile")
    code, out, err = run("fmt", str(wrong), str(right))
    assert (code, out) == (1, "")
    assert "error[unknown-instruction]" in err
    assert "wrong.Modelfile:2:1" in err
    assert err.endswith("1 file formatted, 1 file with errors, left alone\n")
    assert (wrong.read_text(), right.read_text()) == (WRONG, TIDY)


@pytest.mark.parametrize("text", ["FROM x:1\nPARAMETER temperature hot\n", "SYSTEM hi\n", ""])
def test_errors_of_meaning_are_errors(run: Run, text: str) -> None:
    path = write(text)
    assert run("fmt")[0] == 1
    assert path.read_text() == text


def test_standard_input_goes_to_standard_output(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, UNTIDY.encode())
    assert run("fmt", "-") == (0, TIDY, "")
    feed(monkeypatch, WRONG.encode())
    code, out, err = run("fmt", "-")
    assert (code, out) == (1, WRONG)
    assert "<stdin>:2:1" in err
    feed(monkeypatch, UNTIDY.encode())
    assert run("fmt", "--check", "-")[:2] == (1, "<stdin>\n")
    code, _, err = run("fmt", "-", "Modelfile")
    assert code == 2
    assert "`-` stands alone" in err


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encoding_mark_line_ends_mode_and_link_stay(run: Run, encoding: str, end: str) -> None:
    text = UNTIDY.replace("why", "pourquoi \u00e9\U0001f469").replace("\n", end)
    path = write(text, "real.Modelfile", encoding)
    path.chmod(0o640)
    Path("Modelfile").symlink_to(path.name)
    assert run("fmt", "Modelfile")[0] == 0
    wanted = TIDY.replace("why", "pourquoi \u00e9\U0001f469").replace("\n", end)
    assert path.read_bytes() == wanted.encode(encoding)
    assert Path("Modelfile").is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(p.name for p in Path().iterdir()) == ["Modelfile", "real.Modelfile"]


def test_bytes_that_are_no_text_are_not_lost(run: Run) -> None:
    data = b"from x:1\n# caf\xe9\n"
    Path("Modelfile").write_bytes(data)
    code, _, err = run("fmt")
    assert code == 2
    assert "error[not-text]" in err
    assert Path("Modelfile").read_bytes() == data


def test_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(UNTIDY, "a.Modelfile")
    write(WRONG, "b.Modelfile")
    code, out, _ = run("fmt", "--json", "a.Modelfile", "b.Modelfile")
    said = json.loads(out)
    assert (code, said["schema"]) == (1, "modelkit.fmt/1")
    assert [(one["file"], one["status"]) for one in said["files"]] == [
        ("a.Modelfile", "changed"), ("b.Modelfile", "errors")]
    assert said["files"][1]["diagnostics"][0]["rule"] == "unknown-instruction"
    feed(monkeypatch, UNTIDY.encode())
    assert json.loads(run("fmt", "--json", "-")[1])["files"][0]["text"] == TIDY


@pytest.mark.parametrize("words", [["nowhere"], ["a-folder"]])
def test_what_is_not_there_is_one_error(run: Run, words: list[str]) -> None:
    Path("a-folder").mkdir()
    code, _, err = run("fmt", *words)
    assert code == 2
    assert err.startswith("error[no-modelfile]")


def test_a_file_that_is_too_large_is_refused(run: Run) -> None:
    Path("Modelfile").write_bytes(b"FROM x:1\n" + b"#\n" * (2 * 1024 * 1024))
    assert "error[too-large]" in run("fmt")[2]


def test_a_patch_says_where_the_last_line_does_not_end() -> None:
    assert patch("m", "a\r\nb", "a\r\nb\r\n").splitlines(keepends=True)[-3:] == [
        "-b\n", "\\ No newline at end of file\n", "+b\r\n"]
