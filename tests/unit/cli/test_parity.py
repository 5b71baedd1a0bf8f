"""`modelkit parity` from the command line: files, addresses of two kinds of server, and what is said of bad words."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Run, write
from tests.unit.models.small_model import small_model

TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def project(*, prod: str = "", dev: str = "", rest: str = "") -> None:
    small_model(Path("model.gguf"))
    write(f'NAME bot\nFROM ./model.gguf\nTEMPLATE """{TEMPLATE}"""\n{rest}\nSTAGE dev {{\n{dev}\n}}\n'
          f'STAGE prod {{\n{prod}\n}}\n')


def test_stages_that_match(run: Run) -> None:
    project(rest='SYSTEM Be terse.\nTEST "greets" {\n  USER Hello\n  EXPECT contains "Hi"\n}\n')
    code, out, err = run("parity", "--files")
    assert code == 0, err
    assert out.startswith("prompts  59 conversations, ") and out.endswith(" tokens, all equal\n")
    assert "dev: its files, without an engine\nprod: its files, without an engine\n" in err


def test_a_difference_has_its_cause_its_place_and_its_fix(run: Run) -> None:
    project(dev="SYSTEM Be terse.", prod="SYSTEM Be kind and long.")
    code, out, _ = run("parity", "dev", "prod", "--files", "--only", "plain")
    assert code == 1
    assert out.splitlines()[0] == "prompts  1 of 1 conversations differ"
    assert "the default system prompt differs: " in out and "  fix  say one `SYSTEM`" in out
    left, right, caret = out.splitlines()[-3:]
    column = caret.index("^")
    assert left[:column].removeprefix("    dev ").strip() == right[:column].removeprefix("    prod").strip()
    assert left[column:].startswith(" terse") or left[column:].startswith("terse")


def test_the_document_has_both_prompts(run: Run) -> None:
    project(prod=f'TEMPLATE """{TEMPLATE.replace("assistant", "model")}"""')
    code, out, _ = run("parity", "--files", "--json")
    said = json.loads(out)
    assert code == 1 and said["verdict"] == "fail" and said["schema"] == "modelkit.parity/1"
    assert (said["left"], said["right"], said["asked"]) == ("dev", "prod", {"left": "files", "right": "files"})
    assert said["causes"][0]["kind"] == "generation-prompt" or said["causes"][0]["kind"] == "template"
    first = said["differences"][0]
    assert first["left_prompt"].endswith("<|im_start|>assistant\n") and first["right_prompt"].endswith("model\n")
    code, out, _ = run("parity", "--files", "--full", "--only", "plain")
    assert "  --- prod\n<|im_start|>user\nWhat is the capital of France?" in out


def test_conversations_of_ones_own(run: Run) -> None:
    project()
    Path("mine.json").write_text(json.dumps([{"name": "mine", "messages": [{"role": "user", "content": "x"}]}]))
    code, out, _ = run("parity", "--files", "--conversations", "mine.json", "--only", "mine", "--json")
    assert code == 0 and json.loads(out)["conversations"] == 1


@pytest.mark.parametrize(("text", "message"), [
    ("{", "is not JSON"), ("{}", "no list of conversations"), ("[1]", "has no messages"),
    ('[{"messages": [1]}]', "an object with a `role`"), ('[{"messages": [{"role": "user"}], "x": 1}]', "field `x`"),
    ('[{"messages": [{"role": "user"}], "tools": [{}]}]', "must have a `function`"),
    ('[{"messages": [{"role": "user"}], "tools": 3}]', "of the wrong kind")])
def test_what_is_no_conversation(run: Run, text: str, message: str) -> None:
    project()
    Path("mine.json").write_text(text)
    code, out, err = run("parity", "--files", "--conversations", "mine.json")
    assert code == 2 and out == "" and message in err


@pytest.mark.parametrize(("words", "message"), [
    (("dev",), "there must be two stages, not 1"), (("dev", "dev"), "cannot be compared with itself"),
    (("dev", "prod", "x"), "not 3"), (("dev", "prod", "--left-url", "http://x/v1"), "there must be one stage"),
    (("--left-model", "x"), "goes with `--left-url`"), (("--left-url", "ftp://x"), "is no address"),
    (("dev", "stagging"), "stagging"), (("--only", "zzz"), "no conversation has `zzz`"),
    (("--max-kl", "-1"), "must be a number from 0"), (("--min-top1", "96"), "must be a share"),
    (("--no-answers", "--max-kl", "1"), "wants none"), (("--files", "--start"), "not allowed with"),
    (("--conversations", "absent.json"), "absent.json cannot be read")])
def test_words_that_mean_nothing(run: Run, words: tuple[str, ...], message: str) -> None:
    project()
    code, out, err = run("parity", *words)
    assert code == 2 and out == "" and message in err


def test_limits_of_answers_that_nobody_gives_are_undecided(run: Run) -> None:
    project()
    code, _, err = run("parity", "--files", "--max-kl", "0.1")
    assert code == 8 and "error[no-answers]" in err and "modelkit up -d --wait -s dev" in err


def test_a_model_that_is_not_here(run: Run) -> None:
    write("FROM hf.co/acme/tiny\n")
    code, _, err = run("parity", "--files")
    assert code == 2 and "error[model-missing]" in err and "modelkit pull" in err


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str, dict[str, Any]], tuple[int, Any]]], str]]:
    """Starts servers that answer POSTs by a function of path and body."""
    servers = []

    def start(answer: Callable[[str, dict[str, Any]], tuple[int, Any]]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                status, said = answer(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                data = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def rendered(messages: list[dict[str, Any]]) -> str:
    return "".join(f"<{one['role']}>{one.get('content')}" for one in messages)


def like_vllm(path: str, body: dict[str, Any]) -> tuple[int, Any]:
    if path == "/tokenize":
        text = rendered(body["messages"])
        if "refuse" in text:
            return 400, {"error": {"message": "no"}}
        return 200, {"count": len(text), "tokens": [ord(one) for one in text]}
    return (200, {"prompt": "".join(map(chr, body["tokens"]))}) if path == "/detokenize" else (404, {})


def like_llama_server(path: str, body: dict[str, Any]) -> tuple[int, Any]:
    if path == "/apply-template":
        return 200, {"prompt": rendered(body["messages"])}
    if path == "/tokenize":
        return 200, {"tokens": [ord(one) for one in body.get("content", "")]}
    return (200, {"content": "".join(map(chr, body["tokens"]))}) if path == "/detokenize" else (404, {})


def test_two_addresses_need_no_modelfile(run: Run, serve: Any) -> None:
    words = ("--left-url", serve(like_vllm), "--right-url", serve(like_llama_server), "--left-model", "a",
             "--right-model", "b", "--no-answers")
    code, out, err = run("parity", *words)
    assert code == 0 and "58 conversations" in out, err


def test_one_that_refuses_is_a_difference(run: Run, serve: Any) -> None:
    Path("mine.json").write_text('[{"name": "mine", "messages": [{"role": "user", "content": "refuse"}]}]')
    code, out, _ = run("parity", "--left-url", serve(like_vllm), "--right-url", serve(like_llama_server),
                       "--left-model", "a", "--right-model", "b", "--no-answers", "--conversations", "mine.json",
                       "--only", "mine")
    assert code == 1 and "refuses the conversation: no" in out


def test_an_address_that_has_no_tokens(run: Run, serve: Any) -> None:
    where = serve(lambda path, body: (404, {"error": {"message": "no such route"}}))
    code, _, err = run("parity", "--left-url", where, "--right-url", where, "--left-model", "a", "--right-model", "b")
    assert code == 2 and "error[no-tokens]" in err
    code, _, err = run("parity", "--left-url", "http://127.0.0.1:9/v1", "--right-url", where, "--left-model", "a",
                       "--right-model", "b")
    assert code == 2 and "error[engine-unreachable]" in err
