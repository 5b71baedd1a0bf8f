"""Golden files: what they say, what is refused and where, and that only exact texts are rewritten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.failure import Failure
from modelkit.release.testing import Options, run_tests
from modelkit.release.testing.golden import GoldenFile, golden_files, parse_golden, read_golden
from modelkit.release.testing.golden_update import accepted, changes, rewritten
from modelkit.release.testing.yaml_page import Page
from tests.unit.release.testing.scripted import Scripted

HEAD = "schema: modelkit.golden/1\ncases:\n"


def parse(text: str) -> GoldenFile:
    return parse_golden(Path("a.golden.yaml"), Page("a.golden.yaml", text))


BAD = {
    "empty": ("", "is empty"),
    "not-yaml": ("cases: [", ":1:"),
    "another-schema": ("schema: modelkit.golden/2\ncases: []", ":1:9: the schema is `modelkit.golden/2`"),
    "no-cases": ("schema: modelkit.golden/1\ncases: []", ":2:8: this must be a list of cases"),
    "alias": (HEAD + "  - &a {name: x, user: y, expect: [no_leak]}\n  - *a", "anchors and aliases"),
    "tag": (HEAD + "  - !!python/object:os.system {}", "tags are not read"),
    "two-names": (HEAD + "  - {name: x, user: y, expect: [no_leak]}\n" * 2, "two cases called `x`"),
    "unknown-word": (HEAD + "  - {name: x, user: y, expects: [no_leak]}", "did you mean `expect`?"),
    "twice": (HEAD + "  - {name: x, name: y, user: y, expect: [no_leak]}", "stands here twice"),
    "number-for-text": (HEAD + "  - {name: x, user: 12, expect: [no_leak]}", "put it in quotes"),
    "norway": (HEAD + "  - {name: x, user: y, expect: [{contains: no}]}", "true or false"),
    "no-user": (HEAD + "  - {name: x, turns: [{system: y}], expect: [no_leak]}", "no `user`"),
    "both": (HEAD + "  - {name: x, user: y, turns: [{user: y}], expect: [no_leak]}", "either `turns`"),
    "nothing-expected": (HEAD + "  - {name: x, user: y}", "nothing is expected"),
    "two-kinds": (HEAD + "  - {name: x, user: y, expect: [{contains: a, starts: b}]}", "of one kind"),
    "unknown-kind": (HEAD + "  - {name: x, user: y, expect: [{containz: a}]}", "did you mean `contains`?"),
    "bare": (HEAD + "  - {name: x, user: y, expect: [contains]}", "needs something to compare with"),
    "regex": (HEAD + '  - {name: x, user: y, expect: [{regex: "("}]}', "no regular expression"),
    "not-not": (HEAD + "  - {name: x, user: y, expect: [{not: {not: no_leak}}]}", "stand outside"),
    "remote-schema": (HEAD + "  - {name: x, user: y, expect: [{json: {$ref: 'http://h/s'}}]}", "nothing is fetched"),
    "no-schema": (HEAD + "  - {name: x, user: y, expect: [{json: absent.json}]}", "cannot be read"),
    "reason": (HEAD + "  - {name: x, user: y, expect: [{finish_reason: stopp}]}", "did you mean `stop`?"),
    "tokens": (HEAD + "  - {name: x, user: y, expect: [{max_tokens: 0}]}", "from 1"),
    "latency": (HEAD + "  - {name: x, user: y, expect: [{latency: soon}]}", "duration"),
    "cosine": (HEAD + "  - {name: x, user: y, expect: [{similar: {text: a, at_least: 2}}]}", "a cosine"),
    "pass": (HEAD + "  - {name: x, user: y, repeat: 2, pass: 3, expect: [no_leak]}", "from 1 to 2"),
    "parameter": (HEAD + "  - {name: x, user: y, parameters: {top_p: 7}, expect: [no_leak]}", "`top_p` must"),
    "late-parameter": (HEAD + "  - {name: x, user: y, parameters: {num_ctx: 7}, expect: [no_leak]}", "no `num_ctx`"),
    "tool-first": (HEAD + "  - {name: x, turns: [{tool: y}, {user: z}], expect: [no_leak]}", "answers no call"),
    "tools": (HEAD + "  - {name: x, user: y, tools: [{name: z}], expect: [no_leak]}", "no list of tools"),
    "infinity": (HEAD + "  - {name: x, user: y, expect: [{json: {maximum: .inf}}]}", "no number that JSON has"),
    "deep": (HEAD + "  - " + "[" * 1500, "deeply"),
    "control": (HEAD + "  - {name: \x07}", "no YAML"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_error_with_its_place_and_what_to_do(name: str) -> None:
    text, said = BAD[name]
    with pytest.raises(Failure) as failure:
        parse(text)
    error = failure.value
    everything = "\n".join((error.message, error.hint or "", *error.detail))
    assert said in everything
    assert error.exit_code == 1
    assert "a.golden.yaml" in error.message
    if re.search(r":\d+:\d+: ", error.message) and error.detail:
        assert error.detail[-1].rstrip().endswith("^")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=200))
def test_any_text_is_a_golden_file_or_one_error(text: str) -> None:
    for whole in (text, HEAD + "  - " + text):
        try:
            parse(whole)
        except Failure as failure:
            assert failure.message.startswith("a.golden.yaml")


def test_whose_golden_files_are_whose(tmp_path: Path) -> None:
    for name in ("Modelfile", "bot.Modelfile", "a.golden.yaml", "bot.golden.yaml", "bot.more.golden.yml", "b.yaml"):
        (tmp_path / name).write_text("")
    assert [one.name for one in golden_files(tmp_path / "Modelfile")] == ["a.golden.yaml"]
    assert [one.name for one in golden_files(tmp_path / "bot.Modelfile")] == ["bot.golden.yaml", "bot.more.golden.yml"]


WRITTEN = """# what it must say
schema: modelkit.golden/1
recorded: sha256:old
cases:
  - name: plain   # kept
    user: a
    expect:
      - equals: Old text
      - no_leak
  - {name: flow, user: b, expect: [{equals: 'old'}, {contains: x}]}
  - name: block
    user: c
    expect:
      - equals: |
          old
          lines
  - name: new
    user: d
    expect:
      - equals:
  - name: not
    user: e
    expect:
      - not: {equals: e}
