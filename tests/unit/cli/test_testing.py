"""`modelkit test` through the command line, against an endpoint that says what a script says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from modelkit.contract.effective import SCHEMA
from tests.unit.cli.conftest import Run, write
from tests.unit.release.testing.scripted import Server, serving

TEXT = '''NAME m
FROM ./m.gguf
PARAMETER temperature 0.7
PARAMETER stop "User:"
TEST "capital" {
  USER What is the capital of France?
  EXPECT contains "Paris"
}
TEST "sum" {
  USER 2+2?
  EXPECT equals "4"
}
'''
SAYS: dict[str, Any] = {"What is the capital of France?": "It is Paris.", "2+2?": "4", "greet": "Hello you"}
GOLDEN = """schema: modelkit.golden/1
cases:
  - name: greets  # kindly
    user: greet
    expect:
      - equals: Hi
"""


@pytest.fixture
def server(run: Run) -> Iterator[Server]:
    """An endpoint under modelkit's contract."""
    said = dict(SAYS)
    effective = {"schema": SCHEMA, "model": "m", "max_concurrency": 2}
    with serving(lambda body: said[body["messages"][-1]["content"]], effective) as server:
        server.said = said  # type: ignore[attr-defined]
        yield server


def test_all_pass(run: Run, server: Server) -> None:
    write(TEXT)
    code, out, err = run("test", "--url", server.url)
    assert code == 0, err
    assert "2 passed of 2" in out
    assert "3 at once, 1 alone" in out
    body = next(body for path, body, _ in server.asked if body["messages"][-1]["content"] == "2+2?")
    assert (body["temperature"], body["seed"], body["top_k"], body["min_p"], body["model"]) == (0.0, 0, 0, 0.0, "m")
    assert "stop" not in body  # the contract has it


def test_a_failure_is_shown_where_it_was_written(run: Run, server: Server) -> None:
    write(TEXT.replace('"Paris"', '"Lyon"'))
    code, out, _ = run("test", "--url", server.url)
    assert code == 1
    assert "FAIL capital" in out and "Modelfile:7:" in out
    assert 'does not contain "Lyon": "It is Paris."' in out


def test_as_json(run: Run, server: Server) -> None:
    write(TEXT)
    code, out, _ = run("test", "--url", server.url, "--json", "-k", "SUM")
    said = json.loads(out)
    assert code == 0
    assert (said["verdict"], said["passed"], said["total"]) == ("pass", 1, 1)
    assert said["conditions"]["concurrency"] == 3
    assert said["cases"][0]["attempts"][0]["answers"] == ["4"]


