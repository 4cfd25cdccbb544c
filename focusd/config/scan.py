"""How focusd scans."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from focusd.config.base import Pixels, Section


class RegionSettings(Section):
    """A part of the scan's pixel grid."""

    x: Annotated[int, Field(ge=0)]
    """Left edge, in pixels."""
    y: Annotated[int, Field(ge=0)]
    """Top edge, in pixels."""
    width: Pixels
    """Columns."""
    height: Pixels
    """Rows."""


class ScanSettings(Section):
    """How focusd scans."""

    width: Pixels = 1024
    """Pixels across the field of view."""
    height: Pixels = 1024
    """Pixels down the field of view."""
    dwell_time_us: Annotated[float, Field(ge=0.01, le=100_000)] = 1.0
    """Time the beam rests on a pixel."""
    bits_per_pixel: Literal[8, 16] = 8
    """Depth of the image."""
    region: RegionSettings | None = None
    """Restricts the beam to a part of the field of view."""
    focus_region: Literal["auto", "frame"] | RegionSettings = "auto"
    """What a refocus scans. ``auto``: the middle of the frame, half as wide and high but 256 to 1024 px, so
    that a refocus costs less dose than one frame; ``frame``: all of it; or a region of your own."""
    focus_dwell_time_us: Annotated[float, Field(ge=0.01, le=100_000)] | None = None
    """Dwell time of a refocus's scans; that of the frames when not given."""
    trigger: Literal["interval", "request"] = "interval"
    """``interval``: a frame every ``interval_s``; ``request``: only when asked by ``POST /v1/scans``."""
    interval_s: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    """From the start of one frame to the start of the next; 0 is back to back."""
    label: str = Field(default="", max_length=64)
    """Your own word for what is imaged; baselines of different labels are kept apart."""

    @model_validator(mode="after")
    def _region_inside(self) -> ScanSettings:
        region, focus = self.region, self.focus_region
        _check_inside("region", region, (0, 0, self.width, self.height))
        if isinstance(focus, RegionSettings):
            x, y, width, height = (
                (region.x, region.y, region.width, region.height)
                if region
                else (0, 0, self.width, self.height)
            )
            _check_inside("focus_region", focus, (x, y, width, height))
        return self


def _check_inside(name: str, region: RegionSettings | None, frame: tuple[int, int, int, int]) -> None:
    """Raise ``ValueError`` unless ``region`` lies inside the frame (x, y, width, height)."""
    if region is None:
        return
    x, y, width, height = frame
    right, bottom = region.x + region.width, region.y + region.height
    if region.x < x or region.y < y or right > x + width or bottom > y + height:
        raise ValueError(
            f"{name} must lie inside x {x}..{x + width}, y {y}..{y + height}, "
            f"got x {region.x}..{right}, y {region.y}..{bottom}"
        )
