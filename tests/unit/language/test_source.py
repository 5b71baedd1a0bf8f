from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelkit.language.source import Source

TEXT = "FROM x\n# \u8bed\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (TEXT.encode(), TEXT),
        (b"\xef\xbb\xbf" + TEXT.encode(), TEXT),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), TEXT),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), TEXT),
        (b"caf\xe9", "caf\ufffd"),
        (b"\xff\xfeF", "\ufffd"),
        (b"", ""),
        (b"a\r\nb\r", "a\r\nb\r"),
    ],
)
def test_decodes_as_ollama_does(data: bytes, text: str) -> None:
    assert Source.decode("m", data).text == text


def test_reads_a_file_under_the_name_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    path.write_bytes(b"FROM x")
    assert Source.read(path) == Source(str(path), "FROM x")


@pytest.mark.parametrize(
    ("offset", "place"), [(0, (1, 1)), (2, (1, 3)), (3, (2, 1)), (5, (3, 1)), (7, (4, 1)), (8, (4, 2)), (99, (4, 2))]
)
def test_crlf_counts_once(offset: int, place: tuple[int, int]) -> None:
    assert Source("m", "a\r\nb\rc\nd").line_column(offset) == place


def test_a_line_comes_without_its_end() -> None:
    source = Source("m", "a\r\n\r\n b \nc")
    assert [source.line(n) for n in (1, 2, 3, 4)] == ["a", "", " b ", "c"]


PIECES = st.lists(st.sampled_from(
    ["a", "\t", "\n", "\r", "\r\n", "\u8bed", "\U0001f469", "\u0301", "\u200d", "\ufeff"]))


@given(PIECES.map("".join))
@example("a\r\n\U0001f469b\r\u8bed\n")
def test_places_in_utf16_are_what_an_editor_counts(text: str) -> None:
    source = Source("m", text)
    lines = re.split(r"\r\n|\r|\n", text)
    for offset in range(len(text) + 1):
        line, character = source.utf16(offset)
        before = text[source.line_starts[line] : offset]
        assert character == len(before.encode("utf-16-le")) // 2
        if character <= len(lines[line].encode("utf-16-le")) // 2:  # not between a CR and its LF
            assert source.offset(line, character) == offset


@pytest.mark.parametrize(("place", "offset"), [
    ((0, 0), 0), ((0, 1), 0), ((0, 2), 1), ((0, 99), 2), ((1, 0), 4), ((1, 7), 5), ((2, 0), 6), ((9, 9), 6),
    ((0, -1), 0),
])
def test_a_place_outside_the_text_is_the_nearest_one(place: tuple[int, int], offset: int) -> None:
    assert Source("m", "\U0001f469b\r\nc\n").offset(*place) == offset
