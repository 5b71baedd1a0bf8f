"""The surface over the real engine, through its socket: clients, log-probabilities, leaving, ending."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from modelkit.contract.profile import Profile
from modelkit.llamacpp import cores
from modelkit.llamacpp.config import Config
from modelkit.platforms.dashboards import metric_names
from tests.live.llamacpp.process import CONTEXT, NAME, PLACES, ROOT, Process, eventually, gguf, python, running
from tests.live.test_dashboards import series

pytestmark = [pytest.mark.live_llamacpp, pytest.mark.timeout(300)]

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO: Any = [{"role": "user", "content": "What is the capital of France?"}]
LONG = {"messages": HELLO, "max_tokens": CONTEXT, "ignore_eos": True}


def test_openais_client_reads_whole_answers_and_streams(engine: Process) -> None:
    whole = engine.openai.chat.completions.create(model=NAME, messages=HELLO, max_tokens=12)
    assert whole.usage is not None and whole.usage.total_tokens == whole.usage.prompt_tokens + 12
    chunks = list(engine.openai.chat.completions.create(
        model=NAME, messages=HELLO, max_tokens=12, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 12


def test_a_completion_and_its_stream_are_one_text(engine: Process) -> None:
    whole = engine.openai.completions.create(model=NAME, prompt=["One, two,", "Red, green,"], max_tokens=6)
    texts = ["", ""]
    for chunk in engine.openai.completions.create(model=NAME, prompt=["One, two,", "Red, green,"], max_tokens=6,
                                                  stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in whole.choices]


def test_an_echo_is_worth_what_the_same_text_was_when_it_was_written(engine: Process) -> None:
    prompt = "The capital of France is"
    written = engine.post(TEXT, prompt=prompt, max_tokens=8, logprobs=2)["choices"][0]
    read = engine.post(TEXT, prompt=prompt + written["text"], max_tokens=0, logprobs=2, echo=True)["choices"][0]
    assert read["text"] == prompt + written["text"] == "".join(read["logprobs"]["tokens"])
    assert read["logprobs"]["token_logprobs"][0] is None
    assert read["logprobs"]["tokens"][-8:] == written["logprobs"]["tokens"]
    pairs = zip(read["logprobs"]["token_logprobs"][-8:], written["logprobs"]["token_logprobs"], strict=True)
    assert all(abs(one - other) < 0.1 for one, other in pairs)


def test_log_probabilities_spell_the_answer(engine: Process) -> None:
    messages: Any = [{"role": "user", "content": "Write the word naïve and an emoji."}]
    choice = engine.post(CHAT, messages=messages, max_tokens=24, logprobs=True, top_logprobs=3, ignore_eos=True
                         )["choices"][0]
    content = choice["logprobs"]["content"]
    assert len(content) == 24 and all(len(entry["top_logprobs"]) == 3 for entry in content)
    assert all(entry["top_logprobs"][0] == {name: entry[name] for name in ("token", "logprob", "bytes")}
               for entry in content)
    spelled = b"".join(bytes(entry["bytes"]) for entry in content).decode()
    assert spelled.startswith(choice["message"]["content"]) or "<|" in spelled  # control tokens are tokens, too


def test_what_is_rendered_is_what_is_counted(engine: Process) -> None:
    rendered = engine.post(CHAT + "/render", messages=HELLO)
    usage = engine.post(CHAT, messages=HELLO, max_tokens=1)["usage"]
    assert len(rendered["token_ids"]) == usage["prompt_tokens"]
    assert engine.post("/tokenize", messages=HELLO)["tokens"] == rendered["token_ids"]
    assert engine.post("/detokenize", tokens=rendered["token_ids"])["prompt"] == rendered["prompt"]


def test_tokens_are_written_as_the_vocabulary_writes_them(engine: Process) -> None:
    assert engine.post("/tokenize", prompt="the end<|im_end|>", return_token_strs=True)["token_strs"] == [
        "the", "Ġend", "<|im_end|>"]


@pytest.mark.parametrize(("path", "fields", "param"), [
    (TEXT, {"prompt": [49152]}, "prompt"), (TEXT, {"prompt": [[1], [-0, 99999]]}, "prompt"),
    ("/detokenize", {"tokens": [49152]}, "tokens"),
    (CHAT, {"messages": HELLO, "logit_bias": {"49152": 1}}, "logit_bias"),
    (TEXT, {"prompt": "x", "logit_bias": {"49152": 1}}, "logit_bias")])
def test_a_token_beyond_the_vocabulary_is_a_400(engine: Process, path: str, fields: dict[str, Any], param: str) -> None:
    error = engine.refused(path, **fields)
    assert (error["code"], error["param"]) == ("invalid_value", param)


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_does_not_fit_is_a_400_with_both_numbers(engine: Process, stream: bool) -> None:
    error = engine.refused(TEXT, prompt=[300] * CONTEXT, stream=stream)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert error["message"].count(str(CONTEXT)) == 2


def test_it_has_the_metrics_that_dashboards_ask_for(engine: Process) -> None:
    before = engine.metric("generation_tokens_total")
    engine.post(CHAT, messages=HELLO, max_tokens=5, ignore_eos=True)
    assert metric_names("llama.cpp") - series(engine.http.get("/metrics").text) == set()
    assert engine.metric("generation_tokens_total") == before + 5
    assert engine.metric("num_requests_running") == 0


def test_it_says_what_it_has(engine: Process) -> None:
    found = engine.http.get("/modelkit/effective").json()
    assert (found["context_length"], found["max_concurrency"]) == (CONTEXT, PLACES)
    assert found["kv_tokens"] == CONTEXT * PLACES
    assert (found["model"], found["adapters"], found["kv_cache"]) == (gguf(), [], "f16")
    assert found["template"].startswith("sha256:") and found["version"]


def test_nobody_else_may_knock(engine: Process) -> None:
    assert stat.S_IMODE(engine.socket.stat().st_mode) == 0o700


def test_who_leaves_a_stream_frees_its_place(engine: Process) -> None:
    with engine.http.stream("POST", CHAT, json={"model": NAME, "stream": True, **LONG}) as answer:
        next(answer.iter_lines())
    eventually(lambda: engine.metric("num_requests_running") == 0, 5)


@pytest.mark.parametrize(("path", "fields"), [(CHAT, LONG), (TEXT, {
    "prompt": ["a", "b", "c"], "n": 2, "max_tokens": CONTEXT, "ignore_eos": True})])
def test_who_does_not_wait_for_a_whole_answer_frees_it_too(engine: Process, path: str, fields: dict[str, Any]) -> None:
    with pytest.raises(httpx.ReadTimeout):
        engine.http.post(path, json={"model": NAME, **fields}, timeout=httpx.Timeout(30, read=0.3))
    eventually(lambda: engine.metric("num_requests_running") + engine.metric("num_requests_waiting") == 0, 5)


def test_sigterm_lets_what_runs_end() -> None:
    with running() as process:
        process.ready()
        lines: list[str] = []
        begun = threading.Event()

        def listen() -> None:
            with process.http.stream("POST", CHAT, json={"model": NAME, "messages": HELLO, "max_tokens": 8,
                                                         "stream": True, "ignore_eos": True}) as answer:
                for line in answer.iter_lines():
                    lines.append(line)
                    begun.set()

        listening = threading.Thread(target=listen)
        listening.start()
        assert begun.wait(60)
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(30) == 0
        listening.join(30)
        assert lines[-2] == "data: [DONE]"
        assert json.loads(lines[-4].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
        assert "Traceback" not in process.said
        with pytest.raises(openai.APIConnectionError):
            process.openai.chat.completions.create(model=NAME, messages=HELLO)


BREAKING = """import os
from modelkit.llamacpp import __main__ as process, scheduler

