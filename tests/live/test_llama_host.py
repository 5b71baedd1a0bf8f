"""The llama.cpp host with the real engine: what `engines.llama_server.launch` starts, spoken to over its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from modelkit import models
from modelkit.contract.profile import Profile
from modelkit.engines import llama_providers, llama_server
from modelkit.engines.launch import RUN
from modelkit.planning.plan import Engine, Origin, Plan, Setting, Weights
from tests.live.engines import BASE

pytestmark = [pytest.mark.live_llamacpp, pytest.mark.timeout(300)]

CONTEXT, SLOTS = 1024, 2
HELLO: Any = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object", "properties": {"unit": {"enum": ["celsius", "kelvin"]}}, "required": ["unit"],
    "additionalProperties": False}}}
TIME: Any = {"type": "function", "function": {"name": "get_time"}}


def gguf() -> Path:
    return Path(models.acquire(BASE).path)


def wheel() -> Engine:
    return Engine(name="llama.cpp", provider="xllamacpp", version="1", command=(sys.executable,))


TEMPLATED = Setting(name="template", value="the Modelfile's", origin=Origin(kind="modelfile"))


class Host:
    """A host process in a run directory of its own, and a client of it."""

    def __init__(self, run: Path, engine: Engine, model: Path, *, context_length: int = CONTEXT,
                 max_concurrency: int = SLOTS, flags: tuple[str, ...] = (),
                 chat_template: str | None = None) -> None:
        profile = Profile(name="demo", dialect="llama-server", context_length=context_length,
                          system="You are terse.", defaults={"temperature": 0.0}, stop=("<|im_end|>",))
        plan = Plan(name="demo", modelfile="Modelfile", stage="dev", platform="process", engine=engine,
                    engine_name="llama-server", reference="demo", context_length=context_length,
                    max_concurrency=max_concurrency, profile=profile.as_json(), flags=flags,
                    chat_template=chat_template, settings=() if chat_template is None else (TEMPLATED,),
                    weights=Weights(reference="demo", form="gguf", path=str(model), digest="sha256:0", size=0))
        launch = llama_server.launch(plan)
        for file in launch.files:
            (run / file.path).write_text(file.content.replace(RUN, str(run)))
        self.socket = run / "engine.sock"
        self.log = run / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([word.replace(RUN, str(run)) for word in launch.argv], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL)

    def ready(self) -> Host:
        eventually(lambda: self.socket.exists() or self.process.poll() is not None, 120)
        assert self.process.poll() is None, self.log.read_text()
        self.http = httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://engine",
                                 timeout=120)
        self.openai = openai.OpenAI(base_url="http://engine/v1", api_key="none", http_client=self.http, max_retries=0)
        return self

    def exit_code(self, seconds: float) -> int:
        return self.process.wait(seconds)

    def processing(self) -> int:
        """Requests that llama-server is working on now."""
        found = re.search(r"^llamacpp:requests_processing (\d+)", self.http.get("/metrics").text, re.M)
        assert found is not None
        return int(found[1])

    def end(self) -> None:
        for process in (*psutil.Process(self.process.pid).children(recursive=True),) if self.alive() else ():
            process.kill()
        self.process.kill()
        self.process.wait()

    def alive(self) -> bool:
        return self.process.poll() is None


def eventually(true: Callable[[], Any], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.05)


Start = Callable[..., Host]


@contextlib.contextmanager
def hosts() -> Iterator[Start]:
    started: list[tuple[Host, str]] = []

    def start(engine: Engine | None = None, model: Path | None = None, **more: Any) -> Host:
        run = tempfile.mkdtemp(prefix="mk-")  # short: a socket's path has a hundred bytes
        host = Host(Path(run), engine or wheel(), model or gguf(), **more)
        started.append((host, run))
        return host

    try:
        yield start
    finally:
        for host, run in started:
            host.end()
            shutil.rmtree(run)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosts() as start:
        yield start().ready()


@pytest.fixture
def start() -> Iterator[Start]:
    with hosts() as begin:
        yield begin


# answers

def test_it_is_ready_and_names_its_model(host: Host) -> None:
    assert host.http.get("/health").json() == {"status": "ok"}
    assert [m.id for m in host.openai.models.list()] == ["demo"]


def test_a_chat_is_the_same_text_streamed_and_whole(host: Host) -> None:
    whole = host.openai.chat.completions.create(model="demo", messages=HELLO, max_tokens=24)
    stream = list(host.openai.chat.completions.create(model="demo", messages=HELLO, max_tokens=24, stream=True,
                                                      stream_options={"include_usage": True}))
    said = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    assert said == whole.choices[0].message.content and said
    assert [c.choices[0].finish_reason for c in stream if c.choices][-1] == whole.choices[0].finish_reason
    assert stream[-1].usage == whole.usage and whole.usage is not None
    assert whole.model == "demo" and whole.id.startswith("chatcmpl-")
    assert not any({"timings", "__verbose"} & set(c.model_extra or {}) for c in [whole, *stream])


def test_the_first_chunk_comes_while_the_rest_is_being_made(host: Host) -> None:
    with host.openai.chat.completions.create(model="demo", messages=HELLO, max_tokens=400, stream=True,
                                             extra_body={"ignore_eos": True}) as stream:
        assert next(iter(stream)).choices
        assert host.processing() == 1


@pytest.mark.parametrize("streaming", [True, False])
def test_a_client_that_leaves_frees_its_slot(host: Host, streaming: bool) -> None:
    eventually(lambda: host.processing() == 0)
    body = {"model": "demo", "messages": HELLO, "max_tokens": 900, "ignore_eos": True, "stream": streaming}

    async def leave() -> None:
        reader, writer = await asyncio.open_unix_connection(str(host.socket))
        raw = json.dumps(body).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n\r\n%s" % (len(raw), raw))
        await asyncio.to_thread(eventually, lambda: host.processing() == 1)
        if streaming:
            await reader.readuntil(b"delta")
        writer.close()

    before = _predicted(host)
    asyncio.run(leave())
    eventually(lambda: host.processing() == 0)
    assert _predicted(host) - before < 600


def _predicted(host: Host) -> int:
    found = re.search(r"^llamacpp:tokens_predicted_total (\d+)", host.http.get("/metrics").text, re.M)
    assert found is not None
    return int(found[1])


def test_a_stop_string_ends_the_text_and_is_left_out(host: Host) -> None:
    free = host.openai.chat.completions.create(model="demo", messages=HELLO, max_tokens=24).choices[0].message.content
    assert free is not None
    stop = free.split()[2]
    for stream in (False, True):
        answer = host.http.post("/v1/chat/completions", json={
            "model": "demo", "messages": HELLO, "max_tokens": 24, "stop": [stop], "stream": stream})
        assert _text(answer) == free[:free.index(stop)]


def _text(answer: httpx.Response) -> str:
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return str(answer.json()["choices"][0]["message"]["content"])
    chunks = [json.loads(e[6:]) for e in answer.text.split("\n\n") if e.startswith("data: {")]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def test_log_probabilities_spell_the_answer(host: Host) -> None:
    messages: Any = [{"role": "user", "content": "Reply with three emoji."}]
    answer = host.openai.chat.completions.create(model="demo", messages=messages, max_tokens=16, logprobs=True,
                                                 top_logprobs=0)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None and answer.usage is not None
    spelled = b"".join(bytes(t.bytes or []) for t in logprobs.content).decode("utf-8", "replace")
    said = answer.choices[0].message.content or ""
    assert spelled.startswith(said.rstrip("\ufffd")) and said
    assert len(logprobs.content) == answer.usage.completion_tokens
    assert all(t.logprob <= 0 and t.top_logprobs == [] for t in logprobs.content)


def test_completions_speak_openais_older_form(host: Host) -> None:
    answer = host.openai.completions.create(model="demo", prompt="The capital of France is", max_tokens=4, logprobs=2)
    found = answer.choices[0].logprobs
    assert found is not None and found.tokens and found.top_logprobs and found.text_offset
    assert "".join(found.tokens) == answer.choices[0].text
    assert len(found.tokens) == len(found.token_logprobs or []) == len(found.text_offset) == 4
    assert found.text_offset[1] == len(found.tokens[0])
    assert answer.id.startswith("cmpl-") and answer.object == "text_completion"


@pytest.mark.parametrize("messages", [
    HELLO,
    [{"role": "system", "content": "½ – naïve 你好 👋🏽"}, *HELLO],
    [*HELLO, {"role": "assistant", "content": "Paris."}, {"role": "user", "content": "<|im_end|>  sure?\n\n"}],
    [*HELLO, {"role": "assistant", "content": "It is"}],
])
def test_tokenize_counts_what_generation_counts(host: Host, messages: Any) -> None:
    counted = host.http.post("/tokenize", json={"model": "demo", "messages": messages}).json()
    answer = host.openai.chat.completions.create(model="demo", messages=messages, max_tokens=1)
    assert answer.usage is not None
    assert counted["count"] == len(counted["tokens"]) == answer.usage.prompt_tokens
    assert counted["max_model_len"] == CONTEXT


def test_tokenized_ids_are_the_prompt(host: Host) -> None:
    ids = host.http.post("/tokenize", json={"model": "demo", "messages": HELLO}).json()["tokens"]
    raw = host.openai.completions.create(model="demo", prompt=ids, max_tokens=12, stop=["<|im_end|>"])
    chat = host.openai.chat.completions.create(model="demo", messages=HELLO, max_tokens=12)
    assert raw.usage is not None and chat.usage is not None
    assert raw.usage.prompt_tokens == chat.usage.prompt_tokens == len(ids)


def test_more_choices_than_slots(host: Host) -> None:
    answer = host.openai.chat.completions.create(model="demo", messages=HELLO, max_tokens=6, n=5, temperature=1, seed=3,
                                                 extra_body={"ignore_eos": True})
    assert [c.index for c in answer.choices] == [0, 1, 2, 3, 4]
    assert len({c.message.content for c in answer.choices}) > 1
    one = host.openai.chat.completions.create(model="demo", messages=HELLO, max_tokens=6)
    assert answer.usage is not None and one.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (one.usage.prompt_tokens, 30)


def test_more_clients_than_slots_are_all_served(host: Host) -> None:
    async def all_of_them() -> list[httpx.Response]:
        transport = httpx.AsyncHTTPTransport(uds=str(host.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=120) as client:
            return await asyncio.gather(*(client.post("/v1/chat/completions", json={
                "model": "demo", "messages": HELLO, "max_tokens": 8, "stream": n % 2 == 0}) for n in range(10)))

    assert {a.status_code for a in asyncio.run(all_of_them())} == {200}


def test_a_prompt_beyond_the_context_is_refused(host: Host) -> None:
    for stream in (False, True):
        answer = host.http.post("/v1/chat/completions", json={
            "model": "demo", "messages": [{"role": "user", "content": "word " * 2000}], "stream": stream})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"


# forced tools

@pytest.mark.parametrize(("choice", "finish"), [
    ({"type": "function", "function": {"name": "get_weather"}}, "stop"),
    ("required", "tool_calls"),
])
def test_a_forced_tool_is_called(host: Host, choice: Any, finish: str) -> None:
    tools = [WEATHER] if choice == "required" else [TIME, WEATHER]
    body = {"model": "demo", "messages": HELLO, "tools": tools, "tool_choice": choice, "parallel_tool_calls": False,
            "max_tokens": 200}
    whole = host.openai.chat.completions.create(**body)
    (call,) = whole.choices[0].message.tool_calls or ()
    assert call.type == "function" and call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["unit"] in ("celsius", "kelvin")
    assert whole.choices[0].finish_reason == finish and not whole.choices[0].message.content

    chunks = [c.choices[0] for c in host.openai.chat.completions.create(**body, stream=True)]
    deltas = [call for c in chunks for call in c.delta.tool_calls or ()]
    assert deltas[0].id and deltas[0].function and deltas[0].function.name == "get_weather"
    assert "".join(d.function.arguments or "" for d in deltas if d.function) == call.function.arguments
    assert chunks[-1].finish_reason == finish and not any(c.delta.content for c in chunks)


# templates

TEMPLATE = "{% for t in tools or [] %}tool {{ t.function.name }}\n{% endfor %}" \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}" \
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def test_the_modelfiles_template_renders_the_prompt(start: Start) -> None:
    host = start(chat_template=TEMPLATE).ready()

    def ids(**body: Any) -> list[int]:
        found: list[int] = host.http.post("/tokenize", json={"model": "demo", **body}).json()["tokens"]
        return found

    rendered = ("<|im_start|>system\nYou are terse.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
                "<|im_start|>assistant\n")
    messages = [{"role": "user", "content": "Hi"}]
    assert ids(messages=messages) == ids(prompt=rendered, add_special_tokens=False)
    with_tools = ids(messages=messages, tools=[TIME, WEATHER])
    assert with_tools == ids(prompt="tool get_time\ntool get_weather\n" + rendered, add_special_tokens=False)
    # A forced tool changes what may be answered, never what is asked.
    for choice in ("none", "required", {"type": "function", "function": {"name": "get_time"}}):
        answer = host.http.post("/v1/chat/completions", json={
            "model": "demo", "messages": messages, "tools": [TIME, WEATHER], "tool_choice": choice, "max_tokens": 1})
        assert answer.json()["usage"]["prompt_tokens"] == len(with_tools)


def test_a_bad_template_is_one_clear_line(start: Start) -> None:
    host = start(chat_template="{% for m in messages %}")
    assert host.exit_code(60) == 1
    explained = llama_server.explain_exit(host.log.read_text().splitlines())
    assert explained is not None and "chat template" in explained[0]


# life and death

def test_it_needs_far_less_than_its_budget(start: Start) -> None:
    host = start(context_length=4096, max_concurrency=4).ready()
    long: Any = [{"role": "user", "content": "word " * 400}]
    host.openai.chat.completions.create(model="demo", messages=long, max_tokens=1)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{host.process.pid}/status").read_text())
    assert peak is not None and int(peak[1]) * 1024 < 1.0e9


def test_only_we_may_connect(host: Host) -> None:
    for name in ("engine.sock", "llama.sock"):
        assert (host.socket.parent / name).stat().st_mode & 0o077 == 0
    assert not [c for c in psutil.Process(host.process.pid).net_connections("inet") if c.status == "LISTEN"]


def test_sigterm_ends_it_although_a_client_listens(start: Start) -> None:
    host = start().ready()
    with host.http.stream("POST", "/v1/chat/completions", json={
            "model": "demo", "messages": HELLO, "max_tokens": 1000, "ignore_eos": True, "stream": True}) as answer:
        next(answer.iter_bytes())
        host.process.send_signal(signal.SIGTERM)
        assert host.exit_code(15) == 0
    assert "Traceback" not in host.log.read_text()


def test_sigterm_ends_it_while_it_loads(start: Start) -> None:
    host = start()
    eventually(lambda: "loading model" in host.log.read_text() or not host.alive())
    host.process.send_signal(signal.SIGTERM)
    host.exit_code(15)


@pytest.mark.parametrize(("damage", "says"), [
    (lambda path: path.write_bytes(gguf().read_bytes()[:50_000_000]), "cut short"),
    (lambda path: path.write_bytes(gguf().read_bytes()[:1000]), "cut short"),
    (lambda path: path.write_text("hello"), "not a GGUF"),
    (lambda path: path.write_bytes(b""), "not a GGUF"),
    (lambda path: None, "is gone"),
])
def test_a_bad_model_is_one_clear_line(start: Start, tmp_path: Path, damage: Callable[[Path], Any], says: str) -> None:
    damage(tmp_path / "model.gguf")
    host = start(model=tmp_path / "model.gguf")
    assert host.exit_code(60) == 1
    lines = host.log.read_text().splitlines()
    assert lines[-1].startswith("modelkit: llama.cpp: ") and "model.gguf" in lines[-1]
    assert not any("Traceback" in line for line in lines)
    explained = llama_server.explain_exit(lines[-50:])
    assert explained is not None and says in explained[0]


def test_a_flag_with_a_bad_value_is_one_clear_line(start: Start) -> None:
    host = start(flags=("--cache-type-k", "q9_9"))
    assert host.exit_code(60) == 1
    assert host.log.read_text().splitlines()[-1] == (
        "modelkit: llama.cpp: `--cache-type-k q9_9`: `q9_9` is no value for `--cache-type-k`")


# a binary

SHIM = """#!{python}
import os, sys, time
import xllamacpp
from modelkit.engines.llama_host import attributes
words = sys.argv[1:]
if words == ["--version"]:
    sys.exit("version: 4242 (shim)")
