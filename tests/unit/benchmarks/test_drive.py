"""The benchmark drives a search exactly as the service does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from focusd.config import RefocusSettings, ScanSettings
from focusd.focus.measure import Measurement, measure
from focusd.frame import Frame, ImagingConditions, ScanRequest
from focusd.microscope.interface import MicroscopeIdentity, MicroscopeState
from focusd.records import RefocusRecord, RefocusTrigger
from focusd.service.refocus import Refocus
from focusd.sources.scan import ScanSource
from focusd.store.database import open_store
from tests.benchmarks import drive
from tests.benchmarks.world import Scope, Trial, make_scope


class ScopeMicroscope:
    """Lets the service use a benchmark's microscope.

    Args:
        scope: The microscope.
    """

    identity = MicroscopeIdentity("benchmark")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.limits_mm = scope.limits_mm

    async def get_state(self) -> MicroscopeState:
        return MicroscopeState(self._scope.working_distance_mm)

    async def get_working_distance(self) -> float:
        return self._scope.working_distance_mm

    async def set_working_distance(self, working_distance_mm: float) -> float:
        return self._scope.move(working_distance_mm)

    @asynccontextmanager
    async def acquisition(self) -> AsyncIterator[None]:
        yield

    async def scan(self, request: ScanRequest) -> Frame:
        rows, columns = request.shape
        return Frame(
            pixels=self._scope.scan(request.region),
            conditions=ImagingConditions(rows, columns, 8, request.dwell_time_us, 10.0),
            working_distance_mm=self._scope.working_distance_mm,
            acquired_at=time.time(),
        )

    async def ping(self) -> float:
        return 0.0

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Never: there is no link."""


async def _as_the_service_does(scope: Scope, settings: RefocusSettings, directory: Path) -> RefocusRecord:
    microscope = ScopeMicroscope(scope)
    frame = scope.request

    async def scored(frame: Frame) -> Measurement:
        return await asyncio.to_thread(measure, frame.pixels, (drive.DRIFT_METRIC, settings.metric))

    record = RefocusRecord(
        refocus_id=1,
        trigger=RefocusTrigger.REQUEST,
        method=settings.method,
        metric=settings.metric,
        condition="",
        started_at=0.0,
        start_working_distance_mm=None,
        max_scans=settings.max_scans,
    )
    async with open_store(directory, max_frames=100) as store:
        refocus = Refocus(
            microscope,
            store.journal,
            settings,
            record,
            source=ScanSource(
                ScanSettings(width=frame.width, height=frame.height, dwell_time_us=frame.dwell_time_us)
            ),
            measure=scored,
            on_progress=lambda _: None,
            tolerance_mm=0.001,
        )
        return (await refocus.run()).record


@pytest.mark.parametrize("method", ["brent", "brent-wide"])
@pytest.mark.parametrize(
    ("image", "distance", "dose"), [("gold", "small", 50.0), ("gold", "far", 200.0), ("resin", "small", 50.0)]
)
async def test_takes_the_same_course_as_the_service(
    method: str, image: str, distance: str, dose: float, tmp_path: Path
) -> None:
    """From one start, driver and service scan the same places and end with the same result and lens."""
    trial = Trial("rough", image, dose, distance, 0, seed=4)
    ours, theirs = make_scope(trial), make_scope(trial)
    settings = drive.settings_for(method, ours)

    driven = drive.refocus(ours, settings)
    record = await _as_the_service_does(theirs, settings, tmp_path)

    assert driven.places_mm == [scan.working_distance_mm for scan in record.scans]
    assert (driven.result, driven.reason) == (record.result, record.reason)
    assert ours.column.actual_working_distance_mm == theirs.column.actual_working_distance_mm
    assert ours.dose_frames == theirs.dose_frames


def test_the_alarm_frame_serves_as_the_first_scan() -> None:
    """A frame just taken at the start saves the search a scan and does not change its course."""
    trial = Trial("std", "gold", 200.0, "small", 0, seed=4)
    fresh, given = make_scope(trial), make_scope(trial)
    settings = drive.settings_for("brent", fresh)

    without = drive.refocus(fresh, settings)
    with_frame = drive.refocus(given, settings, first=given.scan())

    assert given.scans == fresh.scans
    assert len(with_frame.places_mm) == len(without.places_mm) - 1
    assert with_frame.result == without.result
