"""`modelkit import` and `modelkit export`, from the command line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.conftest import Run, write

SWAP = "models: {a: {cmd: 'llama-server -m m/a.gguf'}, b: {cmd: 'vllm serve o/m'}, c: {cmd: ls}}\n"
PLAIN = "NAME n\nFROM ./m.gguf\nPARAMETER temperature 0.5\n"


def test_a_command_line_is_imported_and_checks(run: Run) -> None:
    code, out, err = run("import", "vllm", "-o", "Modelfile", "--", "vllm", "serve", "o/m", "--max-model-len", "8k",
                         "--swap-space", "4")
    assert (code, out) == (0, "")
    assert "lost: --swap-space 4: no version of vLLM" in err and "wrote Modelfile" in err
    assert "PARAMETER num_ctx 8000" in Path("Modelfile").read_text("utf-8")
    assert run("check", "Modelfile")[0] == 0


def test_a_command_in_one_word_and_in_a_file(run: Run) -> None:
    Path("run.sh").write_text("vllm serve o/m --seed 3\n", "utf-8")
    by_file, by_word = run("import", "vllm", "run.sh"), run("import", "vllm", "vllm serve o/m --seed 3")
    assert by_file[1] == by_word[1] and "FROM hf.co/o/m" in by_file[1]


def test_stdin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfFROM x\r\nSYSTEM y\r\n")))
    code, out, _ = run("import", "ollama", "-")
    assert code == 0 and out.endswith("FROM x\r\nSYSTEM y\r\n")


def test_json_is_one_document(run: Run) -> None:
    code, out, _ = run("import", "llama-server", "--json", "-q", "--", "llama-server", "-m", "x.gguf", "--bogus", "1")
    said = json.loads(out)
    assert code == 0 and said["schema"] == "modelkit.import/1"
    (model,) = said["models"]
    assert model["modelfile"].startswith("# From a `llama-server` command line")
    assert model["losses"][0] == {"said": "--bogus 1", "verdict": "lost", "reason":
                                  "no build of llama-server that modelkit knows has this flag"}


def test_one_of_several_models(run: Run) -> None:
    Path("c.yaml").write_text(SWAP, "utf-8")
    code, _, err = run("import", "llama-swap", "c.yaml")
    assert code == 2 and "has 3 models: a, b, c" in err and "--model" in err
    code, out, _ = run("import", "llama-swap", "c.yaml", "--model", "a", "--name", "other")
    assert code == 0 and "NAME other\nFROM ./m/a.gguf\n" in out
    code, _, err = run("import", "llama-swap", "c.yaml", "--model", "x")
    assert code == 2 and "it has a, b, c" in err
    code, _, err = run("import", "llama-swap", "c.yaml", "--model", "c")
    assert code == 2 and "c.yaml:1: `models.c.cmd` starts neither" in err


def test_all_of_several_models_into_a_folder(run: Run) -> None:
    Path("c.yaml").write_text(SWAP, "utf-8")
    code, _, err = run("import", "llama-swap", "c.yaml", "-o", "out/")
    assert code == 1 and "not imported: c:" in err
    assert "FROM ../m/a.gguf" in Path("out/a.Modelfile").read_text("utf-8")
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.Modelfile", "b.Modelfile"]
    assert run("check", "out/a.Modelfile", "out/b.Modelfile")[0] == 0


def test_nothing_is_overwritten_unasked(run: Run) -> None:
    write("FROM mine\n")
    code, _, err = run("import", "vllm", "-o", "Modelfile", "vllm serve o/m")
    assert code == 2 and "exists already" in err and "--force" in err
    assert Path("Modelfile").read_text("utf-8") == "FROM mine\n"
    assert run("import", "vllm", "--force", "-o", "Modelfile", "vllm serve o/m")[0] == 0


def test_strict(run: Run) -> None:
    assert run("import", "vllm", "--strict", "vllm serve o/m --bogus")[0] == 1
    assert run("import", "vllm", "--strict", "vllm serve o/m")[0] == 0
    write(PLAIN + "SYSTEM x\n")
    assert run("export", "llama-server", "--strict")[0] == 1
    assert run("export", "ollama", "--strict")[0] == 0


@pytest.mark.parametrize(("words", "message"), [
    (("import", "compose", "none.yaml"), "none.yaml cannot be read: no such file or directory"),
    (("import", "compose"), "import compose takes one file"),
    (("import", "compose", "a", "b"), "import compose takes one file, and there are 2"),
    (("import", "vllm", "ls -l"), "the command line starts neither vLLM nor llama-server"),
    (("import", "nothing", "x"), "invalid choice: 'nothing'"),
    (("export", "ollama", "none"), "none does not exist"),
    (("export", "ollama", "-s", "nope", "Modelfile"), "Modelfile has no stage `nope`"),
    (("export", "vllm", "-s", "dev", "bad.Modelfile"), "bad.Modelfile has 1 error"),
    (("export", "vllm", "-s", "rt", "Modelfile"), "stage `rt` of Modelfile runs sglang"),
    (("export", "ollama", "Modelfile", "other.Modelfile"), "holds one model, and there are 2"),
    (("export", "llama-swap", "Modelfile", "twin.Modelfile"), "two models are called `n`"),
])
def test_what_cannot_be_done_is_one_clear_error(run: Run, words: tuple[str, ...], message: str) -> None:
    write(PLAIN + "STAGE rt EXTENDS prod {\n  ENGINE sglang\n}\n")
    write("FROM x\nPARAMETER temperature 9\n", "bad.Modelfile")
    write("FROM x:1\n", "other.Modelfile")
    write("NAME n\nFROM x:1\n", "twin.Modelfile")
    code, out, err = run(*words)
    assert code in (1, 2) and out == ""
    assert message in err


def test_every_format_is_written(run: Run) -> None:
    write(PLAIN)
    write("NAME o\nFROM ./o.gguf\n", "o.Modelfile")
    for format, start in (("ollama", "# n, stage dev, for"), ("llama-server", "# n, stage dev, without"),
                          ("vllm", "# n, stage prod, without"), ("lmstudio", "model: local/n\n")):
        code, out, _ = run("export", format, "-q", "Modelfile")
        assert code == 0 and out.startswith(start)
    for format in ("compose", "llama-swap"):
        code, out, _ = run("export", format, "-s", "dev", "Modelfile", "o.Modelfile", "-o", f"{format}.yaml", "--json")
        assert code == 0 and json.loads(out)["text"] == Path(f"{format}.yaml").read_text("utf-8")


def test_compose_itself_takes_what_is_written(run: Run, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("docker-compose")
    write(PLAIN.replace("./m.gguf", "hf.co/o/m-GGUF:Q8_0") + 'SERVE max_concurrency 2\nPARAMETER stop "$x"\n')
    assert run("export", "compose", "-s", "dev", "-o", "models.yaml")[0] == 0
    Path("compose.yaml").write_text("include: [models.yaml]\nservices: {app: {image: x, models: [n]}}\n", "utf-8")
    done = subprocess.run([program, "-f", "compose.yaml", "config"], capture_output=True, text=True, cwd=tmp_path,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    model = yaml.safe_load(done.stdout)["models"]["n"]
    assert model["model"] == "hf.co/o/m-GGUF:Q8_0" and model["context_size"] == 8192
    assert model["runtime_flags"][:4] == ["--parallel", "2", "--temp", "0.5"]