def test_as_junit_and_for_github(run: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    write(TEXT.replace('"4"', '"5, not 4"'))
    code, out, err = run("test", "--url", server.url, "--format", "junit")
    root = Xml.fromstring(out)
    assert code == 1 and "1 failed of 2" in err
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("2", "1", "0")
    assert "is not" in (root.findall(".//failure")[0].get("message") or "")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    code, out, _ = run("test", "--url", server.url, "--format", "github")
    assert out.startswith("::error file=Modelfile,line=9,") and "title=fail%3A sum::" in out
    assert "| sum | fail | 0/1 |" in Path("summary.md").read_text()


def test_an_endpoint_that_fails_is_no_bad_model(run: Run, server: Server) -> None:
    write(TEXT)
    server.said["2+2?"] = (500, "CUDA out of memory")  # type: ignore[attr-defined]
    code, out, _ = run("test", "--url", server.url, "--retries", "0")
    assert code == 2
    assert "ERROR sum" in out and "CUDA out of memory" in out and "1 not answered" in out


def test_nobody_there(run: Run) -> None:
    write(TEXT)
    code, out, _ = run("test", "--url", "http://127.0.0.1:9", "--retries", "0")
    assert code == 2 and out.count("ERROR") == 2


def test_nothing_runs(run: Run) -> None:
    write(TEXT)
    code, out, err = run("test", "-s", "dev")
    assert (code, out) == (1, "")
    assert "error[not-running]" in err and "modelkit up -d --wait -s dev" in err


@pytest.mark.parametrize("words", [
    ("--url", "localhost:80"), ("--url", "http://me:secret@h/v1"), ("--model", "m"), ("-k", "nothing"),
    ("--url", "http://h", "--judge-votes", "2"), ("--replay", "d", "--update"), ("--replay", "d", "-s", "dev"),
    ("--replay", "nowhere"), ("--judge-model", "x"), ("--judge", "http://h"), ("--update", "--repeat", "2"),
    ("--url", "http://127.0.0.1:9", "--api-key-env", "NO_SUCH_KEY"), ("--repeat", "0"), ("-s", "nowhere"),
])
def test_a_wrong_command_line_is_one_error(run: Run, words: tuple[str, ...]) -> None:
    write(TEXT)
    code, out, err = run("test", *words)
    assert code in (1, 2) and out == ""
    assert err.count("error[") == 1 and "secret" not in err


def test_no_tests_is_said(run: Run) -> None:
    write("NAME m\nFROM ./m.gguf\n")
    code, _, err = run("test", "--url", "http://127.0.0.1:9")
    assert code == 2 and "error[no-tests]" in err


def test_golden_files_are_rewritten_where_they_differ(run: Run, server: Server) -> None:
    write(TEXT)
    write(GOLDEN, "a.golden.yaml")
    assert run("test", "--url", server.url)[0] == 1
    code, _, err = run("test", "--url", server.url, "--update")
    assert code == 0 and "wrote 1 text into a.golden.yaml" in err
    assert Path("a.golden.yaml").read_text() == GOLDEN.replace("equals: Hi", 'equals: "Hello you"')
    assert run("test", "--url", server.url)[0] == 0
    assert "no exact text" in run("test", "--url", server.url, "--update")[2]


def test_a_mistake_in_a_golden_file_is_shown_where_it_is(run: Run) -> None:
    write(TEXT)
    write(GOLDEN.replace("equals: Hi", "equls: Hi"), "a.golden.yaml")
    code, out, err = run("test", "--url", "http://127.0.0.1:9")
    assert (code, out) == (1, "")
    assert "a.golden.yaml:6:9: there is no `equls` here" in err and "did you mean `equals`?" in err
    assert "6 |       - equls: Hi" in err


def test_answers_are_recorded_and_replayed(run: Run, server: Server) -> None:
    write(TEXT)
    assert run("test", "--url", server.url, "--record", "kept")[0] == 0
    assert len(list(Path("kept").glob("*.json"))) == 3
    before = len(server.asked)
    code, out, _ = run("test", "--replay", "kept", "--json")
    assert code == 0 and json.loads(out)["conditions"]["replayed"]
    write(TEXT.replace('"Paris"', '"Lyon"'))  # other checks, the same answers
    assert run("test", "--replay", "kept")[0] == 1
    write(TEXT.replace("2+2?", "2+3?"))
    code, out, _ = run("test", "--replay", "kept")
    assert code == 2 and "was not recorded" in out
    write(TEXT + "SYSTEM Be terse.\n")
    code, _, err = run("test", "--replay", "kept")
    assert code == 1 and "error[cassettes-stale]" in err
    assert len(server.asked) == before
    write(TEXT.partition('TEST "sum"')[0])
    assert run("test", "--url", server.url, "--record", "kept")[0] == 0
    assert len(list(Path("kept").glob("*.json"))) == 2  # what nobody asks any more is gone


def test_an_endpoint_of_openais_gets_only_its_fields(run: Run) -> None:
    write(TEXT)
    with serving(lambda body: SAYS[body["messages"][-1]["content"]]) as server:
        code, _, err = run("test", "--url", server.url, "--model", "gpt", "--api-key-env", "HOME")
        assert code == 0 and "asked as it is" in err
        _, body, headers = server.asked[0]
    assert not {"top_k", "min_p", "repetition_penalty"} & body.keys()
    assert (body["model"], body["stop"], body["temperature"]) == ("gpt", ["User:"], 0.0)
    assert headers["Authorization"].startswith("Bearer ")


EXAMINED = """schema: modelkit.golden/1
cases:
  - name: judged
    user: greet
    expect:
      - judge: is a greeting
      - similar: {text: Hi there, at_least: 0.9}
      - exec: [PYTHON, -c, "import sys, json; sys.exit(json.load(sys.stdin)['text'] != 'Hello you')"]
"""


def test_checks_that_take_somebody_else(run: Run, server: Server) -> None:
    write("NAME m\nFROM ./m.gguf\n")
    write(EXAMINED.replace("PYTHON", sys.executable), "a.golden.yaml")
    code, out, _ = run("test", "--url", server.url)
    assert code == 8 and "skip judged" in out and "--judge" in out and "--allow-exec" in out
    verdicts = iter(["fail", "pass", "pass"])
    script = server.script
    server.script = lambda body: (json.dumps({"reason": "r", "verdict": next(verdicts)})
                                  if "response_format" in body else script(body))
    server.vectors = {"Hi there": [1.0, 0.1], "Hello you": [1.0, 0.0]}
    others = ("--judge", server.url, "--judge-model", "j", "--embeddings", server.url, "--embeddings-model", "e",
              "--allow-exec")
    code, out, err = run("test", "--url", server.url, *others, "--json", "--record", "kept")
    assert code == 0, err
    judge = json.loads(out)["conditions"]["judge"]
    assert judge["itself"] and judge["digest"] and f"--judge-digest {judge['digest']}" in err
    assert "judges itself" in err
    code, out, _ = run("test", "--replay", "kept", "--allow-exec")
    assert code == 0, out
    code, _, err = run("test", "--url", server.url, *others, "--judge-digest", "sha256:0")
    assert code == 1 and "error[other-judge]" in err
