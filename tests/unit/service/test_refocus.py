"""A refocus ends at a better place that was proven, or where it began, whatever happens on the way."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from focusd.errors import LinkError, ScanRefusedError, StoreError
from focusd.records import RefocusRecord, RefocusResult, RefocusTrigger, ScanRole
from focusd.store.database import Store
from tests.fake_microscope import DEPTH_OF_FIELD_UM, FakeMicroscope
from tests.unit.service.refocusing import make_refocus


@pytest.mark.parametrize("defocus_um", [-24.0, -8.0, 6.0, 20.0])
async def test_finds_focus_and_proves_it(store: Store, defocus_um: float) -> None:
    """From several depths of field away the lens ends within one of them, shown by a scan near there."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.0 + defocus_um / 1000)
    progress: list[RefocusRecord] = []

    refocused = await make_refocus(microscope, store, progress).run()

    record = refocused.record
    assert record.result is RefocusResult.REFOCUSED, record.reason
    assert abs(microscope.working_distance_mm - 9.0) * 1000 < DEPTH_OF_FIELD_UM
    assert record.scans[0].role is ScanRole.START
    shown_mm = min((scan.working_distance_mm for scan in record.scans), key=lambda mm: abs(mm - 9.0))
    assert abs(shown_mm - microscope.working_distance_mm) * 1000 < 2.2 * DEPTH_OF_FIELD_UM
    assert record.gain is not None
    assert record.gain > 1
    assert len(record.scans) == microscope.scans <= record.max_scans
    is_verified = abs(shown_mm - microscope.working_distance_mm) * 1000 < 0.6 * DEPTH_OF_FIELD_UM
    assert (refocused.verified is not None) is is_verified
    assert [len(p.scans) for p in progress if p.scans][-1] == len(record.scans)
    assert await store.journal.pending() == []


async def test_confirms_a_picture_that_is_in_focus_and_stays(store: Store) -> None:
    """A picture that was sharp at the start ends as confirmed, at the very working distance it had."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.0)

    refocused = await make_refocus(microscope, store).run()

    assert refocused.record.result is RefocusResult.CONFIRMED_IN_FOCUS, refocused.record.reason
    assert microscope.working_distance_mm == 9.0
    assert refocused.verified is not None


async def test_gives_the_column_back_when_there_is_nothing_to_see(store: Store) -> None:
    """A blanked beam has no sharpness peak, which only a search can tell from a specimen far out of focus."""
    microscope = FakeMicroscope(working_distance_mm=9.02, blanked=True)

    refocused = await make_refocus(microscope, store).run()

    assert refocused.record.result is RefocusResult.NO_PEAK
    assert microscope.working_distance_mm == 9.02
    assert refocused.verified is None


async def test_an_alarm_where_there_is_nothing_to_see_is_blind(store: Store) -> None:
    """Nobody failed to find focus: there is none to find, and the lens is left alone."""
    microscope = FakeMicroscope(working_distance_mm=9.02, blanked=True)

    refocused = await make_refocus(microscope, store, trigger=RefocusTrigger.DRIFT).run()

    assert refocused.record.result is RefocusResult.BLIND
    assert microscope.visited_mm == []


async def test_cancel_puts_the_lens_back_within_one_scan(store: Store) -> None:
    """A cancelled run ends in the middle of its scan and leaves the microscope as it was found."""
    scanning = asyncio.Event()

    async def hang() -> None:
        scanning.set()
        await asyncio.Event().wait()

    microscope = FakeMicroscope(
        working_distance_mm=9.02, before_scan=lambda number: hang() if number == 3 else None
    )
    refocus = make_refocus(microscope, store)

    async with asyncio.TaskGroup() as group:
        run = group.create_task(refocus.run())
        await scanning.wait()
        refocus.cancel("the operator said so")

    assert run.result().record.result is RefocusResult.CANCELLED
    assert run.result().record.reason == "the operator said so"
    assert microscope.working_distance_mm == 9.02
    assert microscope.holds == 0
    assert await store.journal.pending() == []


async def test_cancel_in_the_middle_of_a_move_puts_back(store: Store) -> None:
    """A lens that is on its way when the run is cancelled is brought back, not taken for somebody else's."""
    moving = asyncio.Event()
    microscope = FakeMicroscope(working_distance_mm=9.02)

    async def hang() -> None:
        microscope.working_distance_mm = (9.02 + microscope.visited_mm[-1]) / 2
        moving.set()
        await asyncio.Event().wait()

    microscope.before_move = lambda number: hang() if number == 2 else None
    refocus = make_refocus(microscope, store)

    async with asyncio.TaskGroup() as group:
        run = group.create_task(refocus.run())
        await moving.wait()
        refocus.cancel("the operator said so")

    assert run.result().record.result is RefocusResult.CANCELLED
    assert run.result().record.final_working_distance_mm == 9.02
    assert microscope.working_distance_mm == 9.02
    assert await store.journal.pending() == []


