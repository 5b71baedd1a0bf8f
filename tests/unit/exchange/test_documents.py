"""YAML of other programs: places, and what is refused."""

from __future__ import annotations

import pytest

from modelkit.exchange.documents import parse
from modelkit.failure import Failure


def test_lines() -> None:
    parsed = parse("# c\na:\n  b: 1\n  c: {d: 2}\nx: &n\n  y: 1\nz: *n\n", "f.yaml")
    assert parsed.value == {"a": {"b": 1, "c": {"d": 2}}, "x": {"y": 1}, "z": {"y": 1}}
    assert [parsed.line(*path) for path in (("a",), ("a", "b"), ("a", "c", "d"), ("x", "y"), ("z",))] == [2, 3, 4, 6, 7]
    assert parsed.line("a", "no") == 2
    assert parsed.mapping("a", "c") == {"d": 2}
    assert parsed.mapping("no", "no") == {}


@pytest.mark.parametrize(("text", "message"), [
    ("a: [1\nb: 2\n", "f.yaml:2:"), ("a: 1\na: 2\n", "f.yaml:2: the key `a` stands twice in one mapping"),
    ("a: !tag 1\n", "f.yaml:1:4: could not determine a constructor"),
    ("", "f.yaml is empty"), ("# nothing\n", "f.yaml is empty"),
    ("a: &x [*x]\n", "f.yaml:1: a value holds itself"), ("a: &x {b: *x}\n", "f.yaml:1: a value holds itself"),
    ("a\x01b: 1\n", "f.yaml"), ("a: 2001-99-99\n", "f.yaml is not YAML"), ("--- 1\n--- 2\n", "f.yaml:2:1:"),
    ("\tx: 1\n", "f.yaml:1:1:"), ("a:\n  - b\n c: 1\n", "f.yaml:3:"),
    ("[" * 5000, "f.yaml"), ("a: " + "[" * 990 + "]" * 990, "f.yaml"),
])
def test_what_is_no_document_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(Failure) as refused:
        parse(text, "f.yaml").mapping("a")
    assert refused.value.message.startswith(message)


def test_a_mistake_is_shown() -> None:
    with pytest.raises(Failure) as refused:
        parse("a: 1\nb: @x\n", "f.yaml")
    assert refused.value.message.startswith("f.yaml:2:4: ")
    assert refused.value.detail == ("b: @x", "   ^")


def test_a_mapping_that_doubles_with_each_merge_is_refused() -> None:
    lines = ["a0: &a0 {k: 1}"] + [f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 40)]
    with pytest.raises(Failure, match="a mapping of"):
        parse("\n".join(lines), "f.yaml")


def test_something_else_than_a_mapping_is_named() -> None:
    with pytest.raises(Failure) as refused:
        parse("models:\n- a\n", "f.yaml").mapping("models")
    assert refused.value.message == "f.yaml:1: `models` is not a mapping"
