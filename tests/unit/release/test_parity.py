"""Parity: equal means equal, and a difference is shown where it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from modelkit.release.parity import Conversation, Rendering, compare, shipped_conversations


def words(ids: Sequence[int]) -> str:
    return " ".join(f"w{i}" for i in ids)


def side(ids: Sequence[int]) -> Callable[[Conversation], Rendering]:
    return lambda _: Rendering(tuple(ids), words)


ONE = (Conversation("one", ({"role": "user", "content": "hi"},)),)


def test_equal_ids_are_equal() -> None:
    report = compare(ONE, side([1, 2, 3]), side([1, 2, 3]))
    assert report.equal
    assert (report.compared, report.tokens) == (1, 3)


@pytest.mark.parametrize(("left", "right", "at", "shown_left", "shown_right"), [
    ([1, 2, 3], [1, 9, 3], 1, "'w2' (token 2)", "'w9' (token 9)"),
    ([1, 2], [1, 2, 3], 2, "the end of the prompt", "'w3' (token 3)"),
    ([5], [], 0, "'w5' (token 5)", "the end of the prompt"),
])
def test_the_first_difference_is_shown(left: list[int], right: list[int], at: int, shown_left: str,
                                       shown_right: str) -> None:
    report = compare(ONE, side(left), side(right))
    assert not report.equal
    (difference,) = report.differences
    assert (difference.at, difference.left, difference.right) == (at, shown_left, shown_right)
    assert difference.before == words(left[:at])


def test_shipped_conversations_are_many_and_hard() -> None:
    shipped = shipped_conversations()
    assert len(shipped) >= 40
    assert len({c.name for c in shipped}) == len(shipped)
    text = "".join(str(c.messages) for c in shipped)
    for hard in ("½", "<|im_end|>", "developer", "e\u0301", "\u200d"):
        assert hard in text or ascii(hard)[1:-1] in text


def test_how_tokens_are_written_is_no_difference_of_tokenizers() -> None:
    """One side writes its pieces (`Ċ`), the other only spells them: the cause is in the prompt."""
    def spell(ids: Sequence[int]) -> str:
        return "".join("\n" if one == 9 else chr(96 + one) for one in ids)

    def left(_: Conversation) -> Rendering:
        return Rendering((1, 2, 9, 3), spell, ("a", "b", "Ċ", "c"))

    report = compare(ONE, left, lambda _: Rendering((1, 2, 9, 3, 5, 6), spell))
    assert [one.cause.kind for one in report.causes] == ["template"]