async def test_stopping_the_daemon_puts_the_lens_back(store: Store) -> None:
    """The task that runs a refocus can be cancelled from outside, and the lens is back before it ends."""
    scanning = asyncio.Event()

    async def hang() -> None:
        scanning.set()
        await asyncio.Event().wait()

    microscope = FakeMicroscope(
        working_distance_mm=9.02, before_scan=lambda number: hang() if number == 3 else None
    )
    refocus = make_refocus(microscope, store)

    async with asyncio.TaskGroup() as group:
        run = group.create_task(refocus.run())
        await scanning.wait()
        run.cancel()

    assert run.cancelled()
    assert refocus.record.result is RefocusResult.CANCELLED
    assert microscope.working_distance_mm == 9.02
    assert await store.journal.pending() == []


async def test_deadline_ends_the_run_and_puts_back(store: Store) -> None:
    """A scan that never ends uses up the deadline, and the lens goes back."""

    async def hang() -> None:
        await asyncio.Event().wait()

    microscope = FakeMicroscope(
        working_distance_mm=9.02, before_scan=lambda number: hang() if number == 3 else None
    )

    refocused = await make_refocus(microscope, store, deadline_s=1.0).run()

    assert refocused.record.result is RefocusResult.BUDGET_EXCEEDED
    assert microscope.working_distance_mm == 9.02


async def test_lost_link_leaves_the_restore_point_open(store: Store) -> None:
    """What could not be put back stays written down for the next connect."""

    def lose(number: int) -> None:
        if number == 3:
            raise LinkError("connection reset")

    microscope = FakeMicroscope(working_distance_mm=9.02, before_scan=lose)
    refocus = make_refocus(microscope, store)

    with pytest.raises(LinkError, match="connection reset"):
        await refocus.run()

    (entry,) = await store.journal.pending()
    assert refocus.record.result is RefocusResult.LINK_LOST
    assert entry.original_working_distance_mm == 9.02
    assert microscope.working_distance_mm in entry.commanded_mm


async def test_refused_scan_puts_back(store: Store) -> None:
    """A microscope that will not scan any more gets its lens back, and the reason is kept."""

    def refuse(number: int) -> None:
        if number == 4:
            raise ScanRefusedError("ScScanXY answered -1")

    microscope = FakeMicroscope(working_distance_mm=9.02, before_scan=refuse)

    refocused = await make_refocus(microscope, store).run()

    assert refocused.record.result is RefocusResult.SCAN_FAILED
    assert "ScScanXY answered -1" in refocused.record.reason
    assert microscope.working_distance_mm == 9.02


async def test_stuck_lens_is_reported(store: Store) -> None:
    """A lens that does not follow ends as wd_not_settable and has not moved."""
    microscope = FakeMicroscope(working_distance_mm=9.02, stuck=True)

    refocused = await make_refocus(microscope, store).run()

    assert refocused.record.result is RefocusResult.WD_NOT_SETTABLE
    assert microscope.working_distance_mm == 9.02


async def test_does_not_fight_an_operator(store: Store) -> None:
    """When somebody moves the lens in the middle, the run ends and his working distance stays."""
    microscope = FakeMicroscope(working_distance_mm=9.02)

    def meddle(number: int) -> None:
        if number == 3:
            microscope.working_distance_mm = 12.0

    microscope.before_scan = meddle

    refocused = await make_refocus(microscope, store).run()

    assert refocused.record.result is RefocusResult.CANCELLED
    assert "somebody else" in refocused.record.reason
    assert microscope.working_distance_mm == 12.0
    assert await store.journal.pending() == []


