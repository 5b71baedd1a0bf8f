"""What of the attention cache is used again, and what is given up for room."""

from __future__ import annotations

import pytest

from modelkit.llamacpp.cells import Cells
from modelkit.llamacpp.prefixes import Prefixes, Slot, common
from tests.unit.llamacpp.fake_context import FakeMemory


def room(cells: int = 100, slots: int = 4, **how: bool) -> tuple[Prefixes, FakeMemory]:
    memory = FakeMemory(how.get("whole", False))
    return Prefixes(memory, Cells(cells), slots, **how), memory


def computed(prefixes: Prefixes, memory: FakeMemory, tokens: list[int], adapter: str | None = None) -> Slot:
    """A sequence in work, with all of its tokens computed."""
    match, shared = prefixes.match([*tokens, 0], adapter, 1)
    slot = prefixes.open(adapter, 1, match, shared)
    assert slot is not None
    memory.sequences.setdefault(slot.id, []).extend((token, object()) for token in tokens[shared:])
    prefixes.grow(slot, tokens[shared:])
    assert memory.cells == prefixes.cells.used
    return slot


def grown(prefixes: Prefixes, memory: FakeMemory, slot: Slot, tokens: list[int]) -> None:
    memory.sequences[slot.id].extend((token, object()) for token in tokens)
    prefixes.grow(slot, tokens)


@pytest.mark.parametrize(("one", "other", "alike"), [
    ([], [], 0), ([1], [], 0), ([1], [1], 1), ([1, 2, 3], [1, 2], 2), ([2], [1], 0),
    (list(range(99)), [*range(50), 0], 50),
])
def test_common(one: list[int], other: list[int], alike: int) -> None:
    assert common(one, other) == common(other, one) == alike


def test_the_last_token_is_always_computed() -> None:
    prefixes, memory = room()
    prefixes.close(computed(prefixes, memory, [1, 2, 3]))
    assert prefixes.match([1, 2, 3], None, 2)[1] == 2


def test_the_longest_match_wins() -> None:
    prefixes, memory = room()
    short, long = computed(prefixes, memory, [1, 2, 9]), computed(prefixes, memory, [1, 2, 3, 4])
    prefixes.close(short)
    prefixes.close(long)
    assert prefixes.match([1, 2, 3, 4, 5], None, 2) == (long, 4)


def test_adapters_share_nothing() -> None:
    prefixes, memory = room()
    computed(prefixes, memory, [1, 2, 3], "a")
    assert prefixes.match([1, 2, 3, 4], None, 2) == (None, 0)
    assert prefixes.match([1, 2, 3, 4], "a", 2)[1] == 3


def test_sharing_takes_no_cells() -> None:
    prefixes, memory = room()
    first = computed(prefixes, memory, [1, 2, 3, 4])
    computed(prefixes, memory, [1, 2, 3, 5])
    assert prefixes.cells.used == prefixes.cells.busy == 5
    prefixes.close(first)
    assert prefixes.cells.busy == 4


def test_a_finished_sequence_is_gone_on_with_where_it_is() -> None:
    prefixes, memory = room(slots=1)
    first = computed(prefixes, memory, [1, 2, 3])
    prefixes.close(first)
    assert computed(prefixes, memory, [1, 2, 3, 4]) is first


def test_room_is_made_from_the_end_of_what_was_unused_for_longest() -> None:
    prefixes, memory = room(cells=1000)
    old, new = computed(prefixes, memory, list(range(400))), computed(prefixes, memory, [9] * 400)
    prefixes.close(old)
    prefixes.close(new)
    assert prefixes.make_room(201)
    assert (len(old.tokens), len(new.tokens)) == (144, 400)
    assert prefixes.make_room(900)
    assert len(old.tokens) + len(new.tokens) <= 100
    assert memory.cells == prefixes.cells.used


def test_busy_cells_are_never_given_up() -> None:
    prefixes, memory = room(cells=10)
    computed(prefixes, memory, [1, 2, 3, 4, 5, 6])
    assert not prefixes.make_room(5)
    assert prefixes.cells.available == 4


def test_cost_counts_what_is_pinned_too() -> None:
    prefixes, memory = room()
    slot = computed(prefixes, memory, [1, 2, 3, 4])
    assert prefixes.cost(6, slot, 4) == 2
    prefixes.close(slot)
    assert prefixes.cost(6, slot, 4) == 6


def test_a_memory_that_cannot_drop_parts_drops_all() -> None:
    prefixes, memory = room(whole=True)
    slot = computed(prefixes, memory, [1, 2, 3, 4])
    assert prefixes.cut(slot, 2) == 0
    assert prefixes.cells.used == 0
    prefixes.close(slot)
    assert prefixes.match([1, 2, 9], None, 1) == (None, 0)


def test_a_memory_that_cannot_drop_parts_goes_on_from_the_end_only() -> None:
    prefixes, memory = room(whole=True)
    prefixes.close(computed(prefixes, memory, [1, 2, 3]))
    assert prefixes.match([1, 2, 3, 4], None, 2)[1] == 3
    assert prefixes.match([1, 2, 4, 4], None, 2) == (None, 0)


def test_no_slot_but_busy_ones() -> None:
    prefixes, memory = room(slots=1)
    slot = computed(prefixes, memory, [1, 2])
    assert prefixes.open(None, 2, slot, 2) is None


def test_who_is_alone_lies_where_it_would_in_an_empty_cache() -> None:
    prefixes, memory = room()
    one, other = computed(prefixes, memory, [1, 2, 3]), computed(prefixes, memory, [5, 6])
    prefixes.close(one)
    prefixes.close(other)
    assert prefixes.alone(*prefixes.match([5, 6, 7], None, 2)) == (None, 0), "it was computed beside another one"
    assert (prefixes.cells.used, memory.cells) == (0, 0)
    first = computed(prefixes, memory, [5, 6, 7, 8])
    prefixes.close(first)
    assert prefixes.alone(*prefixes.match([5, 6, 9], None, 3)) == (first, 2)
    assert (first.tokens, prefixes.cells.used, memory.cells) == ([5, 6], 2, 2)


def test_what_was_computed_alone_keeps_its_place_when_others_come() -> None:
    prefixes, memory = room()
    one = computed(prefixes, memory, [1, 2, 3])
    other = computed(prefixes, memory, [1, 2, 8, 8])
    grown(prefixes, memory, one, [4, 5])
    prefixes.close(one)
    prefixes.close(other)
    assert prefixes.match([1, 2, 8, 8, 7], None, 3) == (other, 4)
    slot, shared = prefixes.alone(other, 4)
    assert slot is not None and (slot.tokens, shared, prefixes.cells.used) == ([1, 2], 2, 2)
    again = prefixes.open(None, 3, slot, shared)
    assert again is slot and again.first
    grown(prefixes, memory, again, [6])
    assert again.lone == 3


def test_what_is_long_is_kept_for_who_is_alone() -> None:
    prefixes, memory = room(cells=4000)
    long, short = computed(prefixes, memory, [*range(1500)]), computed(prefixes, memory, [7, 7, 7])
    prefixes.close(long)
    prefixes.close(short)
    assert prefixes.alone(None, 0) == (None, 0)
    assert (len(long.tokens), short.tokens) == (1500, [])
    assert prefixes.alone(*prefixes.match([*range(1200), 0], None, 2)) == (long, 1200)
