"""What frames are labelled with."""

from __future__ import annotations

import numpy as np

from focusd.frame import ImagingConditions, ScanRegion, StagePosition
from focusd.microscope.interface import MicroscopeState
from focusd.protocol.sharksem_fold import FoldedFrame
from focusd.protocol.sharksem_orders import ScanOrder
from focusd.sources.relay.column import ColumnKnowledge


def folded(dwell_time_us: float | None = 1.0) -> FoldedFrame:
    """Make a frame of a region of a larger window."""
    order = ScanOrder("ScScanXY", 1, 500, 400, ScanRegion(10, 10, 100, 80), 8000, 1, dwell_time_us)
    return FoldedFrame(order, 0, 16, np.zeros((80, 100), np.uint16))


def test_nothing_is_made_up() -> None:
    """Of a microscope nobody spoke of, only the frame itself is known."""
    column = ColumnKnowledge()

    assert column.conditions(folded(None), 3) == ImagingConditions(80, 100, 16)
    assert column.conditions(folded(), None) == ImagingConditions(80, 100, 16, dwell_time_us=1.0)


def test_the_field_of_view_spans_the_window_not_the_region() -> None:
    """The pixel size is that of the whole window; the scan speed gives a dwell time that was left out."""
    column = ColumnKnowledge(
        field_of_view_mm=0.005,
        accelerating_voltage_kv=5.0,
        detectors={3: "SE"},
        speeds_us={2: 3.2},
        speed=2,
    )

    assert column.conditions(folded(None), 3) == ImagingConditions(
        80,
        100,
        16,
        dwell_time_us=3.2,
        pixel_size_nm=10.0,
        detector="SE",
        accelerating_voltage_kv=5.0,
    )


def test_a_reading_replaces_what_it_tells_and_no_more() -> None:
    """What the microscope did not tell stays as it was."""
    column = ColumnKnowledge(field_of_view_mm=0.005, accelerating_voltage_kv=5.0)

    column.learn(MicroscopeState(9.0))
    assert (column.working_distance_mm, column.field_of_view_mm) == (9.0, 0.005)
    column.learn(
        MicroscopeState(
            9.1,
            field_of_view_um=10.0,
            accelerating_voltage_kv=10.0,
            stage_position=StagePosition(1.0),
        )
    )

    assert (column.working_distance_mm, column.field_of_view_mm) == (9.1, 0.01)
    assert (column.accelerating_voltage_kv, column.stage_position) == (10.0, StagePosition(1.0))
