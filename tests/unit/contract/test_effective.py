"""`GET /modelkit/effective`: what the engine has, in one shape, and only for those who may know."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import Any

import pytest

from modelkit.contract.effective import PATH, SCHEMA, template_digest
from modelkit.contract.middleware import Contract
from modelkit.contract.profile import Profile
from tests.unit.contract.asgi import Application, call

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
PROPS = {"build_info": "b11434-1", "model_path": "/m.gguf", "total_slots": 4, "chat_template": TEMPLATE,
         "default_generation_settings": {"n_ctx": 2048}}


def profile(dialect: str) -> Profile:
    return Profile(name="tiny", dialect=dialect, context_length=1024)


def effective(dialect: str, application: Any, owner: Any = None) -> tuple[int, dict[str, Any]]:
    contract = Contract(application, profile(dialect))

    async def served(scope: Any, receive: Any, send: Any) -> None:
        await contract({**scope, "app": owner}, receive, send)  # as Starlette says which application it is

    answer = call(served, "GET", PATH)
    return answer.status, answer.json


def vllm_app(template: str | None = TEMPLATE) -> Any:
    tokenizer = SimpleNamespace(chat_template="the tokenizer's own")
    config = SimpleNamespace(
        model_config=SimpleNamespace(model="/weights", revision=None, max_model_len=1024),
        scheduler_config=SimpleNamespace(max_num_seqs=16), parallel_config=SimpleNamespace(tensor_parallel_size=2),
        cache_config=SimpleNamespace(cache_dtype="auto", num_gpu_blocks=10, block_size=16))
    tokenization = SimpleNamespace(chat_template=template, renderer=SimpleNamespace(get_tokenizer=lambda: tokenizer))
    return SimpleNamespace(state=SimpleNamespace(vllm_config=config, serving_tokenization=tokenization))


MODELS = json.dumps({"data": [{"id": "tiny", "parent": None}, {"id": "kind", "parent": "tiny"}]}).encode()


def test_llama_server_says_it_at_props() -> None:
    application = Application(chunks=(json.dumps(PROPS).encode(),))
    status, said = effective("llama-server", application)
    assert status == 200 and application.scopes[0]["path"] == "/modelkit/props"
    assert said["schema"] == SCHEMA
    assert (said["version"], said["model"], said["context_length"], said["max_concurrency"]) == (
        "b11434-1", "/m.gguf", 2048, 4)
    assert said["template"] == "sha256:" + hashlib.sha256(TEMPLATE.encode()).hexdigest()
    assert said["adapters"] is None and said["kv_tokens"] is None


def test_vllm_says_it_through_its_own_configuration() -> None:
    application = Application(chunks=(MODELS,))
    status, said = effective("vllm", application, vllm_app())
    assert status == 200 and application.scopes[0]["path"] == "/v1/models"
    assert said["context_length"] == 1024 and said["max_concurrency"] == 16 and said["tensor_parallel"] == 2
    assert said["kv_tokens"] == 160 and said["adapters"] == ["kind"] and said["template"] == template_digest(TEMPLATE)


def test_without_a_template_of_its_own_vllm_has_the_tokenizers() -> None:
    _, said = effective("vllm", Application(chunks=(MODELS,)), vllm_app(None))
    assert said["template"] == template_digest("the tokenizer's own")


def test_an_engine_that_changed_inside_says_less_and_does_not_fail() -> None:
    status, said = effective("vllm", Application(chunks=(b"[]",)), SimpleNamespace())
    assert status == 200 and all(value in (None, []) for name, value in said.items() if name != "schema")


def test_a_long_template_is_read_to_its_end() -> None:
    long = "x" * 300_000
    chunks = tuple(json.dumps({**PROPS, "chat_template": long}).encode()[i:i + 65536] for i in range(0, 400_000, 65536))
    _, said = effective("llama-server", Application(chunks=tuple(c for c in chunks if c)))
    assert said["template"] == template_digest(long)


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_list_the_models_may_not_know(status: int) -> None:
    refused, said = effective("vllm", Application(status=status, chunks=(b'{"error": "no"}',)), vllm_app())
    assert refused == status and "context_length" not in said and "error" in said


@pytest.mark.parametrize(("method", "path"), [("POST", PATH), ("GET", "/modelkit/props"), ("HEAD", "/modelkit/x")])
def test_nothing_else_of_that_room_is_there(method: str, path: str) -> None:
    application = Application()
    assert call(Contract(application, profile("llama-server")), method, path).status == 404
    assert not application.scopes


def test_a_final_line_break_is_no_difference() -> None:
    assert template_digest("a\n") == template_digest("a") != template_digest("b")


SERVER_INFO = {"version": "0.5.23", "model_path": "/models/base", "revision": None, "context_length": 1024,
               "max_running_requests": 16, "tp_size": 2, "kv_cache_dtype": "auto", "max_total_num_tokens": 5000,
               "api_key": "secret", "lora_paths": [{"lora_name": "tone", "lora_path": "/a", "pinned": False}]}


@pytest.mark.parametrize(("loras", "names"), [
    (SERVER_INFO["lora_paths"], ["tone"]), (None, []), ([], []), (["tone=/a"], None)])
def test_sglang_says_what_it_resolved(loras: Any, names: Any) -> None:
    application = Application(chunks=(json.dumps({**SERVER_INFO, "lora_paths": loras}).encode(),))
    status, said = effective("sglang", application)
    assert status == 200 and application.scopes[0]["path"] == "/server_info"
    assert (said["version"], said["model"], said["context_length"], said["max_concurrency"], said["tensor_parallel"],
            said["kv_tokens"], said["adapters"]) == ("0.5.23", "/models/base", 1024, 16, 2, 5000, names)
    assert "secret" not in json.dumps(said)
