"""The benchmark runs focusd itself over its microscope, as the daemon runs."""

from __future__ import annotations

import asyncio

import pytest

from focusd.records import RefocusResult, ScanRole, Verdict
from tests.benchmarks import drive
from tests.benchmarks.landscape import Clock
from tests.benchmarks.world import Scope, Trial, make_scope


def _scope(image: str = "gold", distance: str = "small") -> Scope:
    return make_scope(Trial("std", image, 200.0, distance, 0, seed=4))


@pytest.mark.parametrize(("region", "share"), [("frame", 1.0), ("auto", 0.25)])
def test_a_refocus_is_recorded_as_the_microscope_saw_it(region: drive.FocusRegion, share: float) -> None:
    """The service's record holds every scan the microscope took, where it took it, and what it cost."""
    scope = _scope()
    config = drive.configuration(scope, focus_region=region, keeps_baseline=False)

    with drive.Daemon(scope, config) as daemon:
        record = daemon.refocus()

    assert record.result is RefocusResult.REFOCUSED
    assert record.scans[0].role is ScanRole.START
    assert len(record.scans) == scope.scans
    assert [entry.working_distance_mm for entry in scope.column.scans] == [
        scan.working_distance_mm for scan in record.scans
    ]
    assert scope.dose_frames == pytest.approx(share * scope.scans)
    assert abs(scope.defocus_depths) < 1.0


def test_a_scan_is_judged_and_its_frame_begins_the_refocus() -> None:
    """The first frame teaches: focusd refocuses on it, and its frame spares the scan at the start."""
    scope = _scope()

    with drive.Daemon(scope, drive.configuration(scope, focus_region="frame")) as daemon:
        first, second = daemon.scan(), daemon.scan()

    assert first.verdict.verdict is Verdict.LEARNING
    assert first.refocus is not None
    assert first.refocus.scans[0].beam_time_s == 0.0
    # The baseline takes one more frame where the search never stood quite at its answer.
    assert scope.scans - len(first.refocus.scans) in {1, 2}
    assert second.verdict.verdict is Verdict.IN_FOCUS


def test_pauses_of_the_service_follow_the_simulated_time() -> None:
    """After its failures focusd pauses, and tries again when the simulated clock says so."""
    scope = _scope()
    clock = Clock()
    config = drive.configuration(scope)
    # Focus lies farther away than the search may go.
    refocus = config.refocus.model_copy(update={"max_change_um": scope.depth_mm * 1000.0})

    with drive.Daemon(scope, config.model_copy(update={"refocus": refocus}), clock=clock) as daemon:
        before = [daemon.scan().refocus for _ in range(config.refocus.attempts + 1)]
        clock.moves += 100_000
        after = daemon.scan().refocus

    results = [record.result if record else None for record in (*before, after)]
    assert results[-2] is None
    assert {*results[:-2], results[-1]} == {RefocusResult.EDGE_OF_RANGE}


def test_every_daemon_leaves_nothing_behind() -> None:
    """Daemons come one after another, and no task or loop of theirs outlives them."""
    scope = _scope()

    for _ in range(2):
        with drive.Daemon(scope, drive.configuration(scope)):
            pass

    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def test_an_unknown_method_is_named() -> None:
    """A misspelt method does not fall back to the default."""
    with pytest.raises(ValueError, match="unknown method 'brend'; known are"):
        drive.configuration(_scope(), method="brend")
