"""`modelkit render`: the prompt, the tokens and the template of a conversation; one clear line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run, write
from tests.unit.models.small_model import small_model

GO = ('NAME bot\nFROM {base}\nSYSTEM Be terse.\nTEMPLATE """{{{{ if .System }}}}<s>{{{{ .System }}}}</s>{{{{ end }}}}'
      '<u>{{{{ .Prompt }}}}</u><a>{{{{ .Response }}}}"""\n')


def test_a_go_template_renders_without_the_model(run: Run) -> None:
    write(GO.format(base="hf.co/acme/tiny"))
    assert run("render", "--prompt", "Why?") == (0, "<s>Be terse.</s><u>Why?</u><a>\n", "")
    assert run("render", "-s", "prod")[1] == "<s>Be terse.</s><u>Hello!</u><a>\n"
    code, out, _ = run("render", "--json")
    assert code == 0 and json.loads(out)["prompt"] == "<s>Be terse.</s><u>Hello!</u><a>"
    code, out, _ = run("render", "--template")
    assert code == 0 and "{%- macro turn(system, prompt, response) -%}" in out


def test_the_conversation_comes_from_a_file(run: Run) -> None:
    write(GO.format(base="hf.co/acme/tiny"))
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    Path("list.json").write_text(json.dumps(said), "utf-8")
    Path("request.json").write_text(json.dumps({"model": "x", "messages": said}), "utf-8")
    for name in ("list.json", "request.json"):
        assert run("render", "--messages", name)[1] == "<s>Be terse.</s><u>a</u><a>b<u>c</u><a>\n"


@pytest.mark.parametrize(("text", "message"), [
    ("{", "is not JSON"), ("{}", "holds no messages"), ("[]", "is empty"), ("[1]", "messages[0]"),
    ('[{"role": "king", "content": ""}]', "king"), ('[{"role": "user"}]', "content")])
def test_what_is_no_conversation(run: Run, text: str, message: str) -> None:
    write(GO.format(base="hf.co/acme/tiny"))
    Path("m.json").write_text(text, "utf-8")
    code, out, err = run("render", "--messages", "m.json")
    assert code == 2 and out == "" and "error[bad-messages]" in err and message in err


@pytest.mark.parametrize(("words", "error"), [
    (["--messages", "absent.json"], "unreadable"), (["-s", "stagging"], "unknown-stage"),
    (["--tokens"], "model-missing"), (["absent.Modelfile"], "no-modelfile")])
def test_what_is_missing(run: Run, words: list[str], error: str) -> None:
    write(GO.format(base="hf.co/acme/tiny"))
    code, out, err = run("render", *words)
    assert code == 2 and out == "" and f"error[{error}]" in err


def test_a_template_without_an_end_is_stopped(run: Run) -> None:
    write('FROM hf.co/acme/tiny\nTEMPLATE """{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}'
          '{% endfor %}{{ messages }}"""\n')
    code, _, err = run("render")
    assert code == 2 and "does not come to an end" in err


def test_an_embedding_model_reads_no_conversation(run: Run) -> None:
    write("FROM hf.co/acme/tiny\nSERVE task embed\n")
    code, _, err = run("render")
    assert code == 2 and "error[no-conversation]" in err


def test_the_tokens_of_the_models_own_tokenizer(run: Run) -> None:
    small_model(Path("model.gguf"))
    write('FROM ./model.gguf\nTEMPLATE """{{ range .Messages }}<|{{ .Role }}|> {{ .Content }}\n{{ end }}"""\n')
    code, out, err = run("render", "-p", "the test", "--tokens", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert said["prompt"] == "<|user|> the test\n" and said["count"] == len(said["tokens"]) > 3
    assert "".join(one["text"] for one in said["tokens"]) == said["prompt"]
    assert run("render", "-p", "the test", "--tokens")[1].startswith("ID")


@pytest.mark.parametrize(("pre", "begins"), [("llama-bpe", True), ("smollm", False)])
def test_every_engine_begins_a_prompt_of_a_gguf_alike(run: Run, pre: str, begins: bool) -> None:
    """Its template writes no BOS; the tokenizer of the first one begins texts with it."""
    small_model(Path("model.gguf"), pre=pre)
    write("FROM ./model.gguf\n")
    found = {stage: json.loads(run("render", "-s", stage, "-p", "hi", "--json")[1])["prompt"]
             for stage in ("dev", "prod")}
    assert found == dict.fromkeys(("dev", "prod"), "<|im_start|>hi" if begins else "hi")
