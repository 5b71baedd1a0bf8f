"""Text comes whole, certain, and never more than the answer has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkit.llamacpp.text import Writer


def written(pieces: list[bytes], stop: list[str]) -> tuple[list[str], str | None]:
    """What each token added, the finish last, and what stopped it."""
    writer = Writer(pieces, stop)
    said = []
    for token in range(len(pieces)):
        said.append(writer.write(token))
        if writer.stopped_by is not None:
            return said, writer.stopped_by
    said.append(writer.finish())
    return said, writer.stopped_by


def cut(text: str, stop: list[str]) -> tuple[str, str | None]:
    """The whole text before the stop string that is complete first; of several, the one that was named first."""
    ends = [(text.index(one) + len(one), place, one) for place, one in enumerate(stop) if one in text]
    if not ends:
        return text, None
    end, _, one = min(ends)
    return text[: end - len(one)], one


@st.composite
def tokenized(draw: st.DrawFn, alphabet: str) -> tuple[str, list[bytes]]:
    """A text, and its bytes split anywhere, also within characters; some tokens have no bytes at all."""
    text = draw(st.text(alphabet, max_size=24))
    raw = text.encode()
    at = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=16)))
    return text, [raw[start:end] for start, end in zip([0, *at], [*at, len(raw)], strict=True)]


@given(tokenized("abé🙂"), st.lists(st.text("abé🙂", min_size=1, max_size=5), max_size=4))
def test_any_split_gives_the_text_up_to_its_first_stop_string(split, stop) -> None:
    text, pieces = split
    said, by = written(pieces, stop)
    assert ("".join(said), by) == cut(text, stop)


@given(tokenized("ab"), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_nothing_leaks_and_nothing_is_held_that_is_certain(split, stop) -> None:
    _, pieces = split
    writer, seen = Writer(pieces, stop), ""
    for token in range(len(pieces)):
        seen += writer.write(token)
        if writer.stopped_by is not None:
            return
        so_far = b"".join(pieces[: token + 1]).decode()
        held = max((size for one in stop for size in range(len(one)) if so_far.endswith(one[:size])), default=0)
        assert seen == so_far[: len(so_far) - held]


@given(st.lists(st.binary(max_size=5), max_size=8))
def test_any_bytes_become_the_text_that_they_are_together(pieces) -> None:
    said, _ = written(pieces, [])
    assert "".join(said) == b"".join(pieces).decode("utf-8", "replace")


@pytest.mark.parametrize(("pieces", "stop", "said", "by"), [
    ([b"Caf", b"\xc3", b"\xa9"], [], ["Caf", "", "é", ""], None),
    ([b"Caf", b"\xc3"], [], ["Caf", "", "�"], None),
    ([b"a\xff", b"b"], [], ["a�", "b", ""], None),
    ([b"one\n", b"\n", b"two"], ["\n\n"], ["one", ""], "\n\n"),
    ([b"one\n", b"two"], ["\n\n"], ["one", "\ntwo", ""], None),
    ([b"one\n"], ["\n\n"], ["one", "\n"], None),
    ([b"xab"], ["b", "ab"], ["xa"], "b"),
    ([b"xab"], ["ab", "b"], ["x"], "ab"),
    ([b"xabc"], ["abc", "b"], ["xa"], "b"),
    ([b"aab", b"aac"], ["aabaac"], ["", ""], "aabaac"),
    ([b"aabaab", b"aac"], ["aabaac"], ["aab", ""], "aabaac"),
    ([b"\xf0\x9f", b"\x99\x82!"], ["🙂"], ["", ""], "🙂"),
])
def test_what_each_token_adds(pieces, stop, said, by) -> None:
    assert written(pieces, stop) == (said, by)


def test_nothing_follows_a_stop_string() -> None:
    writer = Writer([b"a#b", b"c"], ["#"])
    assert [writer.write(0), writer.write(1), writer.finish()] == ["a", "", ""]
