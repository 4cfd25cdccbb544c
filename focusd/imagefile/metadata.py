"""What an image file tells of how it was taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from focusd.frame import StagePosition


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """What the file tells of the microscope; ``None`` is what it does not tell.

    ``source`` names the kind of header it was read from: ``ZEISS``, ``Thermo``, ``TESCAN``, ``OME`` or
    nothing. ``acquired_at`` is the clock of the microscope's computer and has a time zone only if the
    file names one. ``problems`` says in words what was there and could not be read: an image is judged
    by its pixels all the same. The resolution that any PNG or TIFF may carry is no pixel size: programs
    write 72 dpi and the like there.
    """

    source: str = ""
    working_distance_mm: float | None = None
    pixel_size_nm: float | None = None
    dwell_time_us: float | None = None
    accelerating_voltage_kv: float | None = None
    detector: str | None = None
    stage_position: StagePosition | None = None
    acquired_at: datetime | None = None
    problems: tuple[str, ...] = ()


def stage(
    *,
    x_mm: float | None = None,
    y_mm: float | None = None,
    z_mm: float | None = None,
    rotation_deg: float | None = None,
    tilt_deg: float | None = None,
) -> StagePosition | None:
    """Give the position of the stage, or ``None`` if not one axis is known."""
    position = StagePosition(x_mm, y_mm, z_mm, rotation_deg, tilt_deg)
    return None if position == StagePosition() else position
