"""The YAML that platforms are written in: read back as it was, by readers of both YAMLs."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from modelkit.platforms.yaml import dump, dump_all

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    assert yaml.safe_load(dump(value)) == value


@pytest.mark.parametrize("text", [
    "yes", "No", "on", "OFF", "y", "N", "true", "null", "~", "", "1", "0x1f", "1e3", "1_000", "12:30:00", "017",
    ".inf", "2026-11-23", "=", "<<", "a: b", "a #b", "- a", "*a", "&a", "!a", "%a", "@a", "`a", "{a}", "[a]", " a",
    "a ", "nan"])
def test_what_a_reader_could_take_for_something_else_is_quoted(text: str) -> None:
    assert dump({"k": text}).startswith('k: "')
    assert yaml.safe_load(dump({"k": text})) == {"k": text}


@pytest.mark.parametrize("text", ["name", "docker.io/vllm/vllm-openai@sha256:" + "0" * 64, "/etc/modelkit/vllm.yaml",
                                  "kubernetes.io/os", "v1"])
def test_plain_words_stay_plain(text: str) -> None:
    assert dump({"k": text}) == f"k: {text}\n"


def test_texts_of_several_lines_are_literal_blocks() -> None:
    assert dump({"k": "one\n  two\n\nthree: 'x'\n"}) == "k: |\n  one\n    two\n\n  three: 'x'\n"


def test_mappings_keep_their_order_and_nothing_is_shared() -> None:
    labels = {"z": "1", "a": "2"}
    assert dump({"b": labels, "a": labels}) == 'b:\n  z: "1"\n  a: "2"\na:\n  z: "1"\n  a: "2"\n'


def test_several_documents() -> None:
    assert list(yaml.safe_load_all(dump_all([{"a": 1}, {"b": 2}]))) == [{"a": 1}, {"b": 2}]
