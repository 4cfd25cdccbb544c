"""A refocus ends at a better place that was proven, or where it began, whatever happens on the way."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from focusd.config import BaselineSettings, DriftSettings, RefocusSettings, ScanSettings
from focusd.errors import LinkError, ScanRefusedError, StoreError
from focusd.records import RefocusRecord, RefocusResult, RefocusTrigger, ScanRole
from focusd.service.depths import Depths
from focusd.service.monitor import Monitor
from focusd.service.refocus import Refocus
from focusd.sources.scan import ScanSource
from focusd.store.database import Store, open_store
from tests.fake_microscope import DEPTH_OF_FIELD_UM, REQUEST, FakeMicroscope

TOLERANCE_MM = 0.001


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Give an empty store."""
    async with open_store(tmp_path, max_frames=1000) as store:
        yield store


def make_refocus(
    microscope: FakeMicroscope,
    store: Store,
    progress: list[RefocusRecord] | None = None,
    *,
    trigger: RefocusTrigger = RefocusTrigger.REQUEST,
    **settings: object,
) -> Refocus:
    """Build a refocus of the fake microscope."""
    config = RefocusSettings(**({"depth_of_field_um": DEPTH_OF_FIELD_UM} | settings))  # type: ignore[arg-type]
    monitor = Monitor(store, DriftSettings(), BaselineSettings(), refocus_metric=config.metric)
    return Refocus(
        microscope,
        store,
        config,
        RefocusRecord(
            refocus_id=1,
            trigger=trigger,
            method=config.method,
            metric=config.metric,
            condition="",
            started_at=0.0,
            start_working_distance_mm=None,
            max_scans=config.max_scans,
        ),
        source=ScanSource(ScanSettings(width=REQUEST.width, height=REQUEST.height)),
        measure=monitor.measure,
        on_progress=(progress if progress is not None else []).append,
        tolerance_mm=TOLERANCE_MM,
    )


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


async def test_the_frame_that_raised_the_alarm_is_the_first_scan(store: Store) -> None:
    """A frame just taken where the lens stands is not taken again, and costs no beam time."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.012)
    alarm = await microscope.scan(REQUEST)
    before = microscope.scans

    refocused = await make_refocus(microscope, store).run(alarm)

    assert refocused.record.result is RefocusResult.REFOCUSED
    assert microscope.scans - before == len(refocused.record.scans) - 1
    assert refocused.record.scans[0].beam_time_s == 0.0
    assert refocused.record.scans[1].beam_time_s > 0.0


async def test_a_frame_taken_elsewhere_is_taken_again(store: Store) -> None:
    """When the lens has been moved since the frame, a scan at the start is taken."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.02)
    alarm = await microscope.scan(REQUEST)
    microscope.working_distance_mm = 9.012

    refocused = await make_refocus(microscope, store).run(alarm)

    assert refocused.record.start_working_distance_mm == 9.012
    assert refocused.record.scans[0].beam_time_s > 0.0


async def test_an_alarm_is_probed_and_a_true_one_costs_no_scan_more(store: Store) -> None:
    """The probe's scan shows that focus is lost, and is the first scan of the search."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.012)

    refocused = await make_refocus(microscope, store, trigger=RefocusTrigger.DRIFT).run()

    roles = [scan.role for scan in refocused.record.scans]
    assert refocused.record.result is RefocusResult.REFOCUSED, refocused.record.reason
    assert roles[:2] == [ScanRole.START, ScanRole.PROBE]
    assert abs(microscope.working_distance_mm - 9.0) * 1000 < DEPTH_OF_FIELD_UM


async def test_a_false_alarm_costs_a_probe_and_the_lens_is_back(store: Store) -> None:
    """When the picture is in focus after all, nothing is searched and the lens stands where it stood."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.0)

    refocused = await make_refocus(microscope, store, trigger=RefocusTrigger.DRIFT).run()

    assert refocused.record.result is RefocusResult.NOT_FOCUS_RELATED, refocused.record.reason
    assert {scan.role for scan in refocused.record.scans} == {ScanRole.START, ScanRole.PROBE}
    assert len(refocused.record.scans) <= 3
    assert microscope.working_distance_mm == 9.0
    assert refocused.record.focus_mm == pytest.approx(9.0, abs=0.002)
    assert await store.journal.pending() == []


@pytest.mark.parametrize("method", ["spectral", "brent"])
async def test_the_evidence_of_a_run_is_kept(store: Store, method: str) -> None:
    """Each scan with its region, dwell and energies; and what the acceptance went by."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.012)

    record = (await make_refocus(microscope, store, method=method).run()).record

    assert record.result is RefocusResult.REFOCUSED, record.reason
    assert record.z_score is not None
    assert record.z_score > 2
    assert all(scan.dwell_time_us == 1.0 and scan.energies for scan in record.scans)
    if method == "spectral":
        assert record.focus_mm == pytest.approx(9.0, abs=0.003)
        assert record.depth_of_field_um == pytest.approx(DEPTH_OF_FIELD_UM, rel=0.5)
        assert record.probability_nearer is not None
        assert record.probability_nearer > 0.8


async def test_what_a_run_learns_of_the_depth_of_field_serves_the_next(store: Store) -> None:
    """A configured value that is half off is mended by the runs themselves, by imaging condition."""
    depths = Depths(store, 3.0)
    microscope = FakeMicroscope(best_focus_mm=9.0)
    for defocus_um in (12.0, -14.0, 10.0, 16.0):
        microscope.working_distance_mm = 9.0 + defocus_um / 1000
        refocus = make_refocus(microscope, store, method="spectral", depth_of_field_um=3.0)
        record = (await refocus.run()).record
        assert record.result is RefocusResult.REFOCUSED, record.reason

    learned = await depths.known(record.condition)

    assert learned.runs >= 1
    assert 1.5 <= learned.depth_of_field_um < 3.0
    assert (await depths.known("another-condition")).runs == 0
    assert (await Depths(store, 2.5).known(record.condition)).runs == 0


@pytest.mark.parametrize("defocus_um", [0.0, 0.8, -2.0])
async def test_near_focus_it_ends_in_focus_whatever_it_does(store: Store, defocus_um: float) -> None:
    """Where little or nothing is to be gained, the lens stays or moves by little, and that is a success."""
    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=9.0 + defocus_um / 1000)

    record = (await make_refocus(microscope, store, method="spectral").run()).record

    assert record.result in {RefocusResult.CONFIRMED_IN_FOCUS, RefocusResult.REFOCUSED}, record.reason
    assert abs(microscope.working_distance_mm - 9.0) * 1000 < DEPTH_OF_FIELD_UM
    assert await store.journal.pending() == []
