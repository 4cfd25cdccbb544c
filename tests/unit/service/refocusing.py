"""A refocus of the fake microscope, ready to run."""

from __future__ import annotations

from focusd.config import BaselineSettings, DriftSettings, RefocusSettings, ScanSettings
from focusd.records import RefocusRecord, RefocusTrigger
from focusd.service.monitor import Monitor
from focusd.service.refocus import Refocus
from focusd.sources.scan import ScanSource
from focusd.store.database import Store
from tests.fake_microscope import DEPTH_OF_FIELD_UM, REQUEST, FakeMicroscope

TOLERANCE_MM = 0.001


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