def step(self):
    raise RuntimeError("something broke")

scheduler.Scheduler.step = step
os._exit(process.ended())
"""


def test_when_the_engines_thread_dies_so_does_the_process_and_says_why() -> None:
    with running(program=("-c", BREAKING)) as process:
        error = process.ready().refused(CHAT, 503, messages=HELLO, stream=True)
        assert error["code"] == "engine_unavailable" and "broke" not in error["message"]
        assert process.process.wait(30) == 1
        last = process.said.splitlines()[-1]
        assert last.startswith("modelkit: llama.cpp: ") and last.endswith("something broke")


def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF nonsense")
    with running(model=str(tmp_path / "m.gguf")) as process:
        assert process.process.wait(60) == 1
        last = process.said.splitlines()[-1]
        assert last.startswith("modelkit: llama.cpp: ") and "m.gguf" in last
        assert "Traceback" not in process.said


def test_a_failed_assertion_of_ggml_is_the_last_line() -> None:
    code = ("import llama_cpp._ggml as ggml\n"
            "from modelkit.llamacpp import __main__ as process, library\n"
            "library.on_abort(process.aborted)\n"
            "ggml.libggml.ggml_abort(b'/home/builder/ggml.c', 7, b'GGML_ASSERT(n > 0) failed')\n")
    done = subprocess.run([python(), "-c", code], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "modelkit: llama.cpp: ggml gave up: ggml.c:7: GGML_ASSERT(n > 0) failed"
    assert "/home/builder" not in done.stderr


def test_openmp_hears_how_to_wait_before_it_is_loaded(tmp_path: Path) -> None:
    """It reads its environment once. Threads that spin for long while they wait starve whatever else this machine
    computes, and those that sleep at once are woken for each part of a token."""
    said = Config(model=str(tmp_path / "none.gguf"), socket=str(tmp_path / "s"), profile=str(tmp_path / "profile.json"),
                  fingerprint="test", context_length=CONTEXT, max_concurrency=1)
    (tmp_path / "config.json").write_text(json.dumps(said.as_json()))
    (tmp_path / "profile.json").write_text(json.dumps(Profile("tiny", "llamacpp", CONTEXT).as_json()))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [python(), "-P", "-m", "modelkit.llamacpp", "--config", str(tmp_path / "config.json")], capture_output=True,
        text=True, timeout=60, check=False, env={**environment, "PYTHONPATH": str(ROOT), "OMP_DISPLAY_ENV": "verbose"})
    assert done.returncode == 1 and "none.gguf" in done.stderr.splitlines()[-1]
    soon = "GOMP_SPINCOUNT = '400'" in done.stderr
    assert soon == (cores.usable_cores() <= cores.FEW), done.stderr
