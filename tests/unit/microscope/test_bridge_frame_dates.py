"""When an image was begun, whatever the bridge's clock shows, and whether focusd was at work then."""

from __future__ import annotations

import asyncio

import pytest

from focusd.microscope.bridge_frames import LONGEST_WAY_S, ImageDates, OwnWork
from focusd.protocol.bridge_values import ColumnState, ImageInfo


async def test_own_work_ends_with_its_last_holder() -> None:
    """Nested holders, and one in which nothing was done."""
    work = OwnWork()
    now = asyncio.get_running_loop().time
    with work.held():
        assert not work.may_have_disturbed(now())
        with work.held():
            work.begin()
            assert work.may_have_disturbed(now() + 1)
            work.end(was_done=True)
        assert work.may_have_disturbed(now() + 1)
    ended_at = now()
    with work.held():
        work.begin()
        work.end(was_done=False)
        assert not work.may_have_disturbed(ended_at + 1)

    assert work.may_have_disturbed(ended_at - 1)
    assert not work.may_have_disturbed(ended_at + 1)


IMAGE = ImageInfo((64, 64), "uint8", 100.0, 101.0, ColumnState(9.0))


def scan(started_at: float, finished_at: float) -> ImageInfo:
    """Give what a bridge tells of a scan."""
    return ImageInfo((64, 64), "uint8", started_at, finished_at, ColumnState(9.0))


def test_dates_go_by_scans_and_never_past_what_an_image_took() -> None:
    """The earliest of both; without a scan, the way is taken for none."""
    dates = ImageDates()
    assert dates.begun_at(IMAGE, came_at=50.0) == 49.0

    dates.note_scan(scan(90.0, 91.0), sent_at=35.0, came_at=37.0)

    assert dates.begun_at(IMAGE, came_at=50.0) == 45.0
    assert dates.begun_at(IMAGE, came_at=45.5) == 44.5


def test_the_scan_that_was_begun_soonest_counts() -> None:
    """One that had to wait tells less of the clock than another one does."""
    dates = ImageDates()
    for waited_s in (3.0, 0.5, 2.0):
        dates.note_scan(scan(90.0 + waited_s, 91.0 + waited_s), sent_at=40.0, came_at=41.5 + waited_s)

    assert dates.begun_at(IMAGE, came_at=60.0) == 100.0 - 50.5


@pytest.mark.parametrize("set_by_s", [3600.0, -3600.0])
def test_a_clock_that_was_set_is_learnt_anew(set_by_s: float) -> None:
    """The newest scan shows it."""
    dates = ImageDates()
    dates.note_scan(scan(90.0, 91.0), sent_at=40.0, came_at=41.0)
    dates.note_scan(scan(92.0 + set_by_s, 93.0 + set_by_s), sent_at=42.0, came_at=43.0)

    assert dates.begun_at(scan(100.0 + set_by_s, 101.0 + set_by_s), came_at=60.0) == 50.0


def test_a_clock_that_was_set_since_is_not_believed() -> None:
    """An image cannot have been on its way for an hour."""
    dates = ImageDates()
    dates.note_scan(scan(3700.0, 3701.0), sent_at=40.0, came_at=41.0)

    assert dates.begun_at(IMAGE, came_at=50.0) == 49.0
    assert dates.begun_at(IMAGE, came_at=50.0 + LONGEST_WAY_S) == 49.0 + LONGEST_WAY_S
