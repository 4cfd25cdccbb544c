"""What a client asks the scan generator for: the requests ScScanXY and ScScanLine, read.

Source: TESCAN, SharkSEM Remote Control manual 2.0.25, and the C# library's manual 3.2.20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from focusd.errors import RemoteProtocolError
from focusd.frame import MAX_SIDE_PX, MIN_SIDE_PX, ScanRegion
from focusd.protocol.sharksem_functions import FUNCTIONS

SCAN_FIELD: Final = "ScScanXY"
SCAN_LINE: Final = "ScScanLine"
SCAN_REQUESTS: Final = frozenset({SCAN_FIELD, SCAN_LINE})


@dataclass(frozen=True, slots=True)
class ScanOrder:
    """A scan as it was ordered.

    ``width`` x ``height`` pixels span the window; ``region`` is the part scanned, ``None`` for a line.
    ``frames`` 0 goes on until it is stopped. ``dwell_time_us`` is ``None`` when the scan speed decides.
    """

    name: str
    frame_id: int
    width: int
    height: int
    region: ScanRegion | None
    pixels: int
    frames: int
    dwell_time_us: float | None

    @property
    def is_image(self) -> bool:
        """Whether its frames can be judged: a rectangle neither too small nor too large."""
        region = self.region
        return region is not None and all(
            MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in (region.width, region.height)
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of its frames; one row for a line."""
        return (1, self.pixels) if self.region is None else (self.region.height, self.region.width)


def decode_order(name: str, body: bytes) -> ScanOrder:
    """Read a request to scan.

    Raises:
        RemoteProtocolError: it is none that a microscope could carry out.
    """
    values = [int(value) for value in FUNCTIONS[name].request.decode(body)]
    frame_id, width, height, *window = values[:7]
    if name == SCAN_LINE:
        dwell_ns, pixels, frames = values[7:10]
        lines, region = 1, None
    else:
        frames, dwell_ns, lines = [*values[7:], 0, 0][:3]
        left, top, right, bottom = window
        if not (left <= right < width and top <= bottom < height):
            raise RemoteProtocolError(f"a scan of {window} does not lie within {width} x {height} pixels")
        region = ScanRegion(left, top, right - left + 1, bottom - top + 1)
        pixels = region.width * region.height
    if pixels < 1 or frames < 0:
        raise RemoteProtocolError(f"a scan of {pixels} pixels and {frames} frames")
    dwell_time_us = dwell_ns / 1000 * max(lines, 1) if dwell_ns else None
    return ScanOrder(name, frame_id, width, height, region, pixels, frames, dwell_time_us)
