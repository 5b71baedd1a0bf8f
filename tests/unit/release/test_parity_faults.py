"""Planted faults: each is found, and called by its name; stages that match have none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelkit.release.parity import Conversation, Rendering, compare, files, shipped_conversations
from tests.unit.release.parity_stages import CHATML, HEADERS, TEMPLATES, Stage, replace

ALL = shipped_conversations()
BASE = Stage()
_RENDERED: dict[str, list[Any]] = {}


@pytest.fixture(autouse=True)
def rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a template makes of the conversations does not depend on the tokenizer: it is made once."""
    render = files._prompts

    def prompts(said: files.Files, conversations: Any) -> list[Any]:
        key = repr((said.template, said.tokens, said.profile))
        return _RENDERED.get(key) or _RENDERED.setdefault(key, render(said, conversations))

    monkeypatch.setattr(files, "_prompts", prompts)


def side(stage: Stage, folder: Path) -> Callable[[Conversation], Rendering]:
    return files.files_side(stage.files(folder), ALL)


def edited(old: str, new: str, stage: Stage = BASE, count: int = -1) -> Stage:
    assert old in stage.template, old
    return replace(stage, template=stage.template.replace(old, new, count))


def normalizer(kind: str) -> Callable[[dict[str, Any]], None]:
    def edit(said: dict[str, Any]) -> None:
        said["normalizer"] = {"type": kind}

    return edit


def plain(token: str) -> Callable[[dict[str, Any]], None]:
    """The token is in the vocabulary, but not as a special one."""

    def edit(said: dict[str, Any]) -> None:
        said["added_tokens"] = [one for one in said["added_tokens"] if one["content"] != token]

    return edit


def exchanged(said: dict[str, Any]) -> None:
    """Two special tokens have each other's number."""
    added = {one["content"]: one for one in said["added_tokens"]}
    one, other = added["<|im_start|>"], added["<|im_end|>"]
    one["id"], other["id"] = other["id"], one["id"]
    said["model"]["vocab"] |= {"<|im_start|>": one["id"], "<|im_end|>": other["id"]}


