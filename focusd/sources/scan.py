"""Frames that focusd takes itself: the specimen's, at an interval or when asked, and those of a refocus."""

from __future__ import annotations

from dataclasses import replace

from focusd.config import RegionSettings, ScanSettings
from focusd.frame import Frame, ScanRegion, ScanRequest
from focusd.microscope.interface import Microscope

FOCUS_SIDE_PX = (256, 1024)
"""Shortest and longest side of the region a refocus scans by default: fewer pixels hold too little detail,
more tell nothing new."""


class ScanSource:
    """Takes frames through the microscope.

    ``interval_s`` is ``None`` when frames are taken only on request.

    Args:
        settings: How focusd scans.
        takes_frames: Whether the frames of the specimen are focusd's own; else it scans only to refocus, and
            on request.
    """

    def __init__(self, settings: ScanSettings, *, takes_frames: bool = True) -> None:
        self.takes_frames = takes_frames
        by_itself = takes_frames and settings.trigger == "interval"
        self.interval_s = settings.interval_s if by_itself else None
        self.request = ScanRequest(
            width=settings.width,
            height=settings.height,
            dwell_time_us=settings.dwell_time_us,
            bits_per_pixel=settings.bits_per_pixel,
            region=_region(settings.region) if settings.region else None,
        )
        self.focus_request = replace(
            self.request,
            dwell_time_us=settings.focus_dwell_time_us or settings.dwell_time_us,
            region=_focus_region(settings, _frame_region(self.request)),
        )
        self._label = settings.label

    async def take(self, microscope: Microscope) -> Frame:
        """Scan one frame of the specimen; errors are those of ``Microscope.scan``."""
        return await self._scan(microscope, self.request)

    def allowed(self, dwell_factor: float) -> float:
        """How many times as long as usual a scan of a refocus may last: its dose is never above a frame's."""
        return max(1.0, min(dwell_factor, self.request.beam_time_s / self.focus_request.beam_time_s))

    async def take_for_focus(self, microscope: Microscope, *, dwell_factor: float = 1.0) -> Frame:
        """Scan what a refocus looks at, the beam resting longer by a factor where asked."""
        request = self.focus_request
        return await self._scan(
            microscope, replace(request, dwell_time_us=request.dwell_time_us * dwell_factor)
        )

    def as_focus_frame(self, frame: Frame) -> Frame | None:
        """Cut out of a frame what a refocus would scan; ``None`` if a refocus scans in another way."""
        focus, whole = self.focus_request, _frame_region(self.request)
        region = focus.region or whole
        if focus.dwell_time_us != self.request.dwell_time_us or frame.pixels.shape != self.request.shape:
            return None
        top, left = region.y - whole.y, region.x - whole.x
        pixels = frame.pixels[top : top + region.height, left : left + region.width]
        conditions = replace(frame.conditions, rows=region.height, columns=region.width)
        return replace(frame, pixels=pixels, conditions=conditions)

    async def _scan(self, microscope: Microscope, request: ScanRequest) -> Frame:
        frame = await microscope.scan(request)
        return replace(frame, conditions=replace(frame.conditions, label=self._label))


def _region(settings: RegionSettings) -> ScanRegion:
    return ScanRegion(settings.x, settings.y, settings.width, settings.height)


def _frame_region(request: ScanRequest) -> ScanRegion:
    return request.region or ScanRegion(0, 0, request.width, request.height)


def _focus_region(settings: ScanSettings, frame: ScanRegion) -> ScanRegion | None:
    """Give the region that a refocus scans; ``None`` for all of the raster."""
    chosen = settings.focus_region
    if isinstance(chosen, RegionSettings):
        return _region(chosen)
    if chosen == "frame":
        return _region(settings.region) if settings.region else None
    shortest, longest = FOCUS_SIDE_PX
    width, height = (
        min(side, max(shortest, min(side // 2, longest))) for side in (frame.width, frame.height)
    )
    return ScanRegion(
        frame.x + (frame.width - width) // 2, frame.y + (frame.height - height) // 2, width, height
    )
