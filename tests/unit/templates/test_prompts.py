"""Go templates, converted, write what Ollama's own code writes.

`tests/golden/templates/prompts.json` holds templates of ours and what Ollama 0.33 made of them with each conversation:
its `template` package, compiled with Go 1.27.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from modelkit.llamacpp.template import Template
from modelkit.templates.go_template import convert

CASES: dict[str, Any] = json.loads((Path(__file__).parents[2] / "golden/templates/prompts.json").read_text("utf-8"))


@cache
def template(name: str) -> Template:
    return Template(convert(CASES["templates"][name]).jinja)


def as_openai(message: dict[str, Any]) -> dict[str, Any]:
    """Ollama's message as engines give it to a template."""
    said = {key: value for key, value in message.items() if key not in ("thinking", "tool_name")}
    if "thinking" in message:
        said |= {"reasoning": message["thinking"], "reasoning_content": message["thinking"]}
    return said


@pytest.mark.parametrize("conversation", CASES["conversations"])
@pytest.mark.parametrize("name", CASES["templates"])
def test_the_prompt_is_ollamas(name: str, conversation: str) -> None:
    said = CASES["conversations"][conversation]
    prompt = template(name).render([as_openai(one) for one in said["messages"]], tools=said.get("tools"))
    assert prompt == CASES["prompts"][name][conversation]


@pytest.mark.parametrize("name", CASES["templates"])
def test_contents_are_texts_to_the_engine(name: str) -> None:
    assert template(name).content_format == "string"


@pytest.mark.parametrize(("variables", "end"), [
    ({}, "<assistant>medium"), ({"enable_thinking": True}, "<assistant>medium"),
    ({"enable_thinking": False}, "<assistant><think></think>"),
    ({"enable_thinking": True, "reasoning_effort": "high"}, "<assistant>high")])
def test_thinking_follows_the_request(variables: dict[str, Any], end: str) -> None:
    assert template("thinking").render([{"role": "user", "content": "?"}], variables=variables) == f"<user>?\n{end}"


@pytest.mark.parametrize(("name", "prompt"), [
    ("chat", "<|user|>\n?<|end|>\n"), ("legacy", "<u>?</u>"), ("legacy without a response", "### User:\n?\n\n"),
    ("chat, last by slice", "<user>?</user>\n<assistant>")])
def test_an_answer_is_not_begun_where_it_is_not_wanted(name: str, prompt: str) -> None:
    """As far as the text says where it begins: in the last of these it does not."""
    assert template(name).render([{"role": "user", "content": "?"}], add_generation_prompt=False) == prompt


def test_an_answer_that_an_if_begins() -> None:
    text = '{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}' \
           '<{{ .Role }}>{{ .Content }}{{ if and (ne .Role "assistant") $last }}<assistant>{{ end }}{{ end }}'
    made = Template(convert(text).jinja)
    assert made.render([{"role": "user", "content": "?"}], add_generation_prompt=False) == "<user>?"
    assert made.render([{"role": "user", "content": "?"}]) == "<user>?<assistant>"


def test_arguments_that_are_a_text_are_written_as_they_are() -> None:
    call = {"id": "c1", "function": {"name": "weather", "arguments": '{"b": 1, "a": 2}'}}
    text = "{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Arguments }}{{ end }}{{ end }}"
    made = Template(convert(text).jinja)
    assert made.render([{"role": "assistant", "content": None, "tool_calls": [call]}]) == '{"b": 1, "a": 2}'


def test_a_branch_that_fails_in_ollama_fails_the_request() -> None:
    made = convert("{{ .Messages | len }}{{ if .Tools }}{{ .Tools.Name }}{{ end }}")
    assert [one.message for one in made.failing] == ["the tools has no field `Name`"]
    assert Template(made.jinja).render([{"role": "user", "content": "?"}]) == "1"
    with pytest.raises(Exception, match="no field `Name`"):
        Template(made.jinja).render([{"role": "user", "content": "?"}], tools=CASES["conversations"]["tools"]["tools"])