"""


async def _rewritten(text: str, script: dict[str, str], digest: str | None = "sha256:new") -> tuple[GoldenFile, str]:
    golden = parse(text)
    report = await run_tests(golden.cases, Scripted(dict(script)), Options(concurrency=1))
    new = changes(golden, report.cases)
    assert all(case.verdict == "pass" for case in accepted(report, new).cases if case.case.name != "not")
    return golden, rewritten(golden, new, digest)


async def test_only_the_exact_texts_that_differ_are_rewritten() -> None:
    script = {"a": "New: text", "b": "x old", "c": "new\nlines", "d": "first", "e": "e"}
    _, text = await _rewritten(WRITTEN, script)
    expected = WRITTEN.replace("sha256:old", "sha256:new").replace("Old text", '"New: text"').replace(
        "'old'", '"x old"').replace("|\n          old\n          lines\n", '"new\\nlines"\n').replace(
        "      - equals:\n", '      - equals: "first"\n')
    assert text == expected
    assert (await _rewritten(text, script))[1] == text  # nothing is left to rewrite


async def test_a_recording_is_named_where_none_was() -> None:
    text = HEAD + "  - {name: x, user: y, expect: [{equals: a}]}\n"
    _, new = await _rewritten(text, {"y": "b"})
    assert new.startswith("schema: modelkit.golden/1\nrecorded: sha256:new\ncases:\n")
    assert (await _rewritten(text, {"y": "b"}, None))[1] == text.replace("equals: a", 'equals: "b"')


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(min_size=1, max_size=60))
def test_any_answer_can_be_recorded(answer: str) -> None:
    golden = parse(WRITTEN)
    text = rewritten(golden, dict.fromkeys(golden.spots, answer), None)
    again = parse(text.encode("utf-8").decode("utf-8"))
    said = [check.operand["texts"] for case in again.cases for check in case.checks if check.kind == "equals"]
    assert said == [(answer,)] * 4 + [("e",)]
    assert "recorded: sha256:old" in text


def test_a_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.golden.yaml"
    with pytest.raises(Failure, match="cannot be read"):
        read_golden(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Failure, match="no UTF-8"):
        read_golden(path)
