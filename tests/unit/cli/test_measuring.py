"""`bench` and `eval` from words to exit codes, against an endpoint in a thread."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkit.release.bench.document import read as read_bench
from tests.unit.cli.conftest import Run
from tests.unit.cli.openai_endpoint import endpoint

_QUESTIONS = "".join(f'{{"question": "What is {n} plus {n}?", "answer": "{2 * n}"}}\n' for n in range(10))


@pytest.fixture
def url() -> Iterator[str]:
    with endpoint(lambda asked: f"It is {2 * int(asked.split()[2])} ." if "plus" in asked else "word " * 99) as url:
        yield url


@pytest.fixture
def words(url: str) -> tuple[str, ...]:
    return ("--url", url, "--model", "m")


def test_bench_measures(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run("bench", *words, "-n", "30", "--concurrency", "1,3", "--answer-tokens", "4", "-o", "b.json",
                         "--limit", "ttft.p90 <= 10s", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert [one["load"]["concurrency"] for one in said["runs"]] == [1, 3] and said["verdict"] == "pass"
    assert all(len(one["samples"]) == 30 and one["metrics"]["errors"] == 0 for one in said["runs"])
    assert {sample["tokens"] for one in said["runs"] for sample in one["samples"]} == {4}
    lengths = [sample["prompt_tokens"] for sample in said["runs"][0]["samples"]]
    assert set(lengths) == {128}
    assert said["workload"]["prompt_tokens"] == [128, 128] and said["subject"]["model"] == "m"
    assert read_bench(Path("b.json")).runs[0].limits[0].verdict == "pass"


@pytest.mark.parametrize(("limit", "code", "verdict"), [
    ("ttft.p50 <= 10s", 0, "pass"), ("e2e.p50 <= 0.0001ms", 1, "fail"), ("ttft.p99 <= 10s", 8, "inconclusive")])
def test_bench_is_held_to_limits(run: Run, words: tuple[str, ...], limit: str, code: int, verdict: str) -> None:
    done, out, err = run("bench", *words, "-n", "10", "--answer-tokens", "3", "--limit", limit)
    assert done == code, err
    assert out.splitlines()[-1].startswith(f"{verdict:<12} {limit}")


def test_bench_compares(run: Run, words: tuple[str, ...]) -> None:
    base = ("bench", *words, "-n", "30", "--answer-tokens", "3")
    assert run(*base, "-o", "then.json")[0] == 0
    code, out, err = run(*base, "--compare", "then.json", "--tolerance", "90%")
    assert (code, "same" in out) == (0, True), out + err
    slow = json.loads(Path("then.json").read_text())
    for sample in slow["runs"][0]["samples"]:
        sample |= {"ttft": sample["ttft"] / 1000, "e2e": sample["e2e"] / 1000}
    slow["runs"][0]["metrics"] = {name: value / 1000 for name, value in slow["runs"][0]["metrics"].items()}
    Path("fast.json").write_text(json.dumps(slow))
    code, out, _ = run(*base, "--compare", "fast.json")
    assert (code, "worse" in out) == (1, True)


def test_bench_asks_own_prompts_at_a_rate(run: Run, words: tuple[str, ...]) -> None:
    Path("p.jsonl").write_text('{"prompt": "one two three", "max_tokens": 2}\n')
    code, out, err = run("bench", *words, "-n", "8", "--warmup", "0", "--prompts", "p.jsonl", "--rate", "200", "--even",
                         "--json")
    said = json.loads(out)
    assert code == 0, err
    assert {(one["prompt_tokens"], one["tokens"]) for one in said["runs"][0]["samples"]} == {(8, 2)}
    assert said["runs"][0]["load"] == {"kind": "open", "rate": 200.0, "poisson": False}


@pytest.mark.parametrize(("words_", "said"), [
    (("--limit", "fast"), "`fast` is no limit"), (("--concurrency", "0"), "must be 1 at least"),
    (("--concurrency", "9999"), "more than one client can make"), (("--rate", "x"), "not a number above 0"),
    (("--rate", "1", "--concurrency", "1"), "not allowed with"), (("--even",), "goes with `--rate`"),
    (("--prompts", "no.txt"), "no.txt cannot be read"), (("--prompt-tokens", "9-3"), "not a number of tokens"),
    (("--prompts", "p", "--prompt-tokens", "3"), "as long as they are"), (("--compare", "no.json"), "cannot be read"),
    (("--with", "ab"), "invalid choice"), (("--with", "vllm"), "vLLM is not installed"),
    (("--tolerance", "much"), "not a share"), (("-o", "no/such/b.json", "-n", "1"), "cannot be written")])
def test_bench_says_what_is_wrong(run: Run, words: tuple[str, ...], words_: tuple[str, ...], said: str) -> None:
    code, _, err = run("bench", *words, "--answer-tokens", "1", *words_)
    assert code == 2 and said in err


@pytest.mark.parametrize("command", [("bench",), ("eval", "q.jsonl")])
def test_nothing_there_to_be_asked(run: Run, command: tuple[str, ...]) -> None:
    Path("q.jsonl").write_text(_QUESTIONS)
    code, _, err = run(*command, "--url", "http://127.0.0.1:9/v1", "--model", "m")
    assert code == 2 and "error[no-answer]" in err and "onnect" in err


def test_a_wrong_key_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint(lambda asked: "yes", key="sk-secret") as url:
        monkeypatch.setenv("MODELKIT_API_KEY", "sk-other")
        code, out, err = run("bench", "--url", url, "--model", "m")
        assert (code, "401: wrong key" in err, "sk-" in out + err) == (2, True, False)
        monkeypatch.setenv("OWN", "sk-secret")
        assert run("bench", "--url", url, "--model", "m", "--api-key-env", "OWN", "-n", "2")[0] == 0


def test_eval_scores_a_file(run: Run, words: tuple[str, ...]) -> None:
    Path("sums.jsonl").write_text(_QUESTIONS.replace('"answer": "18"', '"answer": "19"'))
    code, out, err = run("eval", "sums.jsonl", *words, "-o", "e.json")
    assert (code, out.splitlines()[1].split()[:3]) == (0, ["sums", "90.0", "%"]), err
    said = json.loads(Path("e.json").read_text())
    assert said["scores"][0]["value"] == 0.9 and said["scores"][0]["answered"] == 10
    code, out, err = run("eval", "sums.jsonl", *words, "--compare", "e.json", "--json")
    assert (code, json.loads(out)["comparison"][0]["verdict"]) == (0, "same"), err


def test_eval_sees_a_worse_model(run: Run, words: tuple[str, ...]) -> None:
    Path("sums.jsonl").write_text(_QUESTIONS)
    with endpoint(lambda asked: "I do not know .") as worse:
        assert run("eval", "sums.jsonl", *words, "-o", "e.json")[0] == 0
        code, out, _ = run("eval", "sums.jsonl", "--url", worse, "--model", "m", "--compare", "e.json")
    assert code == 1 and "worse        sums    -100.0 points" in out


@pytest.mark.parametrize(("task", "said"), [
    ("mmlu", "cannot be asked over chat: it compares how likely each given answer is"),
    ("wikitext", "perplexity"), ("gsm8k", "lm-eval is not installed"), ("no.jsonl", "there is no file no.jsonl"),
    ("task.py", "there is no file task.py"), ("inspect:x", "inspect is not installed"), ("lm-eval:", "which task?"),
    ("some/where", "there is no file some/where")])
def test_eval_says_what_cannot_be_run(run: Run, words: tuple[str, ...], task: str, said: str) -> None:
    code, _, err = run("eval", task, *words)
    assert code == 2 and said in err and "hint" in err


def test_eval_without_tasks_and_with_another_task(run: Run, words: tuple[str, ...]) -> None:
    assert "which tasks?" in run("eval", *words)[2]
    Path("q.jsonl").write_text(_QUESTIONS)
    assert run("eval", "q.jsonl", *words, "-o", "e.json")[0] == 0
    Path("q.jsonl").write_text(_QUESTIONS.replace("plus 3", "plus  3"))
    code, _, err = run("eval", "q.jsonl", *words, "--compare", "e.json")
    assert code == 2 and "`q` asks or scores otherwise than it did" in err


def test_tasks_are_listed(run: Run) -> None:
    code, out, err = run("eval", "--list")
    assert code == 0 and "gsm8k" in out and "hellaswag" in err
    assert {"chat", "refused"} == json.loads(run("eval", "--list", "--json")[1]).keys()
