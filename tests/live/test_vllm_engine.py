"""The launch of `engines/vllm.py` on the real vLLM: what it promises, seen from its socket and the process table."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from modelkit import engines, models
from modelkit.engines import fitting, flags, vllm
from modelkit.engines.call import call
from modelkit.engines.launch import RUN, Launch
from modelkit.failure import Failure
from modelkit.language.check import compile_source
from modelkit.language.source import Source
from modelkit.models.anatomy import anatomy_of
from modelkit.planning.facts import Facts
from modelkit.planning.fit import vllm as memory
from modelkit.planning.fit import vllm_log
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.plan import Plan
from modelkit.planning.resolve import resolve
from modelkit.runtime import environments
from tests.live.engines import BASE

pytestmark = [pytest.mark.live_vllm, pytest.mark.timeout(900)]

MODELFILE = f"""NAME tiny
FROM {BASE}
SYSTEM You are a helpful assistant.
PARAMETER temperature 0
PARAMETER num_ctx 1024
PARAMETER num_predict 12
PARAMETER stop "Paris"
STAGE prod {{
  SERVE max_concurrency 4
}}
"""
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
SYSTEM = [{"role": "system", "content": "You are a helpful assistant."}]


@pytest.fixture(scope="module")
def environment() -> environments.EngineEnvironment:
    found = environments.find("vllm", ">=0.32,<0.33")
    if found is None:
        pytest.fail("vLLM 0.32 is not installed here: run `modelkit engine install vllm`")
    return found


@pytest.fixture(scope="module")
def plan(environment: environments.EngineEnvironment) -> Plan:
    return planned(environment, MODELFILE)


def planned(environment: environments.EngineEnvironment, text: str) -> Plan:
    reference = models.Reference.parse(BASE, Path("/"))
    gguf = models.acquire(reference)
    known = Facts(engines={"vllm": vllm.engine(environment)}, reference=reference.text, gguf=gguf,
                  safetensors=models.huggingface_folder(gguf), model=models.facts(gguf), cpus=os.cpu_count() or 1)
    modelfile, diagnostics = compile_source(Source("Modelfile", text))
    assert modelfile is not None, diagnostics
    return resolve(modelfile, "prod", known)


@dataclass
class Running:
    """One vLLM that was started as its launch says."""

    process: subprocess.Popen[bytes]
    directory: Path
    launch: Launch
    log: Path

    @property
    def socket(self) -> str:
        return str(self.directory / "engine.sock")

    def family(self) -> list[psutil.Process]:
        leader = psutil.Process(self.process.pid)
        return [leader, *leader.children(recursive=True)]

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        return call(self.socket, path, {"model": "tiny", **body})

    def get(self, path: str) -> str:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(self.socket)
        connection.request("GET", path)
        try:
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def until_ready(self) -> None:
        deadline = time.monotonic() + self.launch.start_seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            with contextlib.suppress(Failure):
                # As the supervisor does it: health has been seen to lie, an answer with log-probabilities has not.
                self.ask("/v1/chat/completions", messages=QUESTION, max_tokens=1, logprobs=True)
                return
            time.sleep(0.5)
        pytest.fail("it was not ready in time")


def start(launch: Launch, *more: str) -> Running:
    directory = Path(tempfile.mkdtemp(prefix="mk"))
    filled = [word.replace(RUN, str(directory)) for word in (*launch.argv, *more)]
    for file in launch.files:
        path = directory / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content.replace(RUN, str(directory)), "utf-8")
    env = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    env |= {name: value.replace(RUN, str(directory)) for name, value in launch.env.items()}
    log = directory / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(filled, env=env, cwd=directory, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True)
    return Running(process, directory, launch, log)


def end(running: Running) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(running.process.pid, 9)
    running.process.wait(30)
    shutil.rmtree(running.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def engine(plan: Plan) -> Iterator[Running]:
    running = start(engines.launch(plan))
    try:
        running.until_ready()
        yield running
    finally:
        end(running)


def text(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def test_the_modelfiles_defaults_are_the_engines(engine: Running) -> None:
    """Written out by the client or left to the Modelfile, a request is the same request."""
    implied = engine.ask("/v1/chat/completions", messages=QUESTION)
    written = engine.ask("/v1/chat/completions", messages=[*SYSTEM, *QUESTION], temperature=0, top_p=0.9, top_k=40,
                         min_p=0, max_tokens=12, stop=["Paris"])
    assert implied["usage"] == written["usage"]
    assert text(implied) == text(written)
    assert implied["usage"]["completion_tokens"] <= 12


def test_more_stop_strings_than_vllm_itself_allows(engine: Running) -> None:
    assert engine.ask("/v1/chat/completions", messages=QUESTION, stop=list("zZyYxXwWvV"), max_tokens=4)["choices"]


def test_log_probabilities_up_to_twenty_with_bytes(engine: Running) -> None:
    answer = engine.ask("/v1/chat/completions", messages=QUESTION, logprobs=True, top_logprobs=20, max_tokens=2)
    first = answer["choices"][0]["logprobs"]["content"][0]
    assert len(first["top_logprobs"]) == 20 and bytes(first["bytes"]).decode() == first["token"]


def test_what_is_said_is_what_the_engine_uses(engine: Running, plan: Plan) -> None:
    (card,) = call(engine.socket, "/v1/models")["data"]
    assert (card["id"], card["max_model_len"]) == ("tiny", plan.context_length)
    cache = re.search(r"KV cache size: ([\d,]+) tokens", engine.log.read_text())
    assert cache is not None
    tokens = int(cache[1].replace(",", ""))
    assert tokens >= plan.context_length
    if plan.kv_bytes_per_token is not None:
        room = plan.context_length * plan.max_concurrency
        assert room <= tokens <= room * 1.5


def test_the_attention_cache_is_what_was_predicted(engine: Running, plan: Plan) -> None:
    """To the token, of the folder that was made of a GGUF and of the GGUF itself."""
    said, asked = vllm_log.read(engine.log.read_text()), fitting.serving(plan)
    assert plan.weights is not None
    for weights in (plan.weights, models.acquire(models.Reference.parse(BASE, Path("/")))):
        found = memory.pool(anatomy_of(weights), asked, Hardware("here"))
        assert (found.tokens, f"{found.concurrency:.2f}") == (said.kv_tokens, f"{said.concurrency:.2f}")
    assert said.kv_bytes is not None and abs(said.kv_bytes - (asked.kv_cache_bytes or 0)) < 2**30 / 100


def test_the_processes_take_what_was_predicted(engine: Running, plan: Plan) -> None:
    """Memory that they do not share, after real answers: between the least and the most of all lines."""
    assert plan.weights is not None
    engine.ask("/v1/chat/completions", messages=QUESTION)
    taken = sum(process.memory_full_info().pss for process in engine.family())
    lines = memory.budget(anatomy_of(plan.weights), fitting.serving(plan), Hardware("here")).lines
    low, high = (sum((line.between or (line.size, line.size))[at] for line in lines) for at in (0, 1))
    assert low <= taken <= high, [(line.name, line.size / 2**20) for line in lines] + [taken / 2**20]


def test_a_stream_comes_in_pieces(engine: Running) -> None:
    body = json.dumps({"model": "tiny", "messages": QUESTION, "stream": True, "max_tokens": 8, "stop": ["@never@"]})
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(60)
    connection.sock.connect(engine.socket)
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    lines = [line for line in connection.getresponse().read().decode().split("\n") if line]
    connection.close()
    assert lines[-1] == "data: [DONE]" and len(lines) > 4


def test_nothing_can_be_reached_from_elsewhere(engine: Running) -> None:
    """Its parts talk over loopback (gloo); who asks it for answers needs the socket in its private directory."""
    for process in engine.family():
        listening = [c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert set(listening) <= {"127.0.0.1", "::1"}
    assert list(engine.directory.glob("*.sock")) == [Path(engine.socket)]


def test_guessing_ahead_changes_nothing_but_the_time(environment: environments.EngineEnvironment,
                                                     engine: Running) -> None:
    """`SERVE speculative ngram`: the same texts, and some of the guesses were right."""
    guessing = start(engines.launch(planned(environment, MODELFILE.replace(
        "  SERVE max", "  SERVE speculative ngram\n  SERVE max"))))
    prompts = ["Write the word echo ten times.", "Count from one to ten, twice.", "List three primary colours."]
    try:
        guessing.until_ready()
        for prompt in prompts:
            asked = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 48, "stop": ["@never@"]}
            answers = [one.ask("/v1/chat/completions", **asked) for one in (engine, guessing)]
            assert text(answers[0]) == text(answers[1])
            assert answers[0]["usage"] == answers[1]["usage"]
        metrics = guessing.get("/metrics")
        accepted = re.search(r"^vllm:spec_decode_num_accepted_tokens_total\{[^}]*\} ([\d.]+)", metrics, re.M)
        assert accepted is not None and float(accepted[1]) > 0
    finally:
        end(guessing)


def test_a_kill_reaches_every_process_through_the_group(engine: Running) -> None:
    """What the supervisor relies on when it ends one that is deaf."""
    assert {os.getpgid(process.pid) for process in engine.family()} == {engine.process.pid}


def test_it_ends_when_it_is_told_to(engine: Running) -> None:
    """The last test that uses this engine."""
    family = engine.family()
    engine.process.terminate()
    assert engine.process.wait(engine.launch.grace_seconds) == 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_too_little_room_is_explained_with_both_numbers(plan: Plan) -> None:
    running = start(engines.launch(plan), "--kv-cache-memory-bytes", "10000000")
    try:
        assert running.process.wait(plan.weights.size / 2**20 + 300 if plan.weights else 300) != 0
        said = engines.explain_exit("vllm", running.log.read_text().splitlines())
        assert said is not None and re.search(r"1024 tokens needs [\d.]+ GiB .* there are 0\.01 GiB.*num_ctx", said)
    finally:
        end(running)


def test_the_shipped_lists_are_this_vllms(environment: environments.EngineEnvironment, tmp_path: Path) -> None:
    code = ("import json\n"
            "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
            "from vllm.entrypoints.launchers.cli_args import make_arg_parser\n"
            "from vllm.tool_parsers import ToolParserManager as tools\n"
            "from vllm.reasoning import ReasoningParserManager as reasoning\n"
            "parser = make_arg_parser(FlexibleArgumentParser())\n"
            "words = sorted({word for action in parser._actions for word in action.option_strings})\n"
            "print('LISTS', json.dumps([words, tools.list_registered(), reasoning.list_registered()]))")
    python = Path(environment.path) / "bin" / "python"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
                          env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "VLLM_NO_USAGE_STATS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    words, tools, reasoning = json.loads(done.stdout.rpartition("LISTS ")[2])
    assert set(words) - {"-h", "--help"} == flags.flags("vllm", environment.version)
    assert set(tools) == vllm.TOOL_PARSERS and set(reasoning) == vllm.REASONING_PARSERS
