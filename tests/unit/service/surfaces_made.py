"""Points of a tilted specimen, as refocuses would have left them."""

from __future__ import annotations

from dataclasses import replace

from focusd.frame import ImagingConditions, StagePosition
from focusd.records import RefocusRecord, RefocusResult, RefocusTrigger
from focusd.service.surface import Surfaces

CONDITIONS = ImagingConditions(192, 192, 8, dwell_time_us=1.0, pixel_size_nm=10.0, detector="SE")
PLACES_MM = ((0.0, 0.0), (0.02, 0.01), (0.04, 0.0), (0.06, 0.01), (0.08, 0.0), (0.06, 0.02), (0.02, 0.03))
NEXT_MM = (0.05, 0.01)
NOWHERE = StagePosition()
RISE = 0.1
"""Millimetres of working distance for each along x."""


def focus_mm(x_mm: float) -> float:
    """Where focus is on the tilted specimen."""
    return 9.0 + RISE * x_mm


def refocused(
    working_distance_mm: float, result: RefocusResult = RefocusResult.REFOCUSED, **changes: object
) -> RefocusRecord:
    """A refocus that ended at a working distance."""
    record = RefocusRecord(
        refocus_id=1,
        trigger=RefocusTrigger.DRIFT,
        method="spectral",
        metric="log_energy",
        condition=CONDITIONS.key,
        started_at=0.0,
        start_working_distance_mm=9.0,
        max_scans=14,
        result=result,
        final_working_distance_mm=working_distance_mm,
        focus_sd_um=0.2,
    )
    return replace(record, **changes)  # type: ignore[arg-type] # the test names the fields


async def teach(
    surfaces: Surfaces,
    places: tuple[tuple[float, float], ...] = PLACES_MM,
    *,
    conditions: ImagingConditions = CONDITIONS,
    lift_mm: float = 0.0,
    at: StagePosition = NOWHERE,
) -> None:
    """Let refocuses find focus at some places."""
    for x_mm, y_mm in places:
        stage = replace(at, x_mm=x_mm, y_mm=y_mm)
        await surfaces.learn(refocused(focus_mm(x_mm) + lift_mm), conditions, stage)