async def test_worse_at_the_end_goes_back(store: Store) -> None:
    """When the fresh scan at the answer is no sharper, the old working distance is put back."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.016)
    refocus = make_refocus(microscope, store, method="brent")
    settled = False

    def ruin(_: int) -> None:
        # The specimen is gone for good once the lens stands within a depth of field of focus, twice.
        nonlocal settled
        near = abs(microscope.working_distance_mm - 9.0) < 0.0015
        if near and settled:
            microscope.best_focus_mm = 9.4
        settled = settled or near

    microscope.before_scan = ruin

    refocused = await refocus.run()

    assert refocused.record.result is not RefocusResult.REFOCUSED
    assert microscope.working_distance_mm == pytest.approx(9.016, abs=1e-9)


async def test_no_move_when_the_restore_point_cannot_be_written(store: Store) -> None:
    """Without a durable restore point nothing moves."""
    microscope = FakeMicroscope(working_distance_mm=9.02)
    refocus = make_refocus(microscope, store)

    class FullDisk:
        async def open(self, *_: object) -> None:
            raise StoreError("database or disk is full")

    refocus._journal = FullDisk()  # type: ignore[assignment]

    with pytest.raises(StoreError, match="full"):
        await refocus.run()

    assert microscope.visited_mm == []


async def test_each_place_is_written_down_before_the_lens_goes_there(store: Store, tmp_path: Path) -> None:
    """At every move the journal on disk already names the place."""
    reader = sqlite3.connect(tmp_path / "focusd.db")
    missing: list[float] = []
    microscope = FakeMicroscope(working_distance_mm=9.02)

    def look(_: int) -> None:
        rows = reader.execute("SELECT record FROM journal").fetchall()
        if str(microscope.visited_mm[-1]) not in str(rows):
            missing.append(microscope.visited_mm[-1])

    microscope.before_move = look
    await make_refocus(microscope, store).run()
    reader.close()

    assert microscope.visited_mm
    assert missing == []


async def test_comes_to_every_place_from_below(store: Store) -> None:
    """Going down, the lens first goes three depths of field below, because of hysteresis."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.02)

    await make_refocus(microscope, store).run()

    assert microscope.visited_mm[-1] >= microscope.visited_mm[-2]


async def test_limits_of_the_microscope_bound_the_search(store: Store) -> None:
    """Focus beyond the limits is never looked for there."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.02, limits_mm=(9.01, 30.0))

    refocused = await make_refocus(microscope, store).run()

    assert refocused.record.result is RefocusResult.EDGE_OF_RANGE
    assert min(microscope.visited_mm) >= 9.01
    assert microscope.working_distance_mm == 9.02


async def test_largest_change_bounds_the_search(store: Store) -> None:
    """The lens never goes farther from the start than ``max_change_um``."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.04)

    refocused = await make_refocus(microscope, store, max_change_um=15.0).run()

    assert refocused.record.result is RefocusResult.EDGE_OF_RANGE
    assert max(abs(wd - 9.04) for wd in microscope.visited_mm) <= 0.015 + 0.006 + 1e-9
    assert microscope.working_distance_mm == 9.04


async def test_start_outside_the_limits_is_left_alone(store: Store) -> None:
    """An operator's working distance beyond focusd's limits is not touched."""
    microscope = FakeMicroscope(working_distance_mm=3.5)

    refocused = await make_refocus(microscope, store).run()

    assert refocused.record.result is RefocusResult.LIMITS
    assert "between 4 and 30 mm" in refocused.record.reason
    assert microscope.visited_mm == []


async def test_each_scan_is_an_event(store: Store) -> None:
    """Operators can follow a refocus scan by scan in the log."""
    microscope = FakeMicroscope(working_distance_mm=9.02)

    with capture_logs() as events:
        refocused = await make_refocus(microscope, store).run()

    scans = [event for event in events if event["event"] == "refocus_scanned"]
    assert [event["scan"] for event in scans] == list(range(1, len(refocused.record.scans) + 1))
