"""Frames that focusd takes itself, at an interval or when asked."""

from __future__ import annotations

from dataclasses import replace

from focusd.config import ScanSettings
from focusd.frame import Frame, ScanRegion, ScanRequest
from focusd.microscope.interface import Microscope


class ScanSource:
    """Takes the specimen's frames through the microscope.

    ``interval_s`` is ``None`` when frames are taken only on request.
    """

    def __init__(self, settings: ScanSettings) -> None:
        region = settings.region
        self.interval_s = settings.interval_s if settings.trigger == "interval" else None
        self.request = ScanRequest(
            width=settings.width,
            height=settings.height,
            dwell_time_us=settings.dwell_time_us,
            bits_per_pixel=settings.bits_per_pixel,
            region=ScanRegion(region.x, region.y, region.width, region.height) if region else None,
        )
        self._label = settings.label

    async def take(self, microscope: Microscope) -> Frame:
        """Scan one frame; errors are those of ``Microscope.scan``."""
        frame = await microscope.scan(self.request)
        return replace(frame, conditions=replace(frame.conditions, label=self._label))
