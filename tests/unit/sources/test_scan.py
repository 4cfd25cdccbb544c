"""What a refocus scans is the middle of the frame, unless told otherwise; frames can be cut to it."""

from __future__ import annotations

import numpy as np
import pytest

from focusd.config import RegionSettings, ScanSettings
from focusd.frame import Frame, ImagingConditions, ScanRegion
from focusd.sources.scan import ScanSource


@pytest.mark.parametrize(
    ("settings", "region"),
    [
        (ScanSettings(width=2048, height=1024), ScanRegion(512, 256, 1024, 512)),
        (ScanSettings(width=8192, height=8192), ScanRegion(3584, 3584, 1024, 1024)),
        (ScanSettings(width=300, height=200), ScanRegion(22, 0, 256, 200)),
        (
            ScanSettings(
                width=2048, height=2048, region=RegionSettings(x=1000, y=1000, width=1000, height=600)
            ),
            ScanRegion(1250, 1150, 500, 300),
        ),
        (ScanSettings(focus_region="frame"), None),
        (
            ScanSettings(focus_region=RegionSettings(x=8, y=16, width=256, height=128)),
            ScanRegion(8, 16, 256, 128),
        ),
    ],
)
def test_the_region_of_a_refocus(settings: ScanSettings, region: ScanRegion | None) -> None:
    """By default half as wide and high as the frame, but 256 to 1024 px, in its middle."""
    assert ScanSource(settings).focus_request.region == region


def make_frame(rows: int, columns: int) -> Frame:
    """Make a frame whose pixels tell where they are."""
    pixels = (np.arange(rows * columns) % 65_521).astype(np.uint16).reshape(rows, columns)
    return Frame(pixels, ImagingConditions(rows, columns, 16), working_distance_mm=9.0, acquired_at=0.0)


def test_a_frame_is_cut_to_what_a_refocus_scans() -> None:
    """The cut holds the very pixels of the region, counted from the frame's own corner."""
    region = RegionSettings(x=100, y=50, width=800, height=600)
    source = ScanSource(
        ScanSettings(
            region=region, focus_region=RegionSettings(x=200, y=150, width=256, height=128), bits_per_pixel=16
        )
    )
    frame = make_frame(600, 800)

    cut = source.as_focus_frame(frame)

    assert cut is not None
    assert np.array_equal(cut.pixels, frame.pixels[100:228, 100:356])
    assert (cut.conditions.rows, cut.conditions.columns) == (128, 256)


def test_a_frame_of_another_dwell_or_shape_does_not_serve() -> None:
    """Its noise is another's, so a scan must be taken."""
    assert ScanSource(ScanSettings(focus_dwell_time_us=0.2)).as_focus_frame(make_frame(1024, 1024)) is None
    assert ScanSource(ScanSettings()).as_focus_frame(make_frame(512, 512)) is None
