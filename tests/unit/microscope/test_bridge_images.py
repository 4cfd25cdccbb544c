"""Old images are told from fresh ones, whatever the bridge's clock shows."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.microscope.bridge_images import CLOCK_GRAIN_S, StalenessCheck
from focusd.protocol.bridge_values import ColumnState, ImageInfo

IMAGE = ImageInfo((64, 64), "uint8", 0.0, 0.0, ColumnState(9.0))

waits = st.floats(0.0, 10.0)


@settings(max_examples=100, deadline=None)
@given(
    ahead_s=st.floats(-1e6, 1e9),
    scans=st.lists(st.tuples(waits, waits, waits, waits), min_size=1, max_size=5),
)
def test_a_fresh_image_is_never_taken_for_an_old_one(
    ahead_s: float, scans: list[tuple[float, float, float, float]]
) -> None:
    """Whatever its clock, and however long everything takes."""
    check, now = StalenessCheck(), 0.0
    for pause_s, way_s, scan_s, back_s in scans:
        sent_at = now + pause_s
        started_at = sent_at + way_s
        finished_at = started_at + scan_s
        now = finished_at + back_s
        image = replace(IMAGE, started_at=started_at + ahead_s, finished_at=finished_at + ahead_s)

        assert check.judge(image, sent_at=sent_at, came_at=now) == ""


@settings(max_examples=100, deadline=None)
@given(ahead_s=st.floats(-1e6, 1e9), scan_s=waits, back_s=waits, pause_s=waits, kept_s=st.floats(0.1, 100.0))
def test_an_image_that_was_kept_is_found_out(
    ahead_s: float, scan_s: float, back_s: float, pause_s: float, kept_s: float
) -> None:
    """The same image once more, or one begun between the two scans but before the second was asked for."""
    check = StalenessCheck()
    came_at = scan_s + back_s
    image = replace(IMAGE, started_at=ahead_s, finished_at=scan_s + ahead_s)
    assert check.judge(image, sent_at=0.0, came_at=came_at) == ""
    # What is not known is how much of the way back belongs to the clock.
    sent_at = came_at + pause_s + kept_s

    problem = check.judge(image, sent_at=sent_at, came_at=sent_at + 0.001)

    assert problem.startswith("by the bridge's clock the image was begun")


def test_an_image_that_took_longer_than_its_exchange_is_old() -> None:
    """The very first one can be told by that."""
    image = replace(IMAGE, started_at=100.0, finished_at=101.0)

    assert StalenessCheck().judge(image, sent_at=5.0, came_at=5.9 - CLOCK_GRAIN_S) != ""
    assert StalenessCheck().judge(image, sent_at=5.0, came_at=6.0 - CLOCK_GRAIN_S / 2) == ""


def test_a_clock_that_was_set_costs_one_image() -> None:
    """The next is reckoned from the new time."""
    check = StalenessCheck()
    for number, (shift_s, is_old) in enumerate([(0.0, False), (-3600.0, True), (-3600.0, False)]):
        sent_at = 10.0 * number
        started_at = sent_at + shift_s
        image = replace(IMAGE, started_at=started_at, finished_at=started_at + 1.0)

        problem = check.judge(image, sent_at=sent_at, came_at=sent_at + 1.0)

        assert bool(problem) is is_old
