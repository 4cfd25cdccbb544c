"""What a refocus promises, over many made microscopes: bounds, budget, and never worse than before."""

from __future__ import annotations

import os

import pytest

from focusd.config import BaselineSettings, DriftSettings, RefocusSettings, ScanSettings
from focusd.records import RefocusRecord, RefocusResult, RefocusTrigger
from focusd.service.monitor import Monitor
from focusd.service.refocus import Refocus
from focusd.sources.scan import ScanSource
from focusd.store.database import Store
from tests.unit.service.made_worlds import DEPTH_OF_FIELD_UM, DWELL_TIME_US, KINDS, SIDE_PX, World

WORLDS = int(os.environ.get("REFOCUS_WORLDS", "112"))
"""10,000 by hand."""
MAX_CHANGE_UM = 120.0
MAX_SCANS = 12
TOLERANCE_MM = 0.0005


async def refocus(world: World, store: Store) -> RefocusRecord:
    """Refocus one world, by request or by alarm."""
    settings = RefocusSettings(
        depth_of_field_um=DEPTH_OF_FIELD_UM, max_change_um=MAX_CHANGE_UM, max_scans=MAX_SCANS
    )
    monitor = Monitor(store, DriftSettings(), BaselineSettings(), refocus_metric=settings.metric)
    trigger = RefocusTrigger.DRIFT if world.seed % 3 == 0 else RefocusTrigger.REQUEST
    record = RefocusRecord(
        refocus_id=world.seed + 1,
        trigger=trigger,
        method=settings.method,
        metric=settings.metric,
        condition="",
        started_at=0.0,
        start_working_distance_mm=None,
        max_scans=settings.max_scans,
    )
    scan = ScanSettings(width=SIDE_PX, height=SIDE_PX, dwell_time_us=DWELL_TIME_US, focus_region="frame")
    run = Refocus(
        world,
        store,
        settings,
        record,
        source=ScanSource(scan),
        measure=monitor.measure,
        on_progress=lambda _: None,
        tolerance_mm=TOLERANCE_MM,
    )
    return (await run.run()).record


@pytest.mark.timeout(60 + WORLDS)
@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_the_microscope_does_a_refocus_keeps_its_word(store: Store, kind: str) -> None:
    """Never outside the bounds, never over the budget; sharper at the end, or back; nothing left open."""
    for seed in range(KINDS.index(kind), WORLDS, len(KINDS)):
        world = World(seed=seed)
        record = await refocus(world, store)

        assert record.result is not None, seed
        assert record.result is not RefocusResult.INTERNAL_ERROR, (seed, record.reason)
        assert len(record.scans) == world.scans - world.refused <= MAX_SCANS, seed
        farthest_mm = MAX_CHANGE_UM / 1000 + world.approach_mm
        assert all(abs(move_mm - world.start_mm) <= farthest_mm + 1e-9 for move_mm in world.visited_mm), seed
        end_mm = world.working_distance_mm
        if world.operator_mm is not None:
            assert end_mm == world.operator_mm or world.visited_mm[-1] == end_mm, seed
        elif record.result.is_success:
            # Noise free, as it is now: drift goes on.
            assert world.blur_px(end_mm) <= 1.02 * world.blur_px(world.start_mm) + 0.1, (seed, record.reason)
        else:
            assert end_mm == world.start_mm, (seed, record.reason)
        assert world.holds == 0, seed
        assert await store.journal.pending() == [], seed
