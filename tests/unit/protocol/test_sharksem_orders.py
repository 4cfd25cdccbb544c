"""Requests to scan, read by somebody who only looks on."""

from __future__ import annotations

import pytest

from focusd.errors import RemoteProtocolError
from focusd.frame import ScanRegion
from focusd.protocol.sharksem_functions import FUNCTIONS
from focusd.protocol.sharksem_orders import decode_order


def field(*values: int) -> bytes:
    """Give the body of a ScScanXY."""
    return FUNCTIONS["ScScanXY"].request.encode(values)


def test_a_field_is_read_with_its_region() -> None:
    """Edges of the region are inclusive, and a dwell time is given in microseconds."""
    order = decode_order("ScScanXY", field(7, 512, 256, 100, 10, 227, 109, 1, 1500))

    assert (order.frame_id, order.width, order.height, order.frames) == (7, 512, 256, 1)
    assert order.region == ScanRegion(100, 10, 128, 100)
    assert (order.shape, order.pixels, order.dwell_time_us) == ((100, 128), 12_800, 1.5)
    assert order.is_image


@pytest.mark.parametrize(
    ("more", "dwell_time_us"), [((), None), ((0,), None), ((800,), 0.8), ((800, 4), 3.2), ((800, 0), 0.8)]
)
def test_the_dwell_time_may_be_left_to_the_scan_speed(
    more: tuple[int, ...], dwell_time_us: float | None
) -> None:
    """Without one, or with zero, it is not known; lines added up make it longer."""
    order = decode_order("ScScanXY", field(7, 64, 64, 0, 0, 63, 63, 0, *more))

    assert order.dwell_time_us == pytest.approx(dwell_time_us)
    assert order.frames == 0


def test_a_line_is_no_image() -> None:
    """It has as many pixels as it says, in one row."""
    body = FUNCTIONS["ScScanLine"].request.encode((3, 512, 512, 0, 0, 511, 511, 2000, 700, 1))

    order = decode_order("ScScanLine", body)

    assert (order.region, order.shape, order.is_image, order.dwell_time_us) == (None, (1, 700), False, 2.0)


def test_a_small_or_huge_field_cannot_be_judged() -> None:
    """Both are scans all the same."""
    assert not decode_order("ScScanXY", field(1, 64, 64, 0, 0, 62, 63, 1)).is_image
    assert not decode_order("ScScanXY", field(1, 2**31, 64, 0, 0, 2**31 - 1, 63, 1)).is_image


@pytest.mark.parametrize(
    "values", [(1, 64, 64, 0, 0, 64, 63, 1), (1, 64, 64, 9, 0, 8, 63, 1), (1, 64, 64, 0, 0, 63, 63, -1)]
)
def test_what_cannot_be_scanned_is_an_error(values: tuple[int, ...]) -> None:
    """A region outside the window, or turned inside out, or minus one frame."""
    with pytest.raises(RemoteProtocolError):
        decode_order("ScScanXY", field(*values))


def test_a_broken_request_is_an_error() -> None:
    """The microscope will drop it too."""
    with pytest.raises(RemoteProtocolError):
        decode_order("ScScanXY", field(1, 64, 64, 0, 0, 63, 63, 1)[:20])
    with pytest.raises(RemoteProtocolError):
        decode_order("ScScanLine", FUNCTIONS["ScScanLine"].request.encode((3, 9, 9, 0, 0, 8, 8, 0, 0, 1)))
