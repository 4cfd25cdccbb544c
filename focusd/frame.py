"""Value types of an acquired image: what was scanned, how, where, and the pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from focusd.errors import ImageError

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

MIN_SIDE_PX = 64
MAX_SIDE_PX = 32_768


@dataclass(frozen=True, slots=True)
class ScanRegion:
    """A rectangle of the scan's pixel grid; ``x`` to the right, ``y`` down, from the top left pixel."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """How to take one image.

    ``width`` x ``height`` pixels span the field of view; ``region`` restricts the beam to a part of
    them (the image then has the region's shape).
    """

    width: int
    height: int
    dwell_time_us: float
    bits_per_pixel: int = 8
    region: ScanRegion | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image this request gives."""
        if self.region is None:
            return self.height, self.width
        return self.region.height, self.region.width

    @property
    def beam_time_s(self) -> float:
        """Seconds the beam dwells on the specimen, fly-back not counted."""
        rows, columns = self.shape
        return rows * columns * self.dwell_time_us * 1e-6


@dataclass(frozen=True, slots=True)
class StagePosition:
    """Where the stage stands; axes that the instrument lacks are ``None``."""

    x_mm: float | None = None
    y_mm: float | None = None
    z_mm: float | None = None
    rotation_deg: float | None = None
    tilt_deg: float | None = None


@dataclass(frozen=True, slots=True)
class ImagingConditions:
    """What two frames must share for their sharpness to be comparable.

    Values the microscope does not tell are ``None``. ``label`` is the caller's own word (a specimen, a
    recipe) that keeps otherwise equal conditions apart.
    """

    rows: int
    columns: int
    bits_per_pixel: int
    dwell_time_us: float | None = None
    pixel_size_nm: float | None = None
    detector: str | None = None
    accelerating_voltage_kv: float | None = None
    label: str = ""

    def matches(self, other: ImagingConditions, *, tolerance: float = 0.02) -> bool:
        """Tell whether sharpness may be compared: numbers within ``tolerance`` (relative), the rest equal.

        The tolerance is there because the field of view moves slightly with the working distance.
        """
        exact = (self.rows, self.columns, self.bits_per_pixel, self.detector, self.label) == (
            other.rows,
            other.columns,
            other.bits_per_pixel,
            other.detector,
            other.label,
        )
        return exact and all(
            _close(mine, theirs, tolerance)
            for mine, theirs in (
                (self.dwell_time_us, other.dwell_time_us),
                (self.pixel_size_nm, other.pixel_size_nm),
                (self.accelerating_voltage_kv, other.accelerating_voltage_kv),
            )
        )

    def sees_as(self, other: ImagingConditions, *, tolerance: float = 0.02) -> bool:
        """Tell whether both look in the same way: as ``matches``, whatever frame size and dwell time."""
        alike = replace(self, rows=other.rows, columns=other.columns, dwell_time_us=other.dwell_time_us)
        return alike.matches(other, tolerance=tolerance)

    @property
    def key(self) -> str:
        """A readable name, safe in a URL and a file name, e.g. ``SE-5kV-1us-10nm-1024x1024-8bit``."""
        parts = [
            self.detector or "detector",
            _number(self.accelerating_voltage_kv, "kV"),
            _number(self.dwell_time_us, "us"),
            _number(self.pixel_size_nm, "nm"),
            f"{self.columns}x{self.rows}",
            f"{self.bits_per_pixel}bit",
            self.label,
        ]
        return "-".join(filter(None, (_slug(part) for part in parts)))


def _close(mine: float | None, theirs: float | None, tolerance: float) -> bool:
    if mine is None or theirs is None:
        return mine is theirs
    return math.isclose(mine, theirs, rel_tol=tolerance)


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.3g}{unit}"


def _slug(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._+") else "_" for c in text)


@dataclass(frozen=True, slots=True)
class FrameFile:
    """A file as it was when a frame was read from it: another size or time is another frame."""

    path: str
    """Absolute; bytes that are no UTF-8 are written as ``\\xff``."""
    size_bytes: int
    mtime_ns: int
    """Last change of the content, nanoseconds since 1970 by the clock of whoever holds the file."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One acquired image with what is known of it.

    ``pixels`` is 2-D uint8 or uint16 in native byte order, C-contiguous and read-only; each side
    is 64 to 32,768 px. ``working_distance_mm`` is the microscope's readback, not a setpoint.
    ``acquired_at`` is seconds since 1970 (UTC), for people; durations are never taken from it.
    ``file`` is where it was read from; the verdict on it is kept together with the note that it was judged.

    Raises:
        ImageError: the pixels are none of that.
    """

    pixels: Pixels
    conditions: ImagingConditions
    working_distance_mm: float | None
    acquired_at: float
    stage_position: StagePosition | None = None
    frame_id: str = field(default="")
    file: FrameFile | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", checked_pixels(self.pixels))


def checked_pixels(pixels: NDArray[np.generic]) -> Pixels:
    """Give ``pixels`` as a read-only, C-contiguous, native-endian uint8 or uint16 image.

    Copies only when it must (another byte order or layout).

    Raises:
        ImageError: not 2-D, another dtype, or a side outside 64 to 32,768 px.
    """
    if pixels.ndim != 2:
        raise ImageError(f"an image must have 2 dimensions (rows, columns), got shape {pixels.shape}")
    if pixels.dtype.kind != "u" or pixels.dtype.itemsize not in (1, 2):
        raise ImageError(f"an image must be uint8 or uint16, got {pixels.dtype}")
    if not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in pixels.shape):
        raise ImageError(
            f"each side of an image must be between {MIN_SIDE_PX} and {MAX_SIDE_PX} px, got {pixels.shape}"
        )
    native = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
    view = native.view()
    view.flags.writeable = False
    return view
