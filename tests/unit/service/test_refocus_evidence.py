"""What a refocus begins with, what it goes by, and what it leaves behind."""

from __future__ import annotations

import pytest

from focusd.records import RefocusResult, RefocusTrigger, ScanRole
from focusd.service.depths import Depths
from focusd.store.database import Store
from tests.fake_microscope import DEPTH_OF_FIELD_UM, REQUEST, FakeMicroscope
from tests.unit.service.refocusing import make_refocus


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