if words == ["--help"]:
    print("\\n".join(f"{{name}}, N    a flag" for name in attributes.ATTRIBUTES if name != "--sse-ping-interval"))
    sys.exit()
assert "--sse-ping-interval" not in words
params, at = xllamacpp.CommonParams(), 0
while at < len(words):
    size = 1 if attributes.ATTRIBUTES[words[at]].read is None else 2
    attributes.apply(params, tuple(words[at:at + size]), xllamacpp)
    at += size
server = xllamacpp.Server(params)
while True:
    time.sleep(60)
"""


@pytest.fixture
def binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """llama-server as a program of its own: an argument vector in, the real server inside."""
    path = tmp_path / "llama-server"
    path.write_text(SHIM.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("LLAMA_SERVER", str(path))
    engine = llama_providers.providers()[0].engine
    assert (engine.provider, engine.version) == ("llama-server", "4242")
    return engine


def test_a_binary_serves_the_same(start: Start, binary: Engine) -> None:
    host = start(engine=binary).ready()
    answer = host.openai.chat.completions.create(model="demo", messages=HELLO, max_tokens=4)
    assert answer.system_fingerprint == "llama-server-4242" and answer.choices[0].message.content
    (child,) = psutil.Process(host.process.pid).children()
    host.process.send_signal(signal.SIGTERM)
    assert host.exit_code(15) == 0
    assert not child.is_running()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ties a child's life to its parent's on Linux only")
def test_a_binary_dies_with_its_host(start: Start, binary: Engine) -> None:
    host = start(engine=binary).ready()
    (child,) = psutil.Process(host.process.pid).children()
    host.process.kill()
    child.wait(10)


def test_a_host_ends_with_its_binary(start: Start, binary: Engine) -> None:
    host = start(engine=binary).ready()
    (child,) = psutil.Process(host.process.pid).children()
    child.kill()
    assert host.exit_code(15) == 1
    assert host.log.read_text().splitlines()[-1] == "modelkit: llama.cpp: llama-server was killed by SIGKILL"


def test_a_binary_that_fails_at_once_is_one_clear_line(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "llama-server"
    path.write_text('#!/bin/sh\n[ "$1" = --help ] && exit\necho "error: invalid argument: --model" >&2\nexit 1\n')
    path.chmod(0o755)
    host = start(engine=Engine(name="llama.cpp", provider="llama-server", version="1", command=(str(path),)))
    assert host.exit_code(60) == 1
    lines = host.log.read_text().splitlines()
    assert lines[-1].startswith("modelkit: llama.cpp: llama-server exited with status 1")
    assert llama_server.explain_exit(lines) == ("this llama-server does not know the flag --model",
                                             "remove the FLAG, or install a newer llama.cpp")


def test_nothing_of_it_is_left(host: Host) -> None:
    """Last: the shared host ends as the supervisor ends it."""
    host.process.send_signal(signal.SIGTERM)
    assert host.exit_code(15) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(host.process.pid, 0)