def unmerged(said: dict[str, Any]) -> None:
    said["model"]["merges"] = said["model"]["merges"][: len(said["model"]["merges"]) // 2]


def shuffled(tokens: list[str]) -> list[str]:
    return [*tokens[:8], *reversed(tokens[8:])]


SYSTEM = replace(BASE, system="Answer in one short sentence. Hello.")

FAULTS: dict[str, tuple[Stage, Stage, str]] = {
    "another template": (BASE, replace(BASE, template=HEADERS), "template"),
    "other words for roles": (BASE, edited("message.role + '\\n'", "message.role.upper() + ':\\n'"), "template"),
    "no BOS": (BASE, edited("{{ bos_token }}", "", count=1), "bos-missing"),
    "no BOS, other family": (replace(BASE, template=HEADERS), edited("{{ bos_token }}", "", replace(
        BASE, template=HEADERS)), "bos-missing"),
    "two BOS": (BASE, edited("{{ bos_token }}", "{{ bos_token }}{{ bos_token }}"), "bos-doubled"),
    "three BOS": (BASE, edited("{{ bos_token }}", "{{ bos_token }}{{ bos_token }}{{ bos_token }}"), "bos-doubled"),
    "EOS at the end": (BASE, replace(BASE, template=CHATML + "{{ eos_token }}"), "eos-added"),
    "another end of a turn": (BASE, edited("<|im_end|>", "<|end|>"), "special-token"),
    "another eos_token": (edited("'<|im_end|>\\n' }}{%- endfor", "eos_token + '\\n' }}{%- endfor"),
                          replace(edited("'<|im_end|>\\n' }}{%- endfor", "eos_token + '\\n' }}{%- endfor"), texts={
                              "bos_token": "<|begin|>", "eos_token": "<|endoftext|>"}), "special-token"),
    "a special token that is none": (BASE, replace(BASE, json=plain("<|im_end|>")), "special-token"),
    "special tokens exchanged": (BASE, replace(BASE, json=exchanged), "special-token"),
    "a swapped tokenizer": (BASE, replace(BASE, pre=""), "vocabulary"),
    "the same tokens in another order": (BASE, replace(BASE, tokens=shuffled), "vocabulary"),
    "another pre-tokenizer": (BASE, replace(BASE, pre="llama-bpe"), "splitting"),
    "merges lost": (BASE, replace(BASE, json=unmerged), "splitting"),
    "NFC": (BASE, replace(BASE, json=normalizer("NFC")), "normalization"),
    "lower case": (BASE, replace(BASE, json=normalizer("Lowercase")), "normalization"),
    "a newline trimmed at the end": (BASE, edited("assistant\\n'", "assistant'"), "newline"),
    "a newline after each turn": (BASE, edited("'<|im_end|>\\n' }}{%- endfor", "'<|im_end|>\\n\\n' }}{%- endfor"),
                                  "newline"),
    "a newline before the conversation": (BASE, edited("{%- for message in messages %}",
                                                       "{{ '\\n' }}{%- for message in messages %}"), "newline"),
    "messages trimmed": (BASE, edited("{{- message.content }}", "{{- message.content | trim }}"), "trimmed"),
    "another default system prompt": (BASE, edited("You are Tiny.", "You are Huge and helpful."), "system-prompt"),
    "another SYSTEM": (SYSTEM, replace(BASE, system="Be verbose, please."), "system-prompt"),
    "SYSTEM on one stage": (replace(BASE, template=HEADERS), replace(BASE, template=HEADERS, system="Be terse."),
                            "system-prompt"),
    "examples on one stage": (BASE, replace(BASE, examples=(
        {"role": "user", "content": "ping"}, {"role": "assistant", "content": "pong"})), "preamble"),
    "a date": (edited("You are Tiny.", "Today is 26 Jul 2026."), edited("You are Tiny.", "Today is 27 Jul 2026."),
               "date"),
    "an ISO date": (edited("# Tools", "# Tools of 2026-07-26"), edited("# Tools", "# Tools of 2026-07-27"), "date"),
    "blanks in JSON": (BASE, edited("tool | tojson", "tool | tojson(separators=(',', ':'))"), "tool-json"),
    "indented JSON": (BASE, edited("tool | tojson", "tool | tojson(indent=2)"), "tool-json"),
    "order of keys": (BASE, edited("tool | tojson", "tool | tojson(sort_keys=true)"), "tool-json"),
    "escapes in JSON": (BASE, edited("tool | tojson", "tool | tojson(ensure_ascii=true)"), "tool-json"),
    "tools as Python writes them": (BASE, edited("tool | tojson", "tool | string"), "tool-json"),
    "no tools": (BASE, edited("{%- if tools %}", "{%- if false %}"), "tools"),
    "no calls": (BASE, edited("message.tool_calls or []", "[]"), "tools"),
    "no results": (BASE, edited("{{- message.content }}",
                                "{{- message.content if message.role != 'tool' else '' }}"), "tools"),
    "no generation prompt": (BASE, edited("if add_generation_prompt", "if false"), "generation-prompt"),
    "always a generation prompt": (BASE, edited("if add_generation_prompt", "if true"), "generation-prompt"),
    "thinking not read": (BASE, edited("not enable_thinking", "false"), "thinking"),
    "thinking off on one stage": (BASE, replace(BASE, variables={"enable_thinking": False}), "thinking"),
    "reasoning forgotten": (BASE, edited("message.reasoning_content is string", "false"), "reasoning"),
    "a role refused": (BASE, edited("{%- for message in messages %}", "{%- for message in messages %}{%- if message."
                                    "role == 'system' and not loop.first %}{{ raise_exception('no') }}{%- endif %}"),
                       "refused"),
    "late system prompts dropped": (BASE, edited(
        "{{- message.content }}", "{{- message.content if message.role != 'system' or loop.first else '' }}"),
        "left-out"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_called_by_its_name(name: str, tmp_path: Path) -> None:
    """From whichever side one looks."""
    left, right, kind = FAULTS[name]
    known, other = side(left, tmp_path / "left"), side(right, tmp_path / "right")
    report, mirrored = compare(ALL, known, other), compare(ALL, other, known)
    for seen, at in ((report, "right"), (mirrored, "left")):
        found = {one.cause.kind: one.conversations for one in seen.causes}
        assert set(found) == {kind}, found
        if kind in SIDED:
            assert {one.cause.side for one in seen.causes} == {at}
        assert all("{" not in one.cause.title("dev", "prod") for one in seen.causes)
    assert len(report.differences) == len(mirrored.differences)


SIDED = ("bos-missing", "bos-doubled", "eos-added", "refused")


@pytest.mark.parametrize(("names", "kinds"), [
    (("no BOS", "another default system prompt"), {"bos-missing", "system-prompt"}),
    (("no BOS", "blanks in JSON"), {"bos-missing", "tool-json"}),
    (("blanks in JSON", "messages trimmed"), {"tool-json", "trimmed"})])
def test_two_faults_have_two_names(names: tuple[str, str], kinds: set[str], tmp_path: Path) -> None:
    texts = [FAULTS[name][1].template for name in names]
    whole = texts[0]
    for old, new in zip(CHATML.splitlines(), texts[1].splitlines(), strict=True):
        whole = whole.replace(old, new) if old != new and old in whole else whole
    if names == ("no BOS", "another default system prompt"):
        whole = texts[0].replace("You are Tiny.", "You are Huge and helpful.")
    report = compare(ALL, side(BASE, tmp_path / "a"), side(replace(BASE, template=whole), tmp_path / "b"))
    assert {one.cause.kind for one in report.causes} == kinds


def test_one_conversation_is_enough_to_know_a_swapped_tokenizer(tmp_path: Path) -> None:
    one = [said for said in ALL if said.name == "plain"]
    report = compare(one, side(BASE, tmp_path / "a"), side(replace(BASE, pre=""), tmp_path / "b"))
    assert [found.cause.kind for found in report.causes] == ["vocabulary"]


def test_the_faults_are_many() -> None:
    assert len(FAULTS) >= 20


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("pre", ["smollm", "llama-bpe", "qwen2", "tekken", ""])
def test_matching_stages_have_no_difference(template: str, pre: str, tmp_path: Path) -> None:
    texts = BASE.texts if pre else {"bos_token": "<s>", "eos_token": "</s>"}
    stage = Stage(TEMPLATES[template], pre, system="Be terse.", texts=texts)
    report = compare(ALL, side(replace(stage, form="gguf"), tmp_path / "a"), side(stage, tmp_path / "b"))
    assert report.equal, report.causes
    assert report.compared == len(ALL) and report.tokens > 2000
    assert len(report.refused) < 5
