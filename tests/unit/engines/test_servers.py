"""The programs that run in the containers of SGLang and TensorRT-LLM: real uvicorn, real FastAPI, a stub for an engine.

They run as they would there: by path, from the files of the container, in a Python that does not have modelkit.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from modelkit import engines
from modelkit.engines import servers
from modelkit.engines.container import CONFIG, Container
from tests.unit.engines import fake_sglang, fake_trtllm
from tests.unit.platforms.cases import plan_of

KEY = {"authorization": "Bearer open sesame"}
ASK = {"model": "support", "messages": [{"role": "user", "content": "Hi"}]}


def contained(case: str, folder: Path) -> Container:
    """The container of a case, its files under `folder`."""
    made = engines.container(plan_of(case, "compose"))
    for file in made.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content, "utf-8")
    return made


def start(made: Container, folder: Path, package: ModuleType, words: tuple[str, ...], **more: str) -> Any:
    env = {name: value.replace(CONFIG, str(folder)) for name, value in made.env.items()}
    env |= {"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}/python:{package.write(folder / 'engine')}", **more}
    return subprocess.Popen([sys.executable, made.args[1].replace(CONFIG, str(folder)), *words], env=env,
                            cwd=folder, stderr=subprocess.PIPE, text=True)


@contextmanager
def serving(case: str, folder: Path, package: ModuleType, words: tuple[str, ...],
            **more: str) -> Iterator[httpx.Client]:
    made = contained(case, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(made, folder, package, (*words, "--host", "127.0.0.1", "--port", str(port)), **more)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            while process.poll() is None:
                try:
                    client.get("/health")
                    break
                except httpx.ConnectError:
                    time.sleep(0.05)
            assert process.poll() is None, process.stderr.read()
            yield client
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def sglang(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving("sglang", tmp_path_factory.mktemp("sglang"), fake_sglang, ("--model-path", "/m"),
                 MODELKIT_API_KEY="open sesame") as client:
        yield client


@pytest.fixture(scope="module")
def trtllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving("tensorrt-llm", tmp_path_factory.mktemp("trtllm"), fake_trtllm, ("/m",)) as client:
        yield client


def test_sglang_gets_requests_that_the_contract_filled(sglang: httpx.Client) -> None:
    answer = sglang.post("/v1/chat/completions", json={**ASK, "top_k": 0}, headers=KEY)
    assert answer.status_code == 200
    asked = answer.json()["asked"]
    assert (asked["temperature"], asked["top_k"], asked["model"]) == (0.8, -1, "support")


def test_a_stream_passes_as_it_comes(sglang: httpx.Client) -> None:
    with sglang.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}, headers=KEY) as answer:
        assert list(answer.iter_lines())[::2] == ["data: {}", "data: [DONE]"]


def test_the_engines_errors_are_the_contracts(sglang: httpx.Client) -> None:
    long = {**ASK, "messages": [{"role": "user", "content": "long"}]}
    answer = sglang.post("/v1/chat/completions", json=long, headers=KEY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert "5000" in answer.json()["error"]["message"]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer other"}, {"authorization": "open sesame"},
                                     {"authorization": "Basic open sesame"}])
def test_without_the_key_nothing_is_answered(sglang: httpx.Client, headers: dict[str, str]) -> None:
    for answer in (sglang.post("/v1/chat/completions", json=ASK, headers=headers),
                   sglang.get("/v1/models", headers=headers), sglang.get("/server_info", headers=headers)):
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/flush_cache"), ("POST", "/flush_cache"), ("GET", "/server_info"), ("HEAD", "/server_info"),
    ("GET", "/docs"), ("GET", "/openapi.json"), ("PUT", "/v1/score"), ("POST", "/generate"), ("OPTIONS", "/generate"),
    ("GET", "/v1/models/other"),
])
def test_what_this_api_does_not_have_is_not_there(sglang: httpx.Client, method: str, path: str) -> None:
    assert sglang.request(method, path, headers=KEY).status_code == 404


def test_probes_need_no_key_and_pages_of_others_get_no_leave(sglang: httpx.Client) -> None:
    answer = sglang.get("/health", headers={"origin": "https://elsewhere.example"})
    assert answer.json() == {"begun": True, "validates": False}
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_the_list_of_models_is_the_profiles(sglang: httpx.Client) -> None:
    assert [one["id"] for one in sglang.get("/v1/models", headers=KEY).json()["data"]] == ["support"]


def test_detokenize_answers_as_on_every_engine(sglang: httpx.Client) -> None:
    answer = sglang.post("/detokenize", json={"tokens": [1, 2]}, headers=KEY)
    assert answer.json() == {"prompt": "[1, 2] False"}
    assert sglang.post("/detokenize", json={"tokens": "x"}, headers=KEY).status_code == 400


def test_tensorrt_llm_answers_under_the_modelfiles_name(trtllm: httpx.Client) -> None:
    answer = trtllm.post("/v1/chat/completions", json=ASK).json()
    assert (answer["model"], answer["asked"]["top_k"]) == ("support", 40)


def test_tensorrt_llm_shows_probes_and_nothing_else(trtllm: httpx.Client) -> None:
    assert trtllm.get("/health").status_code == trtllm.get("/prometheus/metrics").status_code == 200
    assert trtllm.get("/server_info").status_code == 404
    assert trtllm.post("/tokenize", json={"prompt": "x"}).json()["error"]["code"] == "not_found"


def last_words(folder: Path, words: tuple[str, ...], spoil: str = "", **more: str) -> str:
    """What SGLang's program says before it ends; a name of the engine's server is another one there."""
    made = contained("sglang", folder)
    fake_sglang.write(folder / "engine")
    package = ModuleType("spoiled")

    def write(target: Path) -> Path:
        fake_sglang.write(target)
        server = target / "sglang/srt/entrypoints/http_server.py"
        if spoil:
            server.write_text(server.read_text().replace(spoil, spoil + "_of_another_version"))
        return target

    package.write = write  # type: ignore[attr-defined]
    process = start(made, folder, package, ("--model-path", "/m", *words), **more)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    return str(said)


@pytest.mark.parametrize(("words", "spoil", "env", "expected"), [
    (("--use-ray",), "", {}, "use_ray must be False"),
    (("--tokenizer-worker-num", "2"), "", {}, "tokenizer_worker_num must be 1"),
    ((), "", {"SGLANG_RUST_SERVER": "1"}, "SGLANG_RUST_SERVER"),
    ((), "launch_server", {}, "has no launch_server"),
    ((), "validate_total_tokens", {}, "has no validate_total_tokens"),
    ((), "", {"MODELKIT_API_KEY": "ключ"}, "MODELKIT_API_KEY must"),
    ((), "", {"MODELKIT_PROFILE": "/nowhere"}, "/nowhere"),
], ids=["ray", "workers", "rust", "no launch_server", "no validate_total_tokens", "key", "profile"])
def test_another_sglang_than_was_read_ends_with_a_sentence(tmp_path: Path, words: tuple[str, ...], spoil: str,
                                                           env: dict[str, str], expected: str) -> None:
    assert expected in last_words(tmp_path, words, spoil, **env)


def test_the_programs_do_nothing_while_they_are_imported() -> None:
    """SGLang's scheduler and MPI's ranks start the same file again."""
    for name in ("sglang_server", "tensorrt_llm_server"):
        path = Path(servers.__file__).parent / f"{name}.py"
        code = f"import runpy, sys; runpy.run_path({str(path)!r}, run_name='__mp_main__'); print(*sys.modules)"
        said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
        assert not {"sglang", "tensorrt_llm", "modelkit"} & set(said.stdout.split())


def test_what_the_container_runs_is_the_profile_that_was_planned(tmp_path: Path) -> None:
    contained("sglang", tmp_path)
    assert json.loads((tmp_path / "profile.json").read_text())["dialect"] == "sglang"
