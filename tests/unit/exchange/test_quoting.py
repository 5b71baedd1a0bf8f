"""What is written is what is read: by our lexer, and by Ollama's parser as a state machine."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.exchange.quoting import nearest, plain, written
from modelkit.language.ollama import commands
from modelkit.language.source import Source
from tests.unit.language import ollama_machine

TEXTS = st.text(st.sampled_from('"\'ab \t\r\n#}{\\\u00a0\u200dé🙂$'), max_size=24) | st.text(
    st.characters(max_codepoint=0x2FF), max_size=30)


def read_by_both(text: str) -> str:
    file = f"FROM x\nSYSTEM {text}\nPARAMETER seed 1\n"
    (_, one, _) = commands(Source("Modelfile", file))
    found = ollama_machine.run(file)
    assert ("system", one["Args"]) in found
    return one["Args"]


@given(TEXTS)
@settings(max_examples=400, deadline=None)
def test_the_nearest_text_is_read_back_by_both_readers(text: str) -> None:
    kept, problem = nearest(text)
    assert (kept == text) == (problem == "")
    for prefer in ("", '"', '"""'):
        quoted = written(kept, prefer)
        assert quoted is not None
        assert read_by_both(quoted) == kept


@pytest.mark.parametrize(("text", "quoted"), [
    ("terse", "terse"), (" a", '" a"'), ("a\nb", '"""a\nb"""'), ('"a', '""""a"""'), ("", '""'),
    ('a"\nb', '"""a"\nb"""'), ("# no comment", "# no comment"), ('a"""\nb', None), ("a\u200db", None),
])
def test_quotes(text: str, quoted: str | None) -> None:
    assert written(text) == quoted


def test_what_cannot_be_written_says_why() -> None:
    assert nearest('a"""\nb') == ("a'''\nb", "three quotes at a line's end would close the text: they are '''")
    kept, why = nearest("a\u200db")
    assert kept == "ab" and "do not print" in why


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (0.0, "0"), (0.7, "0.7"), (1e-5, "1e-05"), (8192, "8192")])
def test_values_are_plain(value: object, text: str) -> None:
    assert plain(value) == text
