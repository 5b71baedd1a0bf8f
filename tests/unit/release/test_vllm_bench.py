"""`vllm bench serve`: how it is called, and what its file means."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.release.bench import BenchResult, Closed, Open, Prompts, vllm_bench
from modelkit.release.bench.limits import limit
from modelkit.release.bench.measure import Extent
from modelkit.release.client import Target

_WROTE = {"duration": 2.0, "start_times": [10.0, 10.5, 11.0], "ttfts": [0.1, 0.3, 0.0], "itls": [[0.1, 0.2], [0.1], []],
          "output_lens": [3, 2, 0], "input_lens": [7, 7, 0], "errors": ["", "", "Traceback\nTimeoutError: late\n"]}
_FAKE = """#!{python}
import json, os, sys
words = sys.argv[1:]
at = lambda name: words[words.index(name) + 1]
{act}
"""
_WRITE = """open(os.path.join(at("--result-dir"), at("--result-filename")), "w").write({wrote!r})
open({seen!r}, "w").write(json.dumps([words, open(at("--dataset-path")).read(), os.environ.get("OPENAI_API_KEY")]))"""


def run(folder: Path, act: str, load: Any = None, *, limits: tuple[str, ...] = (), messages: int = 1) -> BenchResult:
    program = folder / "vllm"
    program.write_text(_FAKE.format(python=sys.executable, act=act))
    program.chmod(0o755)
    asked = Prompts(({"messages": [{"role": "user", "content": "hi"}] * messages, "max_tokens": 3},), "sha256:0")
    return vllm_bench.measure(str(program), Target("http://h:1/v1", "m", key="k"), asked, load or Closed(concurrency=2),
                              extent=Extent(3), limits=[limit(one) for one in limits], environment={})


def test_its_samples_are_counted_by_our_rules(tmp_path: Path) -> None:
    act = _WRITE.format(wrote=json.dumps(_WROTE), seen=str(tmp_path / "seen"))
    done = run(tmp_path, act, limits=("ttft.p50 <= 0.2s",))
    first, second, third = done.samples
    assert (first.due, first.ttft, first.itl, first.e2e, first.tokens, first.prompt_tokens) == (
        0.0, 0.1, (0.1, 0.2), pytest.approx(0.4), 3, 7)
    assert (second.due, third.error, third.ttft) == (0.5, "TimeoutError: late", None)
    assert done.metrics["errors"] == pytest.approx(1 / 3) and done.metrics["tokens_per_second"] == 2.5
    assert (done.tool, done.verdict) == ("vllm", "inconclusive")  # a third failed
    words, prompts, key = json.loads((tmp_path / "seen").read_text())
    assert words[:2] == ["bench", "serve"] and words[-4:-2] == ["--max-concurrency", "2"] and key == "k"
    assert json.loads(words[-1]) == {"max_completion_tokens": 3}
    assert prompts == '{"prompt": "hi", "output_tokens": 3}\n' * 3 and "k" not in words


def test_an_open_loop_is_a_rate(tmp_path: Path) -> None:
    run(tmp_path, _WRITE.format(wrote=json.dumps(_WROTE), seen=str(tmp_path / "seen")), Open(rate=2.5))
    assert json.loads((tmp_path / "seen").read_text())[0][-6:-2] == ["--request-rate", "2.5", "--burstiness", "1.0"]


@pytest.mark.parametrize(("act", "messages", "said"), [
    ("import pandas_", 1, "this vLLM lacks what `vllm bench` needs: pandas_"),
    ("sys.exit('no such model')", 1, "ended with status 1"), ("pass", 1, "no result that can be read"),
    ("pass", 2, "asks single messages")])
def test_what_goes_wrong_is_said(tmp_path: Path, act: str, messages: int, said: str) -> None:
    with pytest.raises(Failure) as caught:
        run(tmp_path, act, messages=messages)
    assert said in caught.value.message


def test_another_file_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no result that can be read"):
        run(tmp_path, _WRITE.format(wrote="{}", seen=str(tmp_path / "seen")))
