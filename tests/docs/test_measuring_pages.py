"""What the pages on bench and eval show: their commands are understood, those that need no engine are run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modelkit.cli.main import main
from modelkit.cli.parser import build
from modelkit.release.bench.result import enough
from modelkit.release.evaluation.own import RULES, read
from modelkit.release.evaluation.tasks import REFUSED
from tests.unit.cli.openai_endpoint import endpoint

DOCS = Path(__file__).parents[2] / "docs"
BENCH, EVAL = ((DOCS / f"{name}.md").read_text("utf-8") for name in ("bench", "eval"))
COMMANDS = [line.partition("  #")[0].strip() for page in (BENCH, EVAL)
            for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's questions and task."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    for kind, name in (("jsonl", "capitals.jsonl"), ("yaml", "brief.eval.yaml")):
        (text,) = re.findall(rf"```{kind}\n(.*?)```", EVAL, re.DOTALL)
        Path(name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_one(line: str) -> None:
    build().parse_args(shlex.split(line)[1:])


@pytest.mark.parametrize("line", [line for line in COMMANDS if "capitals.jsonl" in line or "--list" in line])
def test_a_command_runs(line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = {"France": "Paris.", "Italy": "It is Roma."}
    with endpoint(lambda asked: next(said for name, said in answers.items() if name in asked)) as url:
        line = re.sub(r"-s \w+", f"--url {url} --model m", line)
        if "--compare" in line:
            assert main(shlex.split(line.replace("--compare", "-o"))[1:]) == 0
        assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err


def test_a_benchmark_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = next(line for line in COMMANDS if line.startswith("modelkit bench --url"))
    with endpoint(lambda asked: "word " * 9) as url:
        line = re.sub(r"--url \S+", f"--url {url}", line)
        assert main([*shlex.split(line)[1:], "-n", "60"]) == 0, capsys.readouterr().err


def test_the_pages_task_is_one(folder: Path) -> None:
    task = read(Path("brief.eval.yaml"), "brief")
    assert task.questions[1].text == "Question: What is the capital of Italy?" and task.max_tokens == 32


def test_what_the_pages_list_is_there() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", EVAL, re.MULTILINE)) - {"score"} == RULES.keys()
    for percentile, count in re.findall(r"(\d+) for p(\d\d)", BENCH):
        assert enough(f"ttft.p{count}") == int(percentile)
    assert {"mmlu", "hellaswag", "arc_challenge"} <= REFUSED.keys()
