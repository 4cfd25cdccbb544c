"""Names of frames that are lost, come again or in another order, and what is counted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.sources.stream_order import LONGEST_GAP, REMEMBERED, FrameOrder


@pytest.mark.parametrize(
    ("names", "new", "missing", "late", "repeated"),
    [
        ("1 2 3", "1 2 3", 0, 0, 0),
        ("5 6 9 10", "5 6 9 10", 2, 0, 0),
        ("1 2 2 3 2", "1 2 3", 0, 0, 2),
        ("1 3 2 4", "1 3 2 4", 0, 1, 0),
        ("1 4 2 5", "1 4 2 5", 1, 1, 0),
        ("a c b c", "a c b", 0, 0, 1),
        ("1 x 2 y 3", "1 x 2 y 3", 0, 0, 0),
        (f"1 {LONGEST_GAP + 2} {LONGEST_GAP + 3}", f"1 {LONGEST_GAP + 2} {LONGEST_GAP + 3}", 0, 0, 0),
        ("1764000000000 1 2", "1764000000000 1 2", 0, 0, 0),
        ("007 8 9", "007 8 9", 0, 0, 0),
        ("1 \u0662 2", "1 \u0662 2", 0, 0, 0),
    ],
)
def test_each_frame_is_taken_once(names: str, new: str, missing: int, late: int, repeated: int) -> None:
    """Only whole numbers that are near one another tell what is missing."""
    order = FrameOrder()

    taken = [name for name in names.split() if order.is_new(name)]

    assert taken == new.split()
    assert (order.missing, order.late, order.repeated) == (missing, late, repeated)


def test_frames_without_a_name_are_all_new() -> None:
    """Nothing can be told of them."""
    order = FrameOrder()

    assert [order.is_new("") for _ in range(3)] == [True] * 3


def test_a_new_connection_counts_anew() -> None:
    """A bridge that was started again begins at 1; what was counted before stays."""
    order = FrameOrder()
    for name in ("1", "2", "4"):
        order.is_new(name)
    order.begin_anew()

    assert [order.is_new(name) for name in ("1", "2")] == [True, True]
    assert (order.missing, order.repeated) == (1, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_what_came_and_what_is_missing_make_up_the_whole(numbers: list[int]) -> None:
    """However frames are mixed up: those between the first highest and lowest are there, or missing."""
    order = FrameOrder()

    taken = [number for number in numbers if order.is_new(str(number))]

    assert len(set(taken)) == len(taken) <= REMEMBERED
    assert order.repeated == len(numbers) - len(taken)
    assert 0 <= order.missing <= max(taken) - taken[0]
