"""Columns and specimens that several tests look at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from focusd.frame import Pixels, ScanRegion, ScanRequest
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.specimen import Specimen

SIDE_PX = 256
DEPTH_UM = 2.0
"""Depth of field of the default beam at the default pixel size of 10 nm."""

QUIET = ColumnOptions(
    field_of_view_mm=SIDE_PX * 1e-5, shot_noise=False, readout_noise_grey=0.0, beam_radius_nm=10.0
)
"""10 nm pixels at 256 columns, and nothing random."""

NOISY = replace(QUIET, shot_noise=True, readout_noise_grey=1.0)
"""The same with the default noise."""

SMALL = SpecimenOptions(texture="gold", texture_side_px=SIDE_PX)
"""A texture that repeats after exactly one such field: its transfer through the optics is exact."""


@dataclass(slots=True)
class Clock:
    """A clock that stands still unless it is told."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def column(
    options: ColumnOptions = QUIET, specimen: SpecimenOptions = SMALL, clock: Clock | None = None
) -> SimulatedColumn:
    """A column whose clock stands still."""
    return SimulatedColumn(options, Specimen(specimen), clock=clock or Clock())


def scan(
    side: int = SIDE_PX, *, bits: int = 16, dwell_us: float = 1.0, region: ScanRegion | None = None
) -> ScanRequest:
    """A square scan, by default fine enough in grey to measure with."""
    return ScanRequest(side, side, dwell_us, bits, region)


def grey(pixels: Pixels) -> NDArray[np.float64]:
    """Grey levels of 255, whatever the depth."""
    return pixels.astype(np.float64) * (255.0 / np.iinfo(pixels.dtype).max)


def defocused(microscope: SimulatedColumn, defocus_um: float, request: ScanRequest | None = None) -> Pixels:
    """Scan so far from the best focus."""
    microscope.set_working_distance(microscope.best_focus_mm() + defocus_um * 1e-3)
    return microscope.render(request or scan())


def detail(pixels: Pixels) -> float:
    """How much an image varies from pixel to pixel: high when sharp."""
    values = grey(pixels)
    return float(np.diff(values, axis=0).var() + np.diff(values, axis=1).var())
